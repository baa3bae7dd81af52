//! The types from which the CRD is generated: the spec of a Cluster, with Rook's fields and those that day-2 operations need, and
//! its status.

use std::collections::BTreeMap;

use bartizan_sdk::ConditionStatus;
use bartizan_sdk::storage::{Annotations, ClaimTemplate, Placement, ResourceSpec};
use bartizan_sdk::{Object, Request, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A request about a Cluster.
pub(crate) type ClusterRequest<'a> = Request<'a, ClusterSpec>;

/// A Cassandra or ScyllaDB cluster: members in the racks of one datacenter.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSpec {
    /// Version of the database, which is also the tag of the image.
    #[schemars(length(min = 1))]
    pub version: String,
    /// Repository of the image; by default Cassandra's or ScyllaDB's own.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub repository: Option<String>,
    /// The database; Cassandra by default.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Annotations of the StatefulSets and their pods.
    #[serde(default)]
    pub annotations: Annotations,
    /// Annotations of the Service for clients.
    #[serde(default)]
    pub service_annotations: Annotations,
    /// The datacenter of the members.
    pub datacenter: Datacenter,
    /// Image of the sidecar that decommissions members. Without one, members must be decommissioned by hand.
    #[serde(default)]
    pub sidecar_image: Option<SidecarImage>,
    /// Secrets to pull the images with.
    #[serde(default)]
    #[schemars(schema_with = "schema::named_objects")]
    pub image_pull_secrets: Option<Vec<Object>>,
    /// Additional environment variables of the members.
    #[serde(default)]
    #[schemars(schema_with = "schema::named_objects")]
    pub env: Vec<Object>,
    /// What happens to the volume claims of members, as in a StatefulSet.
    #[serde(default)]
    pub persistent_volume_claim_retention_policy: ClaimRetention,
    /// How many members are updated at first when the version or another field changes, until this field is raised or removed;
    /// absent: all.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub canary: Option<i32>,
    /// Whether the last member may be removed, which deletes all data.
    #[serde(default)]
    pub allow_removing_last_member: Option<bool>,
}

/// A database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Apache Cassandra.
    #[default]
    Cassandra,
    /// ScyllaDB.
    Scylla,
}

/// A datacenter of the database.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Datacenter {
    /// The name, which is immutable.
    #[schemars(length(min = 1, max = 46))]
    pub name: String,
    /// The racks.
    #[serde(default)]
    pub racks: Vec<RackSpec>,
}

/// A rack: a failure domain.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RackSpec {
    /// The name, which is immutable.
    #[schemars(length(min = 1, max = 46))]
    pub name: String,
    /// The number of members.
    #[schemars(range(min = 0))]
    pub members: i32,
    /// ConfigMap whose files replace those of the database's default configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub config_map_name: Option<String>,
    /// The storage of the members.
    #[serde(default)]
    pub storage: RackStorage,
    /// Annotations of this rack's StatefulSet and pods, which take precedence over those of the cluster.
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// The placement of the members on nodes.
    #[serde(default)]
    pub placement: Placement,
    /// The resources of each member: one set of limits and requests, or one per component: `cassandra`, `sidecar`.
    #[serde(default)]
    pub resources: ResourceSpec,
}

/// The storage of a rack's members.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RackStorage {
    /// The volume claim of every member, at most one. None: data is lost with the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_claim_templates: Vec<ClaimTemplate>,
}

/// The image of the sidecar.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct SidecarImage {
    /// The repository.
    #[schemars(length(min = 1))]
    pub repository: String,
    /// The tag.
    #[schemars(length(min = 1))]
    pub version: String,
}

/// What happens to volume claims.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRetention {
    /// When the Cluster is deleted; by default they are retained.
    #[serde(default)]
    pub when_deleted: Option<Retention>,
    /// When their member has left the ring; by default they are deleted, since other members then have the data.
    #[serde(default)]
    pub when_scaled: Option<Retention>,
}

/// Whether claims are retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Retention {
    /// They are retained.
    Retain,
    /// They are deleted.
    Delete,
}

/// The status of a Cluster, beside its conditions.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The generation of the Cluster that this status is based on.
    pub observed_generation: i64,
    /// The numbers of ready and of wanted members, such as `5/6`.
    pub ready: String,
    /// The racks by name.
    pub racks: BTreeMap<String, RackStatus>,
}

/// The state of a rack.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RackStatus {
    /// The number of members of the StatefulSet.
    pub members: i32,
    /// The number of ready members.
    pub ready_members: i32,
    /// The number of members with the newest template of the StatefulSet.
    pub updated_members: i32,
    /// `MemberJoining`, `MemberLeaving` and `Updating`. Absent in statuses of earlier versions.
    #[serde(default)]
    pub conditions: Vec<RackCondition>,
}

/// A condition of a rack.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RackCondition {
    /// The type, which is one of the reasons of the Cluster's condition `Progressing`.
    #[serde(rename = "type")]
    pub type_: &'static str,
    /// Whether the condition is met.
    pub status: ConditionStatus,
}

impl ClusterSpec {
    /// The database.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or_default()
    }

    /// What happens to the claims when the Cluster is deleted.
    #[must_use]
    pub fn when_deleted(&self) -> Retention {
        self.persistent_volume_claim_retention_policy.when_deleted.unwrap_or(Retention::Retain)
    }

    /// Whether the claims of members that have left the ring are retained.
    #[must_use]
    pub fn keeps_claims(&self) -> bool {
        self.persistent_volume_claim_retention_policy.when_scaled == Some(Retention::Retain)
    }
}

impl Mode {
    /// As written in a spec.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cassandra => "cassandra",
            Self::Scylla => "scylla",
        }
    }
}
