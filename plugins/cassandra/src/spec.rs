//! The types that the CRD is made from: what people write in a Cluster, which are Rook's fields and those that day-2 operations
//! need, and what they read there.

use std::collections::BTreeMap;

use bartizan_sdk::ConditionStatus;
use bartizan_sdk::storage::{Annotations, ClaimTemplate, Placement, ResourceSpec};
use bartizan_sdk::{Object, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Cassandra or ScyllaDB cluster: members that keep data together, in racks of one datacenter.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// Version of the database, which is also the tag of its image.
    #[schemars(length(min = 1))]
    pub version: String,
    /// Repository of the image; by default Cassandra's or ScyllaDB's own.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub repository: Option<String>,
    /// Which database it is; by default Cassandra.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Annotations of the StatefulSets and their pods.
    #[serde(default)]
    pub annotations: Annotations,
    /// Annotations of the Service for clients.
    #[serde(default)]
    pub service_annotations: Annotations,
    /// Where the members are.
    pub datacenter: Datacenter,
    /// Image of the sidecar that takes members out of the ring; none: somebody does that by hand.
    #[serde(default)]
    pub sidecar_image: Option<SidecarImage>,
    /// Secrets to pull the images with.
    #[serde(default)]
    #[schemars(schema_with = "schema::named_objects")]
    pub image_pull_secrets: Option<Vec<Object>>,
    /// More environment of the members.
    #[serde(default)]
    #[schemars(schema_with = "schema::named_objects")]
    pub env: Vec<Object>,
    /// What becomes of a member's volume claims, in the words of a StatefulSet.
    #[serde(default)]
    pub persistent_volume_claim_retention_policy: ClaimRetention,
    /// How many members of the cluster get a changed version or other change first, until this field is raised or taken away;
    /// absent: all.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub canary: Option<i32>,
    /// Whether the last member may be removed, and all data with it.
    #[serde(default)]
    pub allow_removing_last_member: Option<bool>,
}

/// Which database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Apache Cassandra.
    #[default]
    Cassandra,
    /// ScyllaDB.
    Scylla,
}

/// A datacenter as the database knows it.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Datacenter {
    /// Its name; it cannot change.
    #[schemars(length(min = 1, max = 46))]
    pub name: String,
    /// Its racks.
    #[serde(default)]
    pub racks: Vec<RackSpec>,
}

/// A rack: members that may fail together.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RackSpec {
    /// Its name; it cannot change.
    #[schemars(length(min = 1, max = 46))]
    pub name: String,
    /// How many members it has.
    #[schemars(range(min = 0))]
    pub members: i32,
    /// ConfigMap whose files are put over those of the database's own configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub config_map_name: Option<String>,
    /// Where the members' data lives.
    #[serde(default)]
    pub storage: RackStorage,
    /// Annotations of this rack's StatefulSet and pods; they win over those of the cluster.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// On which nodes the members run.
    #[serde(default)]
    pub placement: Placement,
    /// What each member needs: one set of limits and requests, or by component: `cassandra`, `sidecar`.
    #[serde(default)]
    pub resources: ResourceSpec,
}

/// Where the data of a rack's members lives.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RackStorage {
    /// The volume claim of every member, one at the most. None: data lives and dies with the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_claim_templates: Vec<ClaimTemplate>,
}

/// The image of the sidecar.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SidecarImage {
    /// Its repository.
    #[schemars(length(min = 1))]
    pub repository: String,
    /// Its tag.
    #[schemars(length(min = 1))]
    pub version: String,
}

/// What becomes of volume claims.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRetention {
    /// When the Cluster is deleted; by default they stay.
    #[serde(default)]
    pub when_deleted: Option<Retention>,
    /// When their member has left the ring; by default they go, since their data is elsewhere then.
    #[serde(default)]
    pub when_scaled: Option<Retention>,
}

/// Whether claims stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Retention {
    /// They stay.
    Retain,
    /// They go.
    Delete,
}

/// The status of a Cluster, beside its conditions.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The generation of the Cluster that this is about.
    pub observed_generation: i64,
    /// Ready members and those that should be, as `5/6`.
    pub ready: String,
    /// The racks by name.
    pub racks: BTreeMap<String, RackStatus>,
}

/// The state of a rack.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RackStatus {
    /// How many members its StatefulSet has.
    pub members: i32,
    /// How many of them are ready.
    pub ready_members: i32,
    /// How many of them have the newest template that its StatefulSet was given.
    pub updated_members: i32,
    /// What is going on in it: `MemberJoining`, `MemberLeaving`, `Updating`. Statuses of earlier versions have none.
    #[serde(default)]
    pub conditions: Vec<RackCondition>,
}

/// Something that may be going on in a rack.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RackCondition {
    /// What it is, in the words of the reasons of `Progressing`.
    #[serde(rename = "type")]
    pub type_: &'static str,
    /// Whether it is going on.
    pub status: ConditionStatus,
}

impl ClusterSpec {
    /// Which database it is.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or_default()
    }

    /// What becomes of the claims when the Cluster is deleted.
    #[must_use]
    pub fn when_deleted(&self) -> Retention {
        self.persistent_volume_claim_retention_policy.when_deleted.unwrap_or(Retention::Retain)
    }

    /// Whether the claims of a member that has left stay.
    #[must_use]
    pub fn keeps_claims(&self) -> bool {
        self.persistent_volume_claim_retention_policy.when_scaled == Some(Retention::Retain)
    }
}

impl Mode {
    /// As people write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cassandra => "cassandra",
            Self::Scylla => "scylla",
        }
    }
}
