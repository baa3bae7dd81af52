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
    /// The account lacks the right to it (401, and RBAC's own 403). The message names verb and resource.
    #[error("{0}")]
    Denied(String),
    /// A quota, a policy or a terminating namespace forbids it (any other 403).
    #[error("{0}")]
    Forbidden(String),
    /// The object fails validation (422).
    #[error("{message}")]
    Invalid {
        /// What is wrong with it.
        message: String,
        /// The fields that the API server names as causes. None if a policy or a webhook refused it.
        fields: Vec<InvalidField>,
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

/// A field that the API server names as a cause of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// Its path, as in `spec.ports[0].name`.
    pub path: String,
    /// Whether it must not be set, or not be changed (`FieldValueForbidden`).
    pub is_forbidden: bool,
}

impl ApiError {
    /// An error that a retry may resolve.
    #[must_use]
    pub fn transient(message: String) -> Self {
        Self::Transient { message, retry_after: None, is_busy: true }
    }

    /// The same error, with what it is about.
    #[must_use]
    pub fn context(self, what: &str) -> Self {
        let with = |message: String| format!("{what}: {message}");
        match self {
            Self::Conflict(message) => Self::Conflict(with(message)),
            Self::NotFound(message) => Self::NotFound(with(message)),
            Self::Denied(message) => Self::Denied(with(message)),
            Self::Forbidden(message) => Self::Forbidden(with(message)),
            Self::Invalid { message, fields } => Self::Invalid { message: with(message), fields },
            Self::Immutable(message) => Self::Immutable(with(message)),
            Self::Rejected(message) => Self::Rejected(with(message)),
            Self::Transient { message, retry_after, is_busy } => {
                Self::Transient { message: with(message), retry_after, is_busy }
            }
            Self::NotServed(kind) => Self::NotServed(kind),
        }
    }

    /// The delay that the API server asked for (`Retry-After`).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Transient { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether it says nothing about the request itself: the object changed or is gone, or the API server was busy.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::NotFound(_) | Self::Transient { is_busy: true, .. })
    }

    /// Whether the request may have taken effect: the object must be read before the next decision.
    #[must_use]
    pub fn is_unsure(&self) -> bool {
        matches!(self, Self::Transient { .. })
    }
}
