//! The view of a StatefulSet.

use std::borrow::Cow;

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Error, Value};

use super::fields::{Fields, each_field};
use super::metadata::ObservedMetadata;
use super::object::Observed;
use crate::kind::ChildKind;
use crate::view::JsonView;

/// What decisions need of an observed StatefulSet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatefulSetView<'a> {
    /// The StatefulSet's metadata.
    pub metadata: ObservedMetadata<'a>,
    /// What its spec asks for.
    pub spec: StatefulSetSpecView,
    /// What its controller reports.
    pub status: StatefulSetStatusView<'a>,
}

/// What decisions need of a StatefulSet's spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatefulSetSpecView {
    /// The desired number of pods.
    pub replicas: i32,
    /// The partition of the rolling update: pods with a lower ordinal keep the earlier template.
    pub partition: i32,
    /// The claim templates as the API server returned them.
    pub volume_claim_templates: Vec<Value>,
}

/// What decisions need of a StatefulSet's status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatefulSetStatusView<'a> {
    /// The generation that the controller has observed.
    pub observed_generation: i64,
    /// The number of pods.
    pub replicas: i32,
    /// The number of ready pods.
    pub ready_replicas: i32,
    /// The number of pods created from the newest template.
    pub updated_replicas: i32,
    /// The revision of the template of pods that are not updated yet.
    pub current_revision: Cow<'a, str>,
    /// The revision of the newest template.
    pub update_revision: Cow<'a, str>,
}

impl StatefulSetSpecView {
    fn take(&mut self, key: &[u8], value: JsonView<'_>) -> Result<(), Error> {
        match key {
            b"replicas" => self.replicas = value.parse()?,
            b"volumeClaimTemplates" => self.volume_claim_templates = value.parse()?,
            b"updateStrategy" => self.partition = partition(value)?,
            _ => {}
        }
        Ok(())
    }
}

fn partition(strategy: JsonView<'_>) -> Result<i32, Error> {
    let mut partition = 0;
    each_field(strategy, |key, value| match key {
        b"rollingUpdate" => each_field(value, |key, value| match key {
            b"partition" => value.parse().map(|value| partition = value),
            _ => Ok(()),
        }),
        _ => Ok(()),
    })?;
    Ok(partition)
}

impl<'a> StatefulSetStatusView<'a> {
    fn take(&mut self, key: &[u8], value: JsonView<'a>) -> Result<(), Error> {
        match key {
            b"observedGeneration" => self.observed_generation = value.parse()?,
            b"replicas" => self.replicas = value.parse()?,
            b"readyReplicas" => self.ready_replicas = value.parse()?,
            b"updatedReplicas" => self.updated_replicas = value.parse()?,
            b"currentRevision" => self.current_revision = value.string()?,
            b"updateRevision" => self.update_revision = value.string()?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Observed<'a> for StatefulSetView<'a> {
    const KIND: ChildKind = ChildKind::of::<StatefulSet>();

    /// The pod template, which is most of the text, is skipped.
    fn read_fields(fields: Fields<'_, 'a>) -> Result<Self, Error> {
        let mut set = Self::default();
        fields.each(|key, field| match key {
            b"metadata" => field.each(|key, value| set.metadata.take(key, value)),
            b"spec" => field.each(|key, value| set.spec.take(key, value)),
            b"status" => field.each(|key, value| set.status.take(key, value)),
            _ => Ok(()),
        })?;
        Ok(set)
    }
}

/// The progress of a StatefulSet towards its spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// The controller has not observed the newest spec yet: the health is unknown.
    Unobserved,
    /// Pods are missing, surplus or not ready.
    Unready,
    /// All pods are ready, but some were created from an older template.
    Updating,
    /// All pods exist, are ready and were created from the newest template.
    Settled,
}

impl StatefulSetView<'_> {
    /// Whether the controller has observed the newest spec. Until then the health is unknown.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.status.observed_generation == self.metadata.generation
    }

    /// The progress towards `wanted` pods.
    #[must_use]
    pub fn rollout(&self, wanted: i32) -> Rollout {
        let status = &self.status;
        if !self.is_observed() {
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
