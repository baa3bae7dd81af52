//! The view of a pod.

use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Value;

use super::{Observed, ObservedMetadata};
use crate::{ChildKind, scan};

/// The label by which the StatefulSet controller says which template a pod was made from.
const REVISION_LABEL: &str = "controller-revision-hash";

/// What decisions need of an observed pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PodView {
    /// Its metadata.
    pub metadata: ObservedMetadata,
    /// What it said about itself.
    status: PodStatusView,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatusView {
    conditions: Vec<PodCondition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct PodCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    restart_count: i32,
    state: ContainerState,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct ContainerState {
    running: Option<Value>,
    terminated: Option<Value>,
}

impl PodView {
    /// Whether it serves, and will go on to.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let ready = |condition: &PodCondition| condition.type_ == "Ready" && condition.status == "True";
        !self.metadata.is_going() && self.status.conditions.iter().any(ready)
    }

    /// Whether a container of it has ever run: what it runs may have touched its data.
    #[must_use]
    pub fn has_started(&self, container: &str) -> bool {
        let ran = |status: &ContainerStatus| {
            status.restart_count > 0 || status.state.running.is_some() || status.state.terminated.is_some()
        };
        self.status.container_statuses.iter().any(|status| status.name == container && ran(status))
    }

    /// The revision of the template that it was made from.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.metadata.label(REVISION_LABEL)
    }

    /// Its place in its StatefulSet.
    #[must_use]
    pub fn ordinal(&self) -> Option<i32> {
        super::ordinal(&self.metadata.name)
    }
}

impl Observed for PodView {
    const KIND: ChildKind = ChildKind::of::<Pod>();

    /// The spec is most of the text, and passed over.
    fn read(text: &str) -> Result<Self, serde_json::Error> {
        let field = |name| scan::field(text, name).map_err(serde_json::Error::custom);
        let metadata = serde_json::from_str(field("metadata")?.unwrap_or("{}"))?;
        let status = serde_json::from_str(field("status")?.unwrap_or("{}"))?;
        Ok(Self { metadata, status })
    }
}
