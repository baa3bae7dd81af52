//! Simulates a cluster for the engine: an API server in memory, and a host that drives the engine's reconciles against it, with
//! replies in any order, and with faults and crashes at any point. Used by the property tests. Depends on the engine, and on nothing above it.

pub mod api_server;
pub mod fields;
pub mod host;
pub mod schedule;

mod owner;
mod validation;

pub use api_server::{ApiServer, WatchEvent};
pub use host::{Host, Provider};
pub use schedule::{Choices, Fault, InOrder, Schedule};
