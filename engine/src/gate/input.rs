//! The input of the gate, and its refusals.

use std::sync::Arc;

use thiserror::Error;

use crate::grants::Grants;
use crate::object::Observed;
use crate::secrets::Revealed;

/// Why an answer is not acted on: where in the response, and what is wrong with it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{path}: {message}")]
pub struct Refusal {
    /// Path in the response, such as `response.children[2].object.metadata.finalizers`.
    pub path: String,
    /// What is wrong, and how to fix it.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// The input of the gate: the provider, and the bounds for its answer.
#[derive(Clone, Copy, Debug)]
pub struct GateInput<'a> {
    /// Name of the provider.
    pub provider: &'a str,
    /// What it may write and read.
    pub grants: &'a Grants,
    /// The parent that the answer is about.
    pub parent: &'a Observed,
    /// Its observed children.
    pub children: &'a [Arc<Observed>],
    /// Maximum number of children in one answer.
    pub max_children: usize,
    /// Whether the provider finalizes parents that are being deleted: then their children have no owner references.
    pub finalizes: bool,
    /// Whether it was asked to finalize the parent.
    pub finalizing: bool,
    /// The values behind the tokens of the request.
    pub issued: &'a Revealed,
}
