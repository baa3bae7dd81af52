//! The placement of pods on nodes.

use std::fmt::Display;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Fault;
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
    /// The faults of tolerations in the field `path` whose fields are of another type than a pod's.
    #[must_use]
    pub fn faults(&self, path: impl Display) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (index, toleration) in self.tolerations.iter().flatten().enumerate() {
            for (field, value) in toleration.iter().filter(|(_, value)| !value.is_null()) {
                let (is_right, expected) = match field.as_str() {
                    "tolerationSeconds" => (value.is_i64(), "a number of seconds"),
                    _ => (value.is_string(), "a string"),
                };
                let message = format_args!("must be {expected}, but is {value}");
                faults.extend(Fault::unless(is_right, format_args!("{path}.tolerations[{index}].{field}"), message));
            }
        }
        faults
    }

    /// The field `affinity` of a pod; null if none is set.
    pub fn affinity(&self) -> impl WriteJson {
        let Self { node_affinity, pod_affinity, pod_anti_affinity, .. } = self;
        let given = [node_affinity, pod_affinity, pod_anti_affinity].into_iter().any(Option::is_some);
        optional(given.then(|| {
            object!({"nodeAffinity": node_affinity, "podAffinity": pod_affinity, "podAntiAffinity": pod_anti_affinity})
        }))
    }
}
