//! What the MinIO provider answers, without a cluster and without WebAssembly.
// Clippy knows the functions that are tests, and not those that help them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod manifest;
mod objects;
mod samples;
mod status;
mod store;
mod validation;
