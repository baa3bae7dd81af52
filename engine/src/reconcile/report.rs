//! The report of a reconcile.

use bartizan_contract::Kind;

use crate::api_error::ApiError;
use crate::breaker::Called;
use crate::gate::Refusal;
use crate::object::{Hash, ObjectKey, Observed};
use crate::plan::{Delete, Plan};
use crate::queue::Finished;
use crate::related::References;
use crate::snapshot::{Kept, Supplied};
use crate::status::Outcome;

/// What follows a reconcile.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// The parent is requeued, or done.
    Finish(Finished),
    /// Call the provider again at once, with these related objects in the request.
    Supply(Supplied),
}

/// The report of a reconcile.
#[derive(Clone, Debug)]
pub struct Report {
    /// What follows.
    pub next: Next,
    /// The related objects that the parent references from now on.
    pub references: References,
    /// The state that is kept for the next reconcile.
    pub kept: Kept,
    /// Objects as the API server returned them, newer than the cache.
    pub observed: Vec<Observed>,
    /// Children that were deleted.
    pub deleted: Vec<Delete>,
    /// Children whose write got no response: they must be read before the next decision.
    pub unsure: Vec<(Kind, ObjectKey)>,
    /// Names that are taken by other owners.
    pub wanted: Vec<ObjectKey>,
    /// Whether the provider was called, and answered.
    pub called: Called,
    /// How it ended.
    pub ended: Ended,
}

/// How a reconcile ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// Nothing was decided: the parent is deleted without its provider, or the result of a lost write was read.
    Undecided,
    /// The request was that of the last complete decision: the provider was not called.
    Unchanged {
        /// SHA-256 of the request.
        request: Hash,
    },
    /// The provider requested related objects that it was not given.
    AskedForMore {
        /// SHA-256 of the request.
        request: Hash,
        /// What it is given in the next round.
        supplied: Supplied,
    },
    /// A decision was made and executed.
    Decided(Box<Decided>),
}

/// A decision and its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// SHA-256 of the request, if the provider was called.
    pub request: Option<Hash>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the decision before ended so, too, and nothing was tried again since.
    pub is_repeated: bool,
    /// The plan.
    pub plan: Plan,
    /// Names that are taken by an object of another owner, which is described.
    pub taken: Vec<(ObjectKey, String)>,
    /// Why the gate refused the answer.
    pub refused: Option<Refusal>,
    /// Why there was no acceptable answer, where that made no difference: the parent's namespace is being deleted.
    pub ignored: Option<String>,
    /// Why the status could not be written.
    pub status_error: Option<ApiError>,
    /// What the provider's account lacks the right to, as the API server says it.
    pub denied: Option<String>,
    /// Objects that the provider requests by name, that do not exist, and that it does not make itself.
    pub missing: Vec<ObjectKey>,
}
