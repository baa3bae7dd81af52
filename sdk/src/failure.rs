//! Failures of a whole request ([`Failure`](crate::Failure)) and faults of single fields ([`Fault`]).

use std::fmt;

use bartizan_contract::{Failure, FailureCode};

/// The user must change the parent.
#[must_use]
pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Failure {
    Failure {
        code: FailureCode::Invalid,
        message: message.into(),
        field: Some(field.into()),
        retry_after_seconds: None,
    }
}

/// A transient failure: the host retries after this many seconds.
#[must_use]
pub fn retry(message: impl Into<String>, seconds: u32) -> Failure {
    Failure { code: FailureCode::Retry, message: message.into(), field: None, retry_after_seconds: Some(seconds) }
}

/// A bug in the provider, or a malformed request.
#[must_use]
pub fn internal(message: impl Into<String>) -> Failure {
    Failure { code: FailureCode::Internal, message: message.into(), field: None, retry_after_seconds: None }
}

/// What is wrong with one field of the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field: `spec.scope.nodeCount`.
    pub field: String,
    /// What the value must be, and what it is.
    pub message: String,
}

impl Fault {
    /// A fault of a field.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// A fault of a field unless a condition holds. Formats both texts only if it does not.
    #[must_use]
    pub fn unless(holds: bool, field: impl fmt::Display, message: fmt::Arguments<'_>) -> Option<Self> {
        (!holds).then(|| Self::new(field.to_string(), message.to_string()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        invalid(fault.field, fault.message)
    }
}
