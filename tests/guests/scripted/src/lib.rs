//! A provider that answers as the spec of its parent, a Script, says: see [`scripting`]. It reads everything that a provider
//! can read (descendants, related objects, a sensitive field), and does not finalize.
//!
//! Build it with `cargo build --profile guest --target wasm32-unknown-unknown -p scripted`. For other targets it is empty: a
//! native linker rejects the export names of a component.
#![cfg(target_arch = "wasm32")]

scripting::export!(scripting::SCRIPTED);
