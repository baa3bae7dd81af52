//! Errors of requests to the API server, classified by what follows from them.

use std::time::Duration;

use bartizan_contract::Kind;
use thiserror::Error;

/// Why a request to the API server failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ApiError {
    /// A precondition on the object does not hold (409, or 422 for another UID).
    #[error("{0}")]
    Conflict(String),
    /// The object does not exist (404, 410).
    #[error("{0}")]
    NotFound(String),
    /// The provider's ServiceAccount lacks the permission, or a quota or a terminating namespace forbids it (401, 403).
    #[error("{0}")]
    Forbidden(String),
    /// The object fails validation (422).
    #[error("{message}")]
    Invalid {
        /// What is wrong with it.
        message: String,
        /// The fields that the API server names as causes, as in `spec.ports[0].name`. None if a policy or a webhook refused it.
        fields: Vec<String>,
    },
    /// The write changes a field that is immutable by the rules of its kind.
    #[error("{0}")]
    Immutable(String),
    /// The request is malformed, or an admission webhook denies it (400, 406, 413, 415).
    #[error("{0}")]
    Rejected(String),
    /// It may succeed later: every other status, and requests without a response.
    #[error("{message}")]
    Transient {
        /// What happened.
        message: String,
        /// The delay that the API server asked for (`Retry-After`).
        retry_after: Option<Duration>,
        /// Whether the API server did not answer, or was too busy to: it said nothing about the request itself.
        is_busy: bool,
    },
    /// The kind was not found by discovery when the provider started.
    #[error("kind {0} is not served by this cluster")]
    NotServed(Kind),
}

impl ApiError {
    /// An error that a retry may resolve.
    #[must_use]
    pub fn transient(message: String) -> Self {
        Self::Transient { message, retry_after: None, is_busy: true }
    }

    /// The delay that the API server asked for (`Retry-After`).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Transient { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the request may have taken effect: the object must be read before the next decision.
    #[must_use]
    pub fn is_unsure(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}
