//! The view of a pod.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Error;

use super::{Fields, Observed, ObservedMetadata, each_field};
use crate::{ChildKind, scan};

/// The label by which the StatefulSet controller says which template a pod was made from.
const REVISION_LABEL: &str = "controller-revision-hash";

/// What decisions need of an observed pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodView<'a> {
    /// Its metadata.
    pub metadata: ObservedMetadata<'a>,
    /// Whether it serves, and will go on to.
    pub is_ready: bool,
    /// As JSON; empty if there are none.
    containers: &'a [u8],
}

impl<'a> PodView<'a> {
    /// Whether a container of it has ever run: what it runs may have touched its data. All of a pod that is ready have.
    #[must_use]
    pub fn has_started(&self, container: &str) -> bool {
        if self.is_ready {
            return true;
        }
        let has_started = |status: &[u8]| {
            let (mut is_meant, mut ran) = (false, false);
            for (key, value) in given(status) {
                match key {
                    b"name" => is_meant = scan::inner(value) == Some(container.as_bytes()),
                    b"restartCount" => ran |= value != b"0",
                    b"state" => ran |= given(value).any(|(state, _)| matches!(state, b"running" | b"terminated")),
                    _ => {}
                }
            }
            is_meant && ran
        };
        scan::items(self.containers).map_while(|status| status.ok()).any(has_started)
    }

    /// The revision of the template that it was made from.
    #[must_use]
    pub fn revision(&self) -> Option<&'a str> {
        self.metadata.label(REVISION_LABEL)
    }

    /// Its place in its StatefulSet.
    #[must_use]
    pub fn ordinal(&self) -> Option<i32> {
        super::ordinal(&self.metadata.name)
    }

    fn take_status(&mut self, key: &[u8], value: &'a [u8]) -> Result<(), Error> {
        match key {
            b"conditions" => self.is_ready = is_ready(value)?,
            b"containerStatuses" => self.containers = value,
            _ => {}
        }
        Ok(())
    }
}

/// The fields of an object that are not null.
fn given(text: &[u8]) -> impl Iterator<Item = scan::Field<'_>> {
    scan::fields(text).map_while(|field| field.ok()).filter(|(_, value)| *value != b"null")
}

fn is_ready(conditions: &[u8]) -> Result<bool, Error> {
    for condition in scan::items(conditions) {
        let (mut is_meant, mut holds) = (false, false);
        each_field(condition?, |key, value| {
            match key {
                b"type" => is_meant = value == b"\"Ready\"",
                b"status" => holds = value == b"\"True\"",
                _ => {}
            }
            Ok(())
        })?;
        if is_meant {
            return Ok(holds);
        }
    }
    Ok(false)
}

impl<'a> Observed<'a> for PodView<'a> {
    const KIND: ChildKind = ChildKind::of::<Pod>();

    /// The spec is most of the text, and passed over.
    fn read_fields(fields: Fields<'_, 'a>) -> Result<Self, Error> {
        let mut pod = Self::default();
        fields.each(|key, field| match key {
            b"metadata" => field.each(|key, value| pod.metadata.take(key, value)),
            b"status" => field.each(|key, value| pod.take_status(key, value)),
            _ => Ok(()),
        })?;
        pod.is_ready &= !pod.metadata.is_going;
        Ok(pod)
    }
}
