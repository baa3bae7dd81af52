//! The placement of pods on nodes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json::{Object, object};
use crate::json::{WriteJson, optional};
use crate::schema;

/// The placement of pods on nodes, with the fields of a pod's spec.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The node affinity of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub node_affinity: Option<Object>,
    /// The affinity to other pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub pod_affinity: Option<Object>,
    /// The anti-affinity to other pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub pod_anti_affinity: Option<Object>,
    /// The taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::objects")]
    pub tolerations: Option<Vec<Object>>,
    /// How the pods are spread over the topology.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::objects")]
    pub topology_spread_constraints: Option<Vec<Object>>,
}

impl Placement {
    /// The field `affinity` of a pod; null if none is set.
    pub fn affinity(&self) -> impl WriteJson {
        let Self { node_affinity, pod_affinity, pod_anti_affinity, .. } = self;
        let given = [node_affinity, pod_affinity, pod_anti_affinity].into_iter().any(Option::is_some);
        optional(given.then(|| {
            object!({"nodeAffinity": node_affinity, "podAffinity": pod_affinity, "podAntiAffinity": pod_anti_affinity})
        }))
    }
}
