//! What a reconcile has found and done so far, of which its report is made.

use serde_json::Value;

use crate::api_error::ApiError;
use crate::breaker::Called;
use crate::decide::Answered;
use crate::gate::Refusal;
use crate::object::Hash;
use crate::plan::Plan;
use crate::reconcile::execution::Executed;
use crate::reconcile::outcome::Retry;
use crate::status::Outcome;

/// The parts of the report that are known so far.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) request: Option<Hash>,
    pub(super) outcome: Outcome,
    pub(super) retry: Retry,
    /// The accepted answer; `None` if there was none, or it was refused.
    pub(super) answered: Option<Answered>,
    pub(super) plan: Plan,
    pub(super) executed: Executed,
    pub(super) called: Called,
    pub(super) refused: Option<Refusal>,
    pub(super) ignored: Option<String>,
    pub(super) status_error: Option<ApiError>,
    /// Conflicts that the write of the status met.
    pub(super) status_conflicts: u32,
    /// Digest of the status that was sent last.
    pub(super) sent_status: Option<Hash>,
    /// The host's part of the status as the API server stored it last.
    pub(super) stored_status: Option<Value>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            request: None,
            outcome: Outcome::Applied,
            retry: Retry::No,
            answered: None,
            plan: Plan::default(),
            executed: Executed::default(),
            called: Called::No,
            refused: None,
            ignored: None,
            status_error: None,
            status_conflicts: 0,
            sent_status: None,
            stored_status: None,
        }
    }
}
