//! What a reconcile asks of the world, and what comes back. The host sends effects to the API server and to the module; a
//! simulation answers them from memory.

use std::sync::Arc;

use bartizan_contract::{Failure, Kind, ProviderEvent, Reason, ReconcileResponse};
use serde_json::Value;
use thiserror::Error;

use crate::api_error::ApiError;
use crate::gate::Refusal;
use crate::object::{ObjectKey, Observed};
use crate::patch::MergePatch;
use crate::plan::{Apply, Delete, Fence};

/// Names one effect of a reconcile, so that replies may come in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) usize);

/// One thing to do. Effects that are handed out together may be carried out side by side, in any order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Call the provider with this request. Replied with [`Reply::Called`].
    Call(Vec<u8>),
    /// Read whether this namespace is being deleted, or gone. Replied with [`Reply::Terminating`].
    ReadNamespace(String),
    /// List the parent's children of all kinds that the provider may have written, from the API server itself. Replied with
    /// [`Reply::Children`].
    ListChildren,
    /// Read an object from the API server itself. Replied with [`Reply::Object`].
    Get {
        /// Its kind.
        kind: Kind,
        /// Which one.
        key: ObjectKey,
    },
    /// Apply a child, forced, under this fence; with the values behind its tokens, and generated ones. Replied with
    /// [`Reply::Object`].
    Apply {
        /// The child.
        apply: Arc<Apply>,
        /// What must still be true; not always that of the plan.
        fence: Fence,
        /// The child as it was seen, whose generated values are sent again.
        existing: Option<Arc<Observed>>,
    },
    /// Take over the list items that others added to a child, so that the next apply removes them. Replied with
    /// [`Reply::Claimed`].
    ClaimItems {
        /// The child.
        apply: Arc<Apply>,
        /// As it was seen, with its generated values.
        seen: Arc<Observed>,
    },
    /// Patch an object. Replied with [`Reply::Object`].
    Patch(MergePatch),
    /// Delete an object in this state. Replied with [`Reply::Done`].
    Delete {
        /// Which object, in which state.
        delete: Delete,
        /// What becomes of what it owns.
        propagation: Propagation,
    },
    /// Apply the parent's status. Replied with [`Reply::Object`].
    ApplyStatus(Value),
    /// Send an event about the parent; it may be lost. Replied with [`Reply::Done`].
    SendEvent(ProviderEvent),
}

/// What becomes of what a deleted object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// It is deleted after its owner.
    Background,
    /// It stays.
    Orphan,
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The provider was called.
    Called(Result<Result<ReconcileResponse, Refusal>, CallError>),
    /// Whether the namespace is being deleted, or gone.
    Terminating(Result<bool, ApiError>),
    /// The children.
    Children(Result<Vec<Arc<Observed>>, ApiError>),
    /// The object as the API server returned it.
    Object(Result<Observed, ApiError>),
    /// The child with the items taken over; `None` if there are none.
    Claimed(Result<Option<Observed>, ApiError>),
    /// Nothing is returned.
    Done(Result<(), ApiError>),
}

impl Reply {
    /// The object; an error if the driver replied to another effect.
    pub(crate) fn object(self) -> Result<Observed, ApiError> {
        match self {
            Self::Object(result) => result,
            other => Err(other.misplaced()),
        }
    }

    /// Nothing; an error if the driver replied to another effect.
    pub(crate) fn done(self) -> Result<(), ApiError> {
        match self {
            Self::Done(result) => result,
            other => Err(other.misplaced()),
        }
    }

    /// A reply to another effect than the one that was sent: a bug of the driver's, and no reason to act on anything.
    pub(crate) fn misplaced(self) -> ApiError {
        ApiError::transient("the reply does not fit the request: this is a bug of the host".to_owned())
    }
}

/// Why there is no answer of a provider.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{message}")]
pub struct CallError {
    /// For conditions.
    pub reason: Reason,
    /// What happened.
    pub message: String,
    /// Who is at fault.
    pub cause: CallCause,
}

/// Who is at fault if there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum CallCause {
    /// The provider answered with a failure.
    Failure(Failure),
    /// The module crashed, ran out of time or memory, or answered what cannot be read: counted by its breaker, with this text.
    Module(String),
    /// The request, the answer's size, or the host: it says nothing about the module.
    Other,
}
