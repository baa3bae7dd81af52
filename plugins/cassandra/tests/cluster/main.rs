//! What the Cassandra provider answers, without a cluster and without WebAssembly.
// Clippy knows the functions that are tests, and not those that help them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod life;
mod manifest;
mod objects;
mod random;
mod samples;
mod steps;
mod validation;
mod world;
