//! The spec of an ObjectStore. Fields of later versions (pools, tls, buckets, users, monitoring) are deliberately missing: until
//! they work, they are reported as unknown, or refused where they say how data is kept.

use bartizan_sdk::storage::{Annotations, Credentials, Network, Placement, ResourceSpec, StorageScope};
use bartizan_sdk::{Object, schema};
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::Value;

/// The minimum lengths of credentials, below which MinIO does not start.
pub(crate) const SHORTEST_ACCESS_KEY: usize = 3;
pub(crate) const SHORTEST_SECRET_KEY: usize = 8;

/// An object store of MinIO servers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStoreSpec {
    /// The number of servers and the storage of each.
    pub scope: StorageScope,
    /// How data is stored; by default erasure-coded over all servers.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Image of the servers.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub image: Option<String>,
    /// Secrets to pull the image with.
    #[serde(default)]
    #[schemars(schema_with = "schema::named_objects")]
    pub image_pull_secrets: Option<Vec<Object>>,
    /// Annotations of the StatefulSet and its pods.
    #[serde(default)]
    pub annotations: Annotations,
    /// Annotations of the Service for clients.
    #[serde(default)]
    pub service_annotations: Annotations,
    /// The placement of the servers on nodes.
    #[serde(default)]
    pub placement: Placement,
    /// The resources of each server: one set of limits and requests, or one per component; the only component is `objectserver`.
    #[serde(default)]
    pub resources: ResourceSpec,
    /// The network of the servers; the only port is `api`.
    #[serde(default)]
    pub network: Network,
    /// The administrator's credentials: inline, in a Secret, or absent, in which case they are generated.
    #[serde(default)]
    #[schemars(transform = shortest_keys)]
    pub credentials: Credentials,
    /// The DNS domain of the cluster; by default `cluster.local`.
    #[serde(default)]
    #[schemars(
        length(max = 100),
        regex(pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$")
    )]
    pub cluster_domain: Option<String>,
    /// Additional environment variables of the servers.
    #[serde(default)]
    #[schemars(schema_with = "schema::named_objects")]
    pub env: Vec<Object>,
}

/// Has the API server enforce the minimum lengths: a provider sees tokens instead of credentials, and cannot check their length.
fn shortest_keys(schema: &mut Schema) {
    for (field, shortest) in [("accessKey", SHORTEST_ACCESS_KEY), ("secretKey", SHORTEST_SECRET_KEY)] {
        if let Some(Value::Object(key)) = schema.pointer_mut(&format!("/properties/{field}")) {
            // An empty key counts as absent.
            key.insert("pattern".to_owned(), format!("^(.{{{shortest},}})?$").into());
        }
    }
}

/// How data is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Erasure-coded over an even number of servers, at least 4.
    #[default]
    Distributed,
    /// On one server.
    Standalone,
}
