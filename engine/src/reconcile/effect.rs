//! The effects of a reconcile, and the replies to them. The host sends effects to the API server and to the module; the
//! simulation answers them from memory.

use std::net::IpAddr;
use std::sync::Arc;

use bartizan_contract::{Failure, FailureCode, Kind, ProviderEvent, Reason, ReconcileResponse};
use serde_json::Value;
use thiserror::Error;

use crate::api_error::ApiError;
use crate::gate::Refusal;
use crate::object::{ObjectKey, Observed};
use crate::patch::MergePatch;
use crate::plan::{Apply, Delete, Fence};
use crate::takeover::Earlier;

/// Identifies one effect of a reconcile, so that replies may arrive in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(crate) usize);

/// One request to carry out. Effects that are returned together may be carried out concurrently, in any order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Call the provider with this request. Replied with [`Reply::Called`].
    Call(Vec<u8>),
    /// Read whether this namespace is being deleted, or gone. Replied with [`Reply::Terminating`].
    ReadNamespace(String),
    /// List the parent's children of all kinds that the provider may have written, live. Replied with [`Reply::Children`].
    ListChildren,
    /// Read an object live. Replied with [`Reply::Object`].
    Get {
        /// Its kind.
        kind: Kind,
        /// Its key.
        key: ObjectKey,
    },
    /// Read live whether a parent of the kind of this one exists: an earlier one, or this one. Replied with [`Reply::Parent`].
    FindParent(Earlier),
    /// Apply a child with force and this precondition; the driver fills in the values behind its tokens, and generated ones.
    /// Replied with [`Reply::Object`].
    Apply {
        /// The child.
        apply: Arc<Apply>,
        /// The precondition; not always that of the plan.
        fence: Fence,
        /// The observed child, whose generated values are sent again.
        existing: Option<Arc<Observed>>,
    },
    /// Take ownership of the list items that other managers added to a child, so that the next apply removes them. Replied with
    /// [`Reply::Claimed`].
    ClaimItems {
        /// The child.
        apply: Arc<Apply>,
        /// The observed child, with its generated values.
        seen: Arc<Observed>,
    },
    /// Adopt an object that this provider has not applied yet, with the fields that another provider applied. If none did, only its
    /// owner reference is removed: the apply that follows adopts it. Replied with [`Reply::Object`].
    Adopt(Box<Observed>),
    /// Ask whether a child that exists could be created as it is desired: a dry-run create that is answered AlreadyExists has passed
    /// validation, admission and quota. Replied with [`Reply::Done`]: an error is why it could not, or
    /// [`ApiError::NotFound`] if it does not exist.
    TryCreate {
        /// The child.
        apply: Arc<Apply>,
        /// The observed child, with its generated values.
        seen: Arc<Observed>,
    },
    /// Read who has this address of a Service. Replied with [`Reply::Address`].
    ReadAddress(IpAddr),
    /// Patch an object. Replied with [`Reply::Object`].
    Patch(MergePatch),
    /// Delete an object under preconditions. Replied with [`Reply::Done`].
    Delete {
        /// The object, with UID and resource version as preconditions.
        delete: Delete,
        /// What happens to its dependents.
        propagation: Propagation,
    },
    /// Apply the parent's status. Replied with [`Reply::Object`].
    ApplyStatus {
        /// The status.
        status: Value,
        /// Precondition: resource version of the parent.
        resource_version: String,
        /// Whether it is a subresource; if not, it is applied to the parent itself.
        is_subresource: bool,
    },
    /// Send an event about the parent; it may be lost. Replied with [`Reply::Done`].
    SendEvent(ProviderEvent),
}

/// What happens to the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after their owner.
    Background,
    /// They stay.
    Orphan,
}

/// The reply to an effect.
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
    /// The parent, if it exists.
    Parent(Result<Option<Box<Observed>>, ApiError>),
    /// The child after the claim; `None` if there is nothing to claim.
    Claimed(Result<Option<Observed>, ApiError>),
    /// Who has the address, as `Service namespace/name`; `None` if nobody has it.
    Address(Result<Option<String>, ApiError>),
    /// The effect returns nothing.
    Done(Result<(), ApiError>),
}

impl Reply {
    /// The object; an error if the reply is of another type.
    pub(crate) fn object(self) -> Result<Observed, ApiError> {
        match self {
            Self::Object(result) => result,
            other => Err(other.unexpected()),
        }
    }

    /// Nothing; an error if the reply is of another type.
    pub(crate) fn done(self) -> Result<(), ApiError> {
        match self {
            Self::Done(result) => result,
            other => Err(other.unexpected()),
        }
    }

    /// The error for a reply of the wrong type: a bug of the driver, so the reply is not acted on.
    pub(crate) fn unexpected(self) -> ApiError {
        ApiError::transient("the reply does not match the request: this is a bug of the host".to_owned())
    }
}

/// Why a provider gave no answer.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{message}")]
pub struct CallError {
    /// What kind of fault it is.
    pub reason: Reason,
    /// What happened.
    pub message: String,
    /// Who is at fault.
    pub cause: CallCause,
}

impl CallError {
    /// The reason of the parent's condition.
    #[must_use]
    pub fn condition_reason(&self) -> Reason {
        match &self.cause {
            CallCause::Failure(failure) if failure.code == FailureCode::Invalid => Reason::Invalid,
            _ => self.reason,
        }
    }
}

/// Who is at fault if there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum CallCause {
    /// The provider answered with a failure.
    Failure(Failure),
    /// The module crashed, ran out of time or memory, or gave a malformed answer: counted by its circuit breaker, with this
    /// message.
    Module(String),
    /// The request, the size of the answer, or the host: it does not count against the module.
    Other,
}
