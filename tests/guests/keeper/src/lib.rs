//! A provider that does what the spec of its parent, a Keeper, says: see [`puppetry`]. It is asked before a parent goes.
//!
//! Build it with `cargo build --profile guest --target wasm32-unknown-unknown -p keeper`. Elsewhere it is empty: a native
//! linker does not take the names of a component's exports.
#![cfg(target_arch = "wasm32")]

puppetry::export!(puppetry::KEEPER);
