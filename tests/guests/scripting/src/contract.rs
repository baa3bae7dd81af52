//! The parts of the contract that more than one file needs.

use serde::Deserialize;

/// `apiVersion` of every document of the contract.
pub(crate) const API_VERSION: &str = "provider.bartizan.dev/v1alpha1";

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// `invalid`, `retry`, `internal`, or any other code that a test wants.
    pub code: String,
    /// For the person who reads the parent's conditions.
    pub message: String,
    /// The field of the parent that is invalid.
    pub field: Option<String>,
    /// When to retry.
    pub retry_after_seconds: Option<u32>,
}
