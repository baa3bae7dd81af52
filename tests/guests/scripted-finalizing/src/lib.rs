//! A provider that answers as the spec of its parent, a FinalizingScript, says: see [`scripting`]. It finalizes its parents.
//!
//! Build it with `cargo build --profile guest --target wasm32-unknown-unknown -p scripted-finalizing`. For other targets it is
//! empty: a native linker rejects the export names of a component.
#![cfg(target_arch = "wasm32")]

scripting::export!(scripting::FINALIZING);
