//! What a reconcile leaves behind.

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

/// What is to happen next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// The queue takes note.
    Finish(Finished),
    /// Ask again at once, with this in the request.
    Supply(Supplied),
}

/// What a reconcile leaves behind.
#[derive(Clone, Debug)]
pub struct Report {
    /// What is to happen next.
    pub next: Next,
    /// What the parent refers to from now on.
    pub references: References,
    /// What is kept for the next reconcile.
    pub kept: Kept,
    /// Objects as the API server returned them: newer than the cache.
    pub observed: Vec<Observed>,
    /// Children that were deleted.
    pub deleted: Vec<Delete>,
    /// Children whose write was not answered: what became of it must be read before anything is decided.
    pub unsure: Vec<(Kind, ObjectKey)>,
    /// Names that others hold.
    pub wanted: Vec<ObjectKey>,
    /// Whether the provider was asked, and answered.
    pub called: Called,
    /// How it ended.
    pub ended: Ended,
}

/// How a reconcile ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// Nothing was decided: the parent goes without its provider, or what became of a write was read.
    Undecided,
    /// The request was that of the last complete decision: the provider was not called.
    Unchanged {
        /// SHA-256 of the request.
        request: Hash,
    },
    /// The provider asked to see more.
    AskedForMore {
        /// SHA-256 of the request.
        request: Hash,
        /// What it is given next.
        supplied: Supplied,
    },
    /// A decision was made and executed.
    Decided(Box<Decided>),
}

/// A decision, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// SHA-256 of the request, if the provider was asked.
    pub request: Option<Hash>,
    /// How it ended.
    pub outcome: Outcome,
    /// What was to be done.
    pub plan: Plan,
    /// Names that hold something that is not this parent's, and whose it is.
    pub taken: Vec<(ObjectKey, String)>,
    /// What the gate refused.
    pub refused: Option<Refusal>,
    /// Why the status could not be written.
    pub status_error: Option<ApiError>,
    /// What the provider asked to see, and what of it exists.
    pub supplied: Supplied,
}
