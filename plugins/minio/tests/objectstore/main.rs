//! The responses of the MinIO provider, without a cluster and without WebAssembly.
// Clippy recognizes test functions, but not the functions that they call.
#![allow(clippy::unwrap_used, clippy::panic)]

mod keys;
mod manifest;
mod objects;
mod samples;
mod status;
mod store;
mod validation;
