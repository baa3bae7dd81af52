//! The decisions of the host, without I/O: the observed state (index), the request to a provider (request), the checks of its
//! answer (gate), the writes that follow (plan), the status that reports them (status), and when to reconcile (queue). Pure
//! functions and plain data, shared by the live host, the offline tools and the tests.

pub mod api_error;
pub mod breaker;
pub mod call_scheduler;
pub mod contest;
pub mod crd_compat;
pub mod decide;
pub mod descendants;
pub mod election;
pub mod gate;
pub mod grants;
pub mod handover;
pub mod immutable;
pub mod index;
pub mod intent;
pub mod managed_fields;
pub mod object;
pub mod ownership;
pub mod patch;
pub mod phase;
pub mod plan;
pub mod preview;
pub mod provider;
pub mod queue;
pub mod reconcile;
pub mod related;
pub mod request;
pub mod secrets;
pub mod selector;
pub mod settings;
pub mod snapshot;
pub mod status;
pub mod status_shape;
pub mod takeover;
pub mod weight;
pub mod write_loop;

pub use api_error::{ApiError, InvalidField};
pub use decide::{Decision, decide};
pub use gate::Refusal;
pub use grants::{Grant, Grants, PodBounds};
pub use index::Index;
pub use intent::Intent;
pub use object::{ObjectKey, Observed, ParentUid, Touched};
pub use plan::{Apply, ApplyReason, Delete, Fence, FinalizerStep, Memory, Plan, Release};
pub use queue::{Priority, Queue};
