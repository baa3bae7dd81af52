//! The view of a pod.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Error;

use super::{Field, Observed, ObservedMetadata, each_field, each_given, malformed};
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
    containers: &'a str,
}

impl<'a> PodView<'a> {
    /// Whether a container of it has ever run: what it runs may have touched its data.
    #[must_use]
    pub fn has_started(&self, container: &str) -> bool {
        let has_started = |status: &str| {
            let (mut is_meant, mut ran) = (false, false);
            for (key, value) in given(status) {
                match key {
                    "name" => is_meant = value.trim_matches('"') == container,
                    "restartCount" => ran |= value != "0",
                    "state" => ran |= given(value).any(|(state, _)| matches!(state, "running" | "terminated")),
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

    fn read_status(&mut self, status: &'a str) -> Result<(), Error> {
        each_field(status, |key, value| {
            match key {
                "conditions" => self.is_ready = is_ready(value)?,
                "containerStatuses" => self.containers = value,
                _ => {}
            }
            Ok(())
        })
    }
}

/// The fields of an object that are not null.
fn given(text: &str) -> impl Iterator<Item = Field<'_>> {
    scan::fields(text).map_while(|field| field.ok()).filter(|(_, value)| *value != "null")
}

fn is_ready(conditions: &str) -> Result<bool, Error> {
    for condition in scan::items(conditions) {
        let (mut is_meant, mut holds) = (false, false);
        each_field(condition.map_err(malformed)?, |key, value| {
            match key {
                "type" => is_meant = value == "\"Ready\"",
                "status" => holds = value == "\"True\"",
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
    fn read_fields(fields: impl Iterator<Item = Result<Field<'a>, Error>>) -> Result<Self, Error> {
        let mut pod = Self::default();
        each_given(fields, |key, value| {
            match key {
                "metadata" => pod.metadata = ObservedMetadata::read(value)?,
                "status" => pod.read_status(value)?,
                _ => {}
            }
            Ok(())
        })?;
        pod.is_ready &= !pod.metadata.is_going;
        Ok(pod)
    }
}
