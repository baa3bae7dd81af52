//! The kind, as the provider triple declares it. Both work on the same CustomResourceDefinition, which is that
//! provider's.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

/// What the ConfigMaps hold.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
#[kube(
    group = "bench.bartizan.dev",
    version = "v1alpha1",
    kind = "Triple",
    namespaced,
    status = "TripleStatus",
    schema = "disabled"
)]
pub(crate) struct TripleSpec {
    /// The value of each ConfigMap.
    pub(crate) value: String,
}

/// The observed result.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct TripleStatus {
    /// The value that the ConfigMaps hold.
    #[serde(default)]
    pub(crate) value: String,
    /// `Ready`.
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
}
