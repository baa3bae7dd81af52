//! A provider that does what the spec of its parent, a Puppet, says: see [`puppetry`]. It reads what a provider can read
//! (descendants, related objects, a sensitive field) and does not finalize.
//!
//! Build it with `cargo build --profile guest --target wasm32-unknown-unknown -p puppet`. Elsewhere it is empty: a native
//! linker does not take the names of a component's exports.
#![cfg(target_arch = "wasm32")]

puppetry::export!(puppetry::PUPPET);
