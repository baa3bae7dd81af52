//! A world for the engine without a cluster: an API server in memory, and a host that drives the engine's own reconciles
//! against it, in any order of replies, with faults and crashes anywhere. The property tests run here; so will offline tools.
//! Knows the engine, nothing above it.

pub mod api_server;
pub mod fields;
pub mod host;
pub mod schedule;

pub use api_server::{ApiServer, WatchEvent};
pub use host::{Host, Provider};
pub use schedule::{Choices, Fault, InOrder, Schedule};
