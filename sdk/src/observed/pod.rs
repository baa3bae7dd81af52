//! The view of a pod.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Error;

use super::fields::{Fields, each_field};
use super::metadata::ObservedMetadata;
use super::object::{Observed, ordinal};
use crate::kind::ChildKind;
use crate::view::{Field, JsonView};

/// The label in which the StatefulSet controller records the template revision of a pod.
const REVISION_LABEL: &str = "controller-revision-hash";

/// What decisions need of an observed pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodView<'a> {
    /// The pod's metadata.
    pub metadata: ObservedMetadata<'a>,
    /// Whether the pod is ready and not being deleted.
    pub is_ready: bool,
    /// A list of container statuses; an empty text if there are none.
    containers: JsonView<'a>,
}

impl<'a> PodView<'a> {
    /// Whether a container of the pod has ever run, and may thus have touched its data. In a ready pod all have.
    #[must_use]
    pub fn has_started(&self, container: &str) -> bool {
        if self.is_ready {
            return true;
        }
        let has_started = |status: JsonView<'_>| {
            let (mut is_wanted, mut ran) = (false, false);
            for (key, value) in non_null(status) {
                match key {
                    b"name" => is_wanted = value.unquoted() == Some(container.as_bytes()),
                    b"restartCount" => ran |= value.text() != b"0",
                    b"state" => ran |= non_null(value).any(|(state, _)| matches!(state, b"running" | b"terminated")),
                    _ => {}
                }
            }
            is_wanted && ran
        };
        self.containers.items().map_while(|status| status.ok()).any(has_started)
    }

    /// The revision of the template that the pod was created from.
    #[must_use]
    pub fn revision(&self) -> Option<&'a str> {
        self.metadata.label(REVISION_LABEL)
    }

    /// The pod's ordinal in its StatefulSet.
    #[must_use]
    pub fn ordinal(&self) -> Option<i32> {
        ordinal(&self.metadata.name)
    }

    fn take_status(&mut self, key: &[u8], value: JsonView<'a>) -> Result<(), Error> {
        match key {
            b"conditions" => self.is_ready = is_ready(value)?,
            b"containerStatuses" => self.containers = value,
            _ => {}
        }
        Ok(())
    }
}

/// The fields of an object that are not null, up to the first that is malformed.
fn non_null(object: JsonView<'_>) -> impl Iterator<Item = Field<'_>> {
    object.fields().map_while(|field| field.ok()).filter(|(_, value)| !value.is_null())
}

fn is_ready(conditions: JsonView<'_>) -> Result<bool, Error> {
    for condition in conditions.items() {
        let (mut is_wanted, mut is_true) = (false, false);
        each_field(condition?, |key, value| {
            match key {
                b"type" => is_wanted = value.text() == b"\"Ready\"",
                b"status" => is_true = value.text() == b"\"True\"",
                _ => {}
            }
            Ok(())
        })?;
        if is_wanted {
            return Ok(is_true);
        }
    }
    Ok(false)
}

impl<'a> Observed<'a> for PodView<'a> {
    const KIND: ChildKind = ChildKind::of::<Pod>();

    /// The spec, which is most of the text, is skipped.
    fn read_fields(fields: Fields<'_, 'a>) -> Result<Self, Error> {
        let mut pod = Self::default();
        fields.each(|key, field| match key {
            b"metadata" => field.each(|key, value| pod.metadata.take(key, value)),
            b"status" => field.each(|key, value| pod.take_status(key, value)),
            _ => Ok(()),
        })?;
        pod.is_ready &= !pod.metadata.is_deleting;
        Ok(pod)
    }
}
