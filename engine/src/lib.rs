//! The decisions of the host, without I/O: what was observed (index), what is asked (request), what may be answered
//! (gate), what is to be done (plan), what is said about it (status), and when (queue). Pure functions and plain data,
//! shared by the live host, the offline tools and the tests.

pub mod gate;
pub mod index;
pub mod object;
pub mod owned;
pub mod plan;
pub mod queue;
pub mod request;
pub mod status;
pub mod takeover;

pub use gate::{Grants, Intent, Refusal};
pub use index::{Index, Touched};
pub use object::{ObjectKey, Observed};
pub use plan::{Apply, ApplyReason, Delete, Fence, Memory, Plan};
pub use queue::{Priority, Queue};
