//! The view of a StatefulSet.

use std::borrow::Cow;

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Error, Value, from_slice};

use super::{Fields, Observed, ObservedMetadata, each_field};
use crate::{ChildKind, scan};

/// What decisions need of an observed StatefulSet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatefulSetView<'a> {
    /// Its metadata.
    pub metadata: ObservedMetadata<'a>,
    /// What was asked of it.
    pub spec: StatefulSetSpecView,
    /// What it said about itself.
    pub status: StatefulSetStatusView<'a>,
}

/// What decisions need of a StatefulSet's spec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatefulSetSpecView {
    /// How many pods it should have.
    pub replicas: i32,
    /// The least ordinal of pods that a changed template reaches.
    pub partition: i32,
    /// Its claim templates, as the API server returned them.
    pub volume_claim_templates: Vec<Value>,
}

/// What decisions need of a StatefulSet's status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatefulSetStatusView<'a> {
    /// The generation that the rest of the status is about.
    pub observed_generation: i64,
    /// How many pods there are.
    pub replicas: i32,
    /// How many of them are ready.
    pub ready_replicas: i32,
    /// How many of them are of the newest template.
    pub updated_replicas: i32,
    /// The template of the pods that a change has not reached.
    pub current_revision: Cow<'a, str>,
    /// The newest template.
    pub update_revision: Cow<'a, str>,
}

impl StatefulSetSpecView {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        match key {
            b"replicas" => self.replicas = from_slice(value)?,
            b"volumeClaimTemplates" => self.volume_claim_templates = from_slice(value)?,
            b"updateStrategy" => self.partition = partition(value)?,
            _ => {}
        }
        Ok(())
    }
}

fn partition(strategy: &[u8]) -> Result<i32, Error> {
    let mut partition = 0;
    each_field(strategy, |key, value| match key {
        b"rollingUpdate" => each_field(value, |key, value| match key {
            b"partition" => from_slice(value).map(|value| partition = value),
            _ => Ok(()),
        }),
        _ => Ok(()),
    })?;
    Ok(partition)
}

impl<'a> StatefulSetStatusView<'a> {
    fn take(&mut self, key: &[u8], value: &'a [u8]) -> Result<(), Error> {
        match key {
            b"observedGeneration" => self.observed_generation = from_slice(value)?,
            b"replicas" => self.replicas = from_slice(value)?,
            b"readyReplicas" => self.ready_replicas = from_slice(value)?,
            b"updatedReplicas" => self.updated_replicas = from_slice(value)?,
            b"currentRevision" => self.current_revision = scan::string(value)?,
            b"updateRevision" => self.update_revision = scan::string(value)?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Observed<'a> for StatefulSetView<'a> {
    const KIND: ChildKind = ChildKind::of::<StatefulSet>();

    /// The pod template is most of the text, and passed over.
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

impl StatefulSetView<'_> {
    /// Whether its controller has seen its newest spec: until then its health is unknown.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.status.observed_generation == self.metadata.generation
    }

    /// How far it is, where so many pods are wanted.
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
