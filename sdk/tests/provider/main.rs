//! What the SDK makes of a provider: manifest, CRD, answers, failures.
// Clippy knows the functions that are tests, and not those that help them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod crd;
mod disk;
mod objects;
mod requests;
mod responses;
mod settings;
mod storage;
