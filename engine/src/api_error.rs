//! Why a request to the API server did not do what it should, sorted by who can do something about it.

use std::time::Duration;

use bartizan_contract::Kind;
use thiserror::Error;

/// Why a request did not do what it should.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ApiError {
    /// The object is not in the state that the precondition names (409, or 422 for another UID).
    #[error("{0}")]
    Conflict(String),
    /// There is no such object (404, 410).
    #[error("{0}")]
    NotFound(String),
    /// The provider's account lacks the right, or a quota or a terminating namespace forbids it (401, 403).
    #[error("{0}")]
    Forbidden(String),
    /// A field of the object breaks a rule of validation (422).
    #[error("{0}")]
    Invalid(String),
    /// The change meets a field that is immutable once the object exists (422).
    #[error("{0}")]
    Immutable(String),
    /// The request is malformed, or a webhook refuses it (400, 406, 413, 415).
    #[error("{0}")]
    Rejected(String),
    /// It may succeed later: everything else, and what was not answered.
    #[error("{message}")]
    Transient {
        /// What happened.
        message: String,
        /// When the API server asked to be tried again.
        retry_after: Option<Duration>,
    },
    /// The kind is not among those that were resolved when the provider started.
    #[error("kind {0} is not served by this cluster")]
    NotServed(Kind),
}

impl ApiError {
    /// An error that may be gone at the next try.
    #[must_use]
    pub fn transient(message: String) -> Self {
        Self::Transient { message, retry_after: None }
    }

    /// When the API server asked to be tried again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Transient { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether it is unknown if the request took effect: the object must be read before anything else is decided.
    #[must_use]
    pub fn is_unsure(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}
