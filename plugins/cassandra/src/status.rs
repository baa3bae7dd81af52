//! What a cluster says about itself.

use std::collections::BTreeMap;

use bartizan_sdk::{Condition, ConditionStatus, Progress, Request, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::racks::Rack;
use crate::spec::ClusterSpec;

/// The status of a Cluster, beside its conditions.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The generation of the Cluster that this is about.
    pub observed_generation: i64,
    /// Ready members and those that should be, as `5/6`.
    pub ready: String,
    /// The racks by name.
    pub racks: BTreeMap<String, RackStatus>,
}

/// The state of a rack.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RackStatus {
    /// How many members its StatefulSet has.
    pub members: i32,
    /// How many of them are ready.
    pub ready_members: i32,
    /// How many of them have the newest template that its StatefulSet was given.
    pub updated_members: i32,
}

/// Adds the status and all conditions but `Valid` to an answer.
pub(crate) fn report(
    response: Response,
    request: &Request<'_, ClusterSpec>,
    racks: &[Rack<'_>],
    progress: Option<Progress>,
) -> Response {
    let ready: usize = racks.iter().map(ready_members).sum();
    let wanted: i64 = racks.iter().map(|rack| i64::from(rack.wanted())).sum();
    let status = ClusterStatus {
        observed_generation: request.metadata.generation,
        ready: format!("{ready}/{wanted}"),
        racks: racks.iter().map(|rack| (rack.rack.to_string(), rack_status(rack))).collect(),
    };
    let lost = lost_members(racks);
    let degraded = match lost.as_slice() {
        [] => Condition::new("Degraded", ConditionStatus::False, "AllMembersReady", ""),
        lost => {
            let message = format!("not ready: {}", lost.join(", "));
            Condition::new("Degraded", ConditionStatus::True, "MembersNotReady", message)
        }
    };
    response.status(status).progress(progress, format!("all {wanted} members are ready")).condition(degraded)
}

fn ready_members(rack: &Rack<'_>) -> usize {
    rack.pods().filter(|pod| pod.is_ready).count()
}

fn rack_status(rack: &Rack<'_>) -> RackStatus {
    RackStatus {
        members: rack.set.as_ref().map_or(0, |set| set.spec.replicas),
        ready_members: ready_members(rack).try_into().unwrap_or(i32::MAX),
        updated_members: rack.set.as_ref().map_or(0, |set| set.status.updated_replicas),
    }
}

/// Members that have been ready and are not, though nobody asked them to leave or is changing them.
fn lost_members(racks: &[Rack<'_>]) -> Vec<String> {
    let mut lost = Vec::new();
    for rack in racks {
        let changing = rack.set.as_ref().filter(|_| rack.has_begun()).map(|set| set.spec.partition);
        for (&ordinal, member) in &rack.members {
            let Some(record) = member.service.filter(|record| record.joined && record.decommissioned.is_none()) else {
                continue;
            };
            if record.joined && !member.is_ready() && changing != Some(ordinal) {
                lost.push(rack.member_name(ordinal));
            }
        }
    }
    lost
}
