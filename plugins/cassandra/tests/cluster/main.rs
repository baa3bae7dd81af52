//! The responses of the Cassandra provider, without a cluster and without WebAssembly.
// Clippy recognizes test functions, but not the functions that they call.
#![allow(clippy::unwrap_used, clippy::panic)]

mod life;
mod manifest;
mod objects;
mod random;
mod samples;
mod steps;
mod validation;
mod world;
