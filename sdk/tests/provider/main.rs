//! What the SDK derives from a provider: manifest, CRD, responses, failures.
// Clippy recognizes test functions, but not the functions that they call.
#![allow(clippy::unwrap_used, clippy::panic)]

mod crd;
mod disk;
mod objects;
mod requests;
mod responses;
mod settings;
mod storage;
