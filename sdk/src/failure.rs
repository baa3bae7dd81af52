//! Why a provider cannot answer ([`Failure`](crate::Failure)), and what is wrong with a field ([`Fault`]).

use std::fmt;

use bartizan_contract::{Failure, FailureCode};

/// The parent must be changed by its author.
#[must_use]
pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Failure {
    Failure {
        code: FailureCode::Invalid,
        message: message.into(),
        field: Some(field.into()),
        retry_after_seconds: None,
    }
}

/// Nobody is at fault: ask again after so many seconds.
#[must_use]
pub fn retry(message: impl Into<String>, seconds: u32) -> Failure {
    Failure { code: FailureCode::Retry, message: message.into(), field: None, retry_after_seconds: Some(seconds) }
}

/// The provider, or what it was given, is broken.
#[must_use]
pub fn internal(message: impl Into<String>) -> Failure {
    Failure { code: FailureCode::Internal, message: message.into(), field: None, retry_after_seconds: None }
}

/// What is wrong with one field of the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field as people write it: `spec.scope.nodeCount`.
    pub field: String,
    /// What it must be, and what it is.
    pub message: String,
}

impl Fault {
    /// A fault of a field.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// A fault of a field for which something does not hold. Neither text is made otherwise.
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
