//! The life of a Provider: what it claims and is granted, which version of its module serves, what waits for an approval, how it
//! ends, and what its status says. Events in, effects as data out; the host reads and writes.

pub mod admission;
pub mod candidate;
pub mod claims;
pub mod context;
pub mod declaration;
pub mod event;
pub mod fleet;
pub mod grant_check;
pub mod life;
pub mod module;
pub mod removal;
pub mod rights;
pub mod runner;
pub mod source;
pub mod status;
pub mod status_events;
mod unserved;
pub mod upgrade_hold;
pub mod upgrade_plan;
pub mod version;
