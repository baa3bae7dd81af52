//! A provider that does what the spec of its parent, a Warden, says: see [`puppetry`]. Its parents live in no namespace.
//!
//! Build it with `cargo build --profile guest --target wasm32-unknown-unknown -p warden`. Elsewhere it is empty: a native
//! linker does not take the names of a component's exports.
#![cfg(target_arch = "wasm32")]

puppetry::export!(puppetry::WARDEN);
