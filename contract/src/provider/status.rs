//! What the host says about a provider.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Condition, GroupKind};

/// Types of a Provider's conditions.
pub mod condition_types {
    /// Whether the spec can be honoured as it stands.
    pub const ACCEPTED: &str = "Accepted";
    /// Whether the module could be fetched, compiled and described.
    pub const LOADED: &str = "Loaded";
    /// Whether parents are served.
    pub const SERVING: &str = "Serving";
    /// Whether a new version waits, most often for an approval; there only while there is one.
    pub const UPGRADE_HELD: &str = "UpgradeHeld";
    /// Whether a Provider that is being deleted waits for something; there only then.
    pub const REMOVAL_BLOCKED: &str = "RemovalBlocked";
}

/// What the host says about a provider. Fields of a newer host are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderStatus {
    /// The generation of the Provider that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The module that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveModule>,
    /// The module that served before it: `spec.module.digest` brings it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<ActiveModule>,
    /// The module that would serve next, and waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateModule>,
    /// Parents that it serves, as last counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub parents: Option<u32>,
    /// All kinds that this provider ever wrote, as `StatefulSet.apps`: what a later version no longer declares is still
    /// found and pruned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 317)), extend("x-kubernetes-list-type" = "set"))]
    pub kinds: Vec<GroupKind>,
    /// Accepted, Loaded, Serving, UpgradeHeld and RemovalBlocked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::crd::conditions")]
    pub conditions: Vec<Condition>,
}

/// A module that serves, with the settings that it serves with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveModule {
    /// As its manifest says.
    pub version: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Its settings: those of the spec may wait for an approval.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "super::crd::any_object")]
    pub settings: Map<String, Value>,
    /// The kinds of parents that it owns, as `ObjectStore.minio.rook.io`: one that comes after it and owns fewer is held, even
    /// where this one is not at hand any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 317)), extend("x-kubernetes-list-type" = "set"))]
    pub owns: Vec<GroupKind>,
}

impl ActiveModule {
    /// Whether this is the version with this module and these settings. What else is said of it may differ, since hosts of other
    /// versions say more or less.
    #[must_use]
    pub fn is_version(&self, digest: &str, settings: &Map<String, Value>) -> bool {
        self.digest == digest && self.settings == *settings
    }
}

/// A module that waits to serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateModule {
    /// As its manifest says.
    pub version: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// What the annotation `bartizan.dev/approve` must say so that it takes over.
    #[serde(default)]
    pub approval: String,
    /// What it would change; absent until it ran in the shadow of the active one on every parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<CandidateChanges>,
}

/// What a module that waits would change. `bartizan diff provider/NAME` shows the changes themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CandidateChanges {
    /// Parents that something would change for.
    pub parents: u32,
    /// Children that it would make.
    pub create: u32,
    /// Children that it would change.
    pub update: u32,
    /// Children that it would delete.
    pub delete: u32,
    /// Children that it would delete and make again.
    pub recreate: u32,
    /// Children that it would let go of, and that stay.
    pub release: u32,
    /// Children that it could not change as it would, since a field never changes or the name is somebody else's.
    pub refuse: u32,
    /// Parents that it gives no acceptable answer for, while the active one does.
    pub fail: u32,
}
