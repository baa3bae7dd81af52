//! The runtime against modules written here, down to their binary interface: they share only the contract's WIT with the SDK.

#![allow(clippy::unwrap_used, clippy::panic, reason = "clippy.toml's leave for tests does not reach their helpers")]

mod cache;
mod calls;
mod loading;
mod modules;
mod on_demand;
mod wasi;
