//! The status of a Provider.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema;
use crate::condition::Condition;
use crate::group_kind::GroupKind;

/// Types of a Provider's conditions.
pub mod condition_types {
    /// Whether the Provider serves as its spec wants it: all that the conditions below say, in one. As kstatus, Argo CD and Flux read it.
    pub const READY: &str = "Ready";
    /// Whether the spec is valid and can be served.
    pub const ACCEPTED: &str = "Accepted";
    /// Whether the module was fetched and compiled, and its manifest read.
    pub const LOADED: &str = "Loaded";
    /// Whether parents are served.
    pub const SERVING: &str = "Serving";
    /// Whether a new version waits, usually for an approval.
    pub const UPGRADE_HELD: &str = "UpgradeHeld";
    /// Whether a Provider that is being deleted waits for something; present only then.
    pub const REMOVAL_BLOCKED: &str = "RemovalBlocked";
    /// Whether the status of some parents cannot be written; present only then.
    pub const STATUS_BLOCKED: &str = "StatusBlocked";
}

/// The status of a Provider. Unknown fields, which a newer host may have written, are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderStatus {
    /// The generation of the Provider that this status is based on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The active module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveModule>,
    /// Whether it has ever served; absent: not known. Until then it has no parents, and can be deleted whatever there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_served: Option<bool>,
    /// The previously active module, to which `spec.module.digest` can roll back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<ActiveModule>,
    /// The module that waits to become active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateModule>,
    /// Number of parents, as of the last count.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub parents: Option<u32>,
    /// All kinds that this provider ever wrote, such as `StatefulSet.apps`, so that kinds that a later version no longer declares
    /// are still pruned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 317)), extend("x-kubernetes-list-type" = "set"))]
    pub kinds: Vec<GroupKind>,
    /// The conditions Ready, Accepted, Loaded, Serving, UpgradeHeld, RemovalBlocked and StatusBlocked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// An active module and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveModule {
    /// The version in its manifest.
    pub version: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The active settings; those of the spec may wait for an approval.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "schema::any_object")]
    pub settings: Map<String, Value>,
    /// The kinds of parents that the module owns, such as `ObjectStore.minio.rook.io`. A later version that owns fewer is held, even
    /// if this module is no longer available.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 317)), extend("x-kubernetes-list-type" = "set"))]
    pub owns: Vec<GroupKind>,
    /// When it became active, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub since: Option<String>,
    /// Who approved it, if it waited for that: the field manager, and where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub approved_by: Option<String>,
}

impl ActiveModule {
    /// Whether this is the version with this module and these settings. Other fields may differ, since other versions of the host
    /// record more or less.
    #[must_use]
    pub fn is_version(&self, digest: &str, settings: &Map<String, Value>) -> bool {
        self.digest == digest && self.settings == *settings
    }
}

/// A module that waits to become active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateModule {
    /// The version in its manifest.
    pub version: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The value of the annotation `bartizan.dev/approve` with which it takes over.
    #[serde(default)]
    pub approval: String,
    /// The changes that it would make; absent until it was run for every parent in the shadow of the active module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<CandidateChanges>,
}

/// The changes that a waiting module would make, as numbers. `bartizan diff provider/NAME` shows the changes themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CandidateChanges {
    /// Parents with changes.
    pub parents: u32,
    /// Children to create.
    pub create: u32,
    /// Children to update.
    pub update: u32,
    /// Children to delete.
    pub delete: u32,
    /// Children to delete and create again.
    pub recreate: u32,
    /// Children to release, which stay.
    pub release: u32,
    /// Children that could not be changed, because a field is immutable or the name is taken.
    pub refuse: u32,
    /// Parents for which it fails, while the active module does not, or fails otherwise.
    pub fail: u32,
    /// Parents that it could not be asked about.
    pub unknown: u32,
}
