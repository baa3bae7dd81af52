//! The status of a Cluster.

use bartizan_sdk::observed::Claims;
use bartizan_sdk::{Condition, ConditionStatus, Progress, Response};

use crate::racks::{Member, Rack};
use crate::spec::{ClusterRequest, ClusterStatus, RackCondition, RackStatus};

/// Adds the status, and all conditions but `Valid`, to a response.
pub(crate) fn report(
    response: Response,
    request: &ClusterRequest<'_>,
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
        // Of members that never were ready, none is lost.
        [] if i64::try_from(ready) != Ok(wanted) => {
            Condition::new("Degraded", ConditionStatus::False, "NoMemberLost", format!("{ready} of {wanted} are ready"))
        }
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
    let members = rack.set.as_ref().map_or(0, |set| set.spec.replicas);
    let is_joining =
        |(ordinal, member): (&i32, &Member<'_>)| *ordinal < members && !member.is_ready() && !member.joined;
    // A member that has left and whose claims are retained is no longer leaving.
    let is_leaving = |(ordinal, member): (&i32, &Member<'_>)| match member.decommissioned {
        Some(true) => *ordinal < members || member.pod.is_some() || member.claims != Claims::Retained,
        asked => asked.is_some(),
    };
    RackStatus {
        members,
        ready_members: ready_members(rack).try_into().unwrap_or(i32::MAX),
        updated_members: rack.set.as_ref().map_or(0, |set| set.status.updated_replicas),
        conditions: vec![
            condition("MemberJoining", rack.members.iter().any(is_joining)),
            condition("MemberLeaving", rack.members.iter().any(is_leaving)),
            condition("Updating", rack.has_begun()),
        ],
    }
}

fn condition(type_: &'static str, holds: bool) -> RackCondition {
    RackCondition { type_, status: if holds { ConditionStatus::True } else { ConditionStatus::False } }
}

/// Members that were ready and no longer are, although they are neither leaving nor being updated.
fn lost_members(racks: &[Rack<'_>]) -> Vec<String> {
    let mut lost = Vec::new();
    for rack in racks {
        let changing = rack.set.as_ref().filter(|_| rack.has_begun()).map(|set| set.spec.partition);
        for (&ordinal, member) in &rack.members {
            let stays = member.joined && member.decommissioned.is_none();
            if stays && !member.is_ready() && changing != Some(ordinal) {
                lost.push(rack.member_name(ordinal));
            }
        }
    }
    lost
}
