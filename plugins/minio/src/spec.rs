//! What people write in an ObjectStore. Fields of later versions (pools, tls, buckets, users, monitoring) are not here on
//! purpose: until they work they are reported as unknown.

use bartizan_sdk::storage::{Annotations, Credentials, Network, Placement, ResourceSpec, StorageScope};
use bartizan_sdk::{Object, schema};
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::Value;

use crate::validation::{SHORTEST_ACCESS_KEY, SHORTEST_SECRET_KEY};

/// An object store: MinIO servers that keep objects together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStoreSpec {
    /// How many servers there are, and the storage of each.
    pub scope: StorageScope,
    /// How the servers keep data; by default erasure-coded over all of them.
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
    /// On which nodes the servers run.
    #[serde(default)]
    pub placement: Placement,
    /// What each server needs: one set of limits and requests, or by component; the one component is `objectserver`.
    #[serde(default)]
    pub resources: ResourceSpec,
    /// How the servers are reached; the one port is `api`.
    #[serde(default)]
    pub network: Network,
    /// The administrator's keys: inline, in a Secret, or none, and then they are made.
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
    /// More environment of the servers.
    #[serde(default)]
    #[schemars(schema_with = "schema::named_objects")]
    pub env: Vec<Object>,
}

/// What MinIO refuses, the API server refuses: a provider sees tokens in place of keys, and cannot count their characters.
fn shortest_keys(schema: &mut Schema) {
    for (field, shortest) in [("accessKey", SHORTEST_ACCESS_KEY), ("secretKey", SHORTEST_SECRET_KEY)] {
        if let Some(Value::Object(key)) = schema.pointer_mut(&format!("/properties/{field}")) {
            // An empty key is none.
            key.insert("pattern".to_owned(), format!("^(.{{{shortest},}})?$").into());
        }
    }
}

/// How servers keep data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Erasure-coded over an even number of servers, at least 4.
    #[default]
    Distributed,
    /// On one server.
    Standalone,
}
