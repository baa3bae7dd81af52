//! A provider that answers as the spec of its parent, a ClusterScript, says: see [`scripting`]. Its parents are
//! cluster-scoped.
//!
//! Build it with `cargo build --profile guest --target wasm32-unknown-unknown -p scripted-cluster-scoped`. For other targets it
//! is empty: a native linker rejects the export names of a component.
#![cfg(target_arch = "wasm32")]

scripting::export!(scripting::CLUSTER_SCOPED);
