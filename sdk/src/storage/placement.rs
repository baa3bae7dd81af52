//! On which nodes pods run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json::{WriteJson, optional};
use crate::{Object, object, schema};

/// On which nodes pods run, field by field as in a pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Which nodes pods want.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub node_affinity: Option<Object>,
    /// Which pods they want near.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub pod_affinity: Option<Object>,
    /// Which pods they want far away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object")]
    pub pod_anti_affinity: Option<Object>,
    /// Which taints they bear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::objects")]
    pub tolerations: Option<Vec<Object>>,
    /// How they spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::objects")]
    pub topology_spread_constraints: Option<Vec<Object>>,
}

impl Placement {
    /// The field `affinity` of a pod; null if nobody wants any.
    pub fn affinity(&self) -> impl WriteJson {
        let Self { node_affinity, pod_affinity, pod_anti_affinity, .. } = self;
        let given = [node_affinity, pod_affinity, pod_anti_affinity].into_iter().any(Option::is_some);
        optional(given.then(|| {
            object!({"nodeAffinity": node_affinity, "podAffinity": pod_affinity, "podAntiAffinity": pod_anti_affinity})
        }))
    }
}
