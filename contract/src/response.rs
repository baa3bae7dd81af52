//! What a provider answers: the children that should exist, the status, and when to be asked again. Unknown fields are
//! errors: a misspelt field must not turn into a pruned child.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::{API_VERSION, RESPONSE_KIND};

/// One answer of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReconcileResponse {
    /// `provider.bartizan.dev/v1alpha1`.
    pub api_version: String,
    /// `ReconcileResponse`.
    pub kind: String,
    /// All children that should exist: what is missing here and exists is pruned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    /// Children to leave alone: neither applied nor pruned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<KeepRef>,
    /// Write the status only; apply nothing, prune nothing. The answer to an invalid spec or unknown health.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hold: bool,
    /// The parent's status; its `conditions` without times. Absent: only the host's own conditions are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    /// Events on the parent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<ProviderEvent>,
    /// Ask again after so many seconds, at the least 1. Absent: only when something changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resync_after_seconds: Option<u32>,
    /// The answer to `finalizing`: nothing is left to do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finalized: bool,
    /// What else the provider needs to see before it can decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<RelatedSelector>,
    /// Random values that the host makes once, when the Secret is created, and never changes.
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

/// One child that should exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Child {
    /// The object: apiVersion, kind, metadata and what the provider wants to own of the rest.
    pub object: Value,
    /// Waves are applied in order, each once the API server accepted the one before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wave: u32,
    /// What becomes of it when the parent goes or no longer asks for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_delete: OnDelete,
    /// What to do when the API server says that a field is immutable.
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

/// What becomes of a child when the parent goes or no longer asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays, released.
    Retain,
}

/// What to do when a change meets an immutable field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnImmutableChange {
    /// Say so in a condition; the child stays as it is.
    #[default]
    Refuse,
    /// Delete it, leave what it owns (pods, claims), and create it again.
    RecreateOrphan,
    /// Delete it with what it owns and create it again.
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

/// Whether an event is worth an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EventType {
    /// Something went as it should.
    Normal,
    /// Somebody should look.
    Warning,
}

/// An event on the parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderEvent {
    /// Normal or Warning.
    #[serde(rename = "type")]
    pub type_: EventType,
    /// One CamelCase word for programs.
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}

/// Other objects that a provider needs to see: by name or by label, of one kind that its manifest declares.
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
    /// These names; empty: all that the selector matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Labels that must have these values; empty: the names decide.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// A random value in a Secret among the children.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Generate {
    /// Name of the Secret, which is one of the children.
    pub secret: String,
    /// Key in its `data`.
    pub key: String,
    /// Characters, 8 to 1024.
    pub length: u16,
    /// What the characters are.
    #[serde(default)]
    pub alphabet: GenerateAlphabet,
}

/// Characters of a generated value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GenerateAlphabet {
    /// A-Z, a-z, 0-9.
    #[default]
    Alphanumeric,
    /// 0-9, a-f.
    Hex,
}

/// Why a provider could not answer. It crosses the sandbox as a record, not as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Whose turn it is.
    pub code: FailureCode,
    /// For the person who reads the parent's conditions.
    pub message: String,
    /// The field of the parent that is at fault, as `spec.scope.nodeCount`.
    pub field: Option<String>,
    /// When to try again; absent: the host backs off.
    pub retry_after_seconds: Option<u32>,
}

/// Whose turn it is after a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailureCode {
    /// The parent's author: the parent must change.
    Invalid,
    /// Nobody: try again later.
    Retry,
    /// The provider's author. Codes that a host does not know are of this kind.
    Internal,
    /// A code of a later contract.
    #[serde(untagged)]
    Other(String),
}

impl FailureCode {
    /// As it crosses the sandbox.
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

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
