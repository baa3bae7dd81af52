//! The view of a pod.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Error;

use super::{Observed, ObservedMetadata, each_field, malformed};
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
        let ran = |status: &str| {
            let restarted = field(status, "restartCount").is_some_and(|count| count != "0");
            let state = field(status, "state").unwrap_or("{}");
            restarted || ["running", "terminated"].into_iter().any(|name| field(state, name).is_some())
        };
        let is_meant = |status: &&str| field(status, "name").is_some_and(|name| name.trim_matches('"') == container);
        scan::items(self.containers).map_while(|status| status.ok()).filter(is_meant).any(ran)
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

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    scan::field(text, name).ok().flatten()
}

fn is_ready(conditions: &str) -> Result<bool, Error> {
    for condition in scan::items(conditions) {
        let condition = condition.map_err(malformed)?;
        if scan::field(condition, "type").map_err(malformed)? == Some("\"Ready\"") {
            return Ok(scan::field(condition, "status").map_err(malformed)? == Some("\"True\""));
        }
    }
    Ok(false)
}

impl<'a> Observed<'a> for PodView<'a> {
    const KIND: ChildKind = ChildKind::of::<Pod>();

    /// The spec is most of the text, and passed over.
    fn read(text: &'a str) -> Result<Self, Error> {
        let mut pod = Self::default();
        each_field(text, |key, value| match key {
            "metadata" => ObservedMetadata::read(value).map(|metadata| pod.metadata = metadata),
            "status" => pod.read_status(value),
            _ => Ok(()),
        })?;
        pod.is_ready &= !pod.metadata.is_going;
        Ok(pod)
    }
}
