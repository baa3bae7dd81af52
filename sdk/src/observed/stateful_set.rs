//! The view of a StatefulSet.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Value;

use super::{Observed, ObservedMetadata};
use crate::{ChildKind, scan};

/// What decisions need of an observed StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetView {
    /// Its metadata.
    pub metadata: ObservedMetadata,
    /// What was asked of it.
    pub spec: StatefulSetSpecView,
    /// What it said about itself.
    pub status: StatefulSetStatusView,
}

/// What decisions need of a StatefulSet's spec.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetSpecView {
    /// How many pods it should have.
    pub replicas: i32,
    /// The least ordinal of pods that a changed template reaches.
    pub partition: i32,
    /// Its claim templates, as the API server returned them.
    pub volume_claim_templates: Vec<Value>,
}

/// What decisions need of a StatefulSet's status.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetStatusView {
    /// The generation that the rest of the status is about.
    pub observed_generation: i64,
    /// How many pods there are.
    pub replicas: i32,
    /// How many of them are ready.
    pub ready_replicas: i32,
    /// How many of them are of the newest template.
    pub updated_replicas: i32,
    /// The template of the pods that a change has not reached.
    pub current_revision: String,
    /// The newest template.
    pub update_revision: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UpdateStrategy {
    rolling_update: RollingUpdate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RollingUpdate {
    partition: i32,
}

impl Observed for StatefulSetView {
    const KIND: ChildKind = ChildKind::of::<StatefulSet>();

    /// The pod template is most of the text, and passed over.
    fn read(text: &str) -> Result<Self, serde_json::Error> {
        let mut view = Self::default();
        let (mut metadata, mut status, mut replicas, mut claims, mut strategy) = ("{}", "{}", "0", "[]", "{}");
        let mut fields = scan::fields(text);
        while let Some(key) = fields.next_key().map_err(serde_json::Error::custom)? {
            let read = match key {
                "metadata" => fields.value().map(|value| metadata = value),
                "status" => fields.value().map(|value| status = value),
                "spec" => fields.object(|key, spec| {
                    match (key, spec.value()?) {
                        ("replicas", value) => replicas = value,
                        ("volumeClaimTemplates", value) => claims = value,
                        ("updateStrategy", value) => strategy = value,
                        _ => {}
                    }
                    Ok(())
                }),
                _ => fields.value().map(|_| ()),
            };
            read.map_err(serde_json::Error::custom)?;
        }
        view.metadata = serde_json::from_str(metadata)?;
        view.status = serde_json::from_str(status)?;
        view.spec.replicas = serde_json::from_str(replicas)?;
        view.spec.partition = serde_json::from_str::<UpdateStrategy>(strategy)?.rolling_update.partition;
        view.spec.volume_claim_templates = serde_json::from_str(claims)?;
        Ok(view)
    }
}

/// How far a StatefulSet is on its way to what was asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// Its controller has not yet seen the newest spec: its health is unknown.
    Unobserved,
    /// Pods are missing, too many or not ready.
    Unready,
    /// All pods are ready, and some are of an older template.
    Updating,
    /// All pods are there, ready and of the newest template.
    Settled,
}

impl StatefulSetView {
    /// How far it is, where so many pods are wanted.
    #[must_use]
    pub fn rollout(&self, wanted: i32) -> Rollout {
        let status = &self.status;
        if status.observed_generation != self.metadata.generation {
            Rollout::Unobserved
        } else if [self.spec.replicas, status.replicas, status.ready_replicas].iter().any(|&count| count != wanted) {
            Rollout::Unready
        } else if status.updated_replicas != wanted {
            Rollout::Updating
        } else {
            Rollout::Settled
        }
    }
}
