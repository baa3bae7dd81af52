//! Who asks, within which bounds, and why an answer is refused.

use std::sync::Arc;

use thiserror::Error;

use crate::grants::Grants;
use crate::object::Observed;
use crate::secrets::Revealed;

/// Why an answer is not acted on: where in the response, and what is wrong with it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{path}: {message}")]
pub struct Refusal {
    /// Path in the response, as `response.children[2].object.metadata.finalizers`.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// Who asks, and within which bounds.
#[derive(Clone, Copy, Debug)]
pub struct GateInput<'a> {
    /// Name of the provider.
    pub provider: &'a str,
    /// What it may write and read.
    pub grants: &'a Grants,
    /// The parent that the answer is about.
    pub parent: &'a Observed,
    /// Its children as they are.
    pub children: &'a [Arc<Observed>],
    /// The most children that one answer may hold.
    pub max_children: usize,
    /// Whether the provider is asked before a parent goes: then its children have no owner references.
    pub finalizes: bool,
    /// Whether it was asked to finish.
    pub finalizing: bool,
    /// What stands behind the tokens of the request.
    pub issued: &'a Revealed,
}
