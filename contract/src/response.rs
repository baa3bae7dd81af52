//! The response of a provider: the children that should exist, the status, and when to reconcile again. Unknown fields are errors:
//! a misspelt field must not lead to a pruned child.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::default::is_default;
use crate::names::{API_VERSION, RESPONSE_KIND};

/// One response of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReconcileResponse {
    /// `provider.bartizan.dev/v1alpha1`.
    pub api_version: String,
    /// `ReconcileResponse`.
    pub kind: String,
    /// All children that should exist. Existing children that are missing here are pruned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    /// Children to leave alone, neither applied nor pruned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<KeepRef>,
    /// Whether only the status is written, and nothing is applied or pruned: for an invalid spec or unknown health.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// The parent's status, with `conditions` that have no times. Absent: only the host's own conditions are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    /// Events on the parent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<ProviderEvent>,
    /// Reconcile again after this many seconds, at least 1. Absent: only when something changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resync_after_seconds: Option<u32>,
    /// In response to `finalizing`: whether nothing is left to do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finalized: bool,
    /// Other objects that the provider needs in order to decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<RelatedSelector>,
    /// Random values that the host generates once, when the Secret is created, and never changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generate: Vec<Generate>,
}

impl Default for ReconcileResponse {
    fn default() -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: RESPONSE_KIND.to_owned(),
            children: Vec::new(),
            keep: Vec::new(),
            hold: false,
            status: None,
            events: Vec::new(),
            resync_after_seconds: None,
            finalized: false,
            related: Vec::new(),
            generate: Vec::new(),
        }
    }
}

/// A child that should exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Child {
    /// The object: apiVersion, kind, metadata and all other fields that the provider owns.
    pub object: Value,
    /// Waves are applied in order, each once the API server has accepted the previous one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wave: u32,
    /// What happens to the child when the parent is deleted or no longer wants it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_delete: OnDelete,
    /// What happens when the API server refuses to change an immutable field.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_immutable_change: OnImmutableChange,
}

impl Child {
    /// A child in wave 0, deleted with its parent, whose immutable fields are not changed.
    #[must_use]
    pub fn new(object: Value) -> Self {
        Self { object, wave: 0, on_delete: OnDelete::default(), on_immutable_change: OnImmutableChange::default() }
    }
}

/// What happens to a child when the parent is deleted or no longer wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// It is deleted.
    #[default]
    Delete,
    /// It is released and stays.
    Retain,
}

/// What happens when a change affects an immutable field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnImmutableChange {
    /// The change is reported in a condition, and the child stays as it is.
    #[default]
    Refuse,
    /// The child is deleted and created again, while its dependents (pods, claims) stay.
    RecreateOrphan,
    /// The child is deleted with its dependents and created again.
    Recreate,
}

/// A child to leave alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeepRef {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `StatefulSet`.
    pub kind: String,
    /// Absent: the parent's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the child.
    pub name: String,
}

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EventType {
    /// For information.
    Normal,
    /// Something needs attention.
    Warning,
}

/// An event on the parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderEvent {
    /// Normal or Warning.
    #[serde(rename = "type")]
    pub type_: EventType,
    /// Machine-readable reason, one CamelCase word.
    pub reason: String,
    /// Human-readable message.
    pub message: String,
}

/// Selects other objects that a provider needs, by name or by label, of a kind that its manifest declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelatedSelector {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `Secret`.
    pub kind: String,
    /// Absent: the parent's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Names; empty: all objects that the labels match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Labels with the values that they must have; empty: selected by name only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// A random value in a Secret among the children.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Generate {
    /// Name of a Secret among the children.
    pub secret: String,
    /// Key in its `data`.
    pub key: String,
    /// Number of characters, from 8 to 1024.
    pub length: u16,
    /// The possible characters.
    #[serde(default)]
    pub alphabet: GenerateAlphabet,
}

/// The possible characters of a generated value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GenerateAlphabet {
    /// A-Z, a-z, 0-9.
    #[default]
    Alphanumeric,
    /// 0-9, a-f.
    Hex,
}

/// The failure of a call. It crosses the sandbox as a record, not as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The kind of failure, which tells who can fix it.
    pub code: FailureCode,
    /// Human-readable message, for the parent's conditions.
    pub message: String,
    /// The field of the parent that is at fault, such as `spec.scope.nodeCount`.
    pub field: Option<String>,
    /// When to retry; absent: with the host's back-off.
    pub retry_after_seconds: Option<u32>,
}

/// The kind of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailureCode {
    /// The user must change the parent.
    Invalid,
    /// A transient failure: the host retries.
    Retry,
    /// A bug in the provider. Hosts treat unknown codes as this one.
    Internal,
    /// A code of a later version of the contract.
    #[serde(untagged)]
    Other(String),
}

impl FailureCode {
    /// The code as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Invalid => "invalid",
            Self::Retry => "retry",
            Self::Internal => "internal",
            Self::Other(code) => code,
        }
    }
}

impl From<String> for FailureCode {
    fn from(code: String) -> Self {
        match code.as_str() {
            "invalid" => Self::Invalid,
            "retry" => Self::Retry,
            "internal" => Self::Internal,
            _ => Self::Other(code),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Failure {}
