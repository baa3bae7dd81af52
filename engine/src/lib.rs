//! The decisions of the host, without I/O: what was observed (index), what is asked (request), what may be answered
//! (gate), what is to be done (plan), what is said about it (status), and when (queue). Pure functions and plain data,
//! shared by the live host, the offline tools and the tests.

pub mod below;
pub mod breaker;
pub mod compat;
pub mod gate;
pub mod grants;
pub mod immutable;
pub mod index;
pub mod object;
pub mod owned;
pub mod phase;
pub mod plan;
mod pods;
pub mod preview;
pub mod queue;
pub mod related;
pub mod request;
pub mod restless;
pub mod secrets;
pub mod selector;
pub mod settings;
pub mod share;
pub mod status;
pub mod takeover;

pub use gate::{Intent, Refusal};
pub use grants::{Grant, Grants, PodBounds};
pub use index::{Index, Touched};
pub use object::{ObjectKey, Observed};
pub use plan::{Apply, ApplyReason, Delete, Fence, FinalizerStep, Memory, Plan, Release};
pub use queue::{Priority, Queue};
