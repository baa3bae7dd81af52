//! Decides the next step of a cluster from the observed state, in this order: create missing StatefulSets; finish the departure
//! of a leaving member; wait until all members are healthy; continue a rollout; grow a rack; shrink a rack; begin a rollout. There
//! is one disruptive step per settled state. Where nothing may change, the observed replicas and partition are applied again.

use bartizan_sdk::Progress;
use bartizan_sdk::observed::Claims;

use crate::labels::TEMPLATE;
use crate::racks::{Member, Rack};
use crate::rollout;
use crate::spec::ClusterSpec;
use crate::step::{Action, Step};

/// The steps, one per rack, and the progress that they make; no progress if the cluster is as specified. `templates` are the
/// fingerprints of the wanted templates.
pub(crate) fn decide<'a>(
    racks: &'a [Rack<'a>],
    templates: impl Iterator<Item = &'a str>,
    spec: &ClusterSpec,
) -> (Vec<Step<'a>>, Option<Progress>) {
    let in_rollout = racks.iter().any(Rack::is_pending);
    let holding = racks.iter().zip(templates).map(|(rack, wanted)| hold(rack, wanted, spec, in_rollout));
    let mut steps: Vec<Step<'_>> = holding.collect();
    let progress = create(&steps)
        .or_else(|| finish_departure(&mut steps, spec))
        .or_else(|| settle(&mut steps))
        .or_else(|| {
            release_templates(&mut steps);
            rollout::proceed(&mut steps, spec)
        })
        .or_else(|| grow(&mut steps))
        .or_else(|| shrink(&mut steps))
        .or_else(|| rollout::begin(&mut steps, spec));
    (steps, progress)
}

/// The step that changes nothing.
fn hold<'a>(rack: &'a Rack<'a>, template: &str, spec: &ClusterSpec, in_rollout: bool) -> Step<'a> {
    let replicas = rack.replicas();
    let changed = rack.set.as_ref().is_some_and(|set| set.metadata.annotation(TEMPLATE).as_deref() != Some(template));
    let action = match rack.spec {
        Some(_) if rack.removed && is_empty(rack) => Action::Remove,
        Some(_) if !changed => Action::Apply,
        _ => Action::Keep,
    };
    let is_departing = |(ordinal, member): (&i32, &Member<'_>)| {
        *ordinal >= replicas && member.has_left() && (member.pod.is_some() || member.claims == Claims::Deleting)
    };
    let delete_claims = !spec.keeps_claims() && rack.members.iter().any(is_departing);
    let (through, partition) = (in_rollout && !changed && rack.is_through(), rack.held_partition(replicas));
    Step { rack, changed, through, action, replicas, partition, delete_claims, asked_to_leave: None }
}

/// Whether nothing is left of a rack but claims that are retained.
fn is_empty(rack: &Rack<'_>) -> bool {
    let is_gone = |(ordinal, member): (&i32, &Member<'_>)| {
        let left = !member.has_service || member.has_left();
        *ordinal >= 0 && member.pod.is_none() && member.claims != Claims::Deleting && left
    };
    rack.replicas() == 0 && rack.is_settled() && rack.members.iter().all(is_gone)
}

fn create(steps: &[Step<'_>]) -> Option<Progress> {
    if let Some(Step { rack, .. }) = steps.iter().find(|step| step.rack.spec.is_none()) {
        let message = format!(
            "StatefulSet {} has lost the record of its rack: restore the rack in the spec, or delete the StatefulSet",
            rack.name
        );
        return Progress::waiting("UnknownRack", message);
    }
    let missing: Vec<&str> = steps.iter().filter(|step| step.rack.set.is_none()).map(|step| &*step.rack.rack).collect();
    let racks = if missing.len() == 1 { "rack" } else { "racks" };
    (!missing.is_empty()).then(|| Progress::step("Creating", format!("creating {racks} {}", missing.join(", "))))?
}

/// Members that were asked to leave: removes each once it has left the ring, and waits until nothing is left of it.
fn finish_departure(steps: &mut [Step<'_>], spec: &ClusterSpec) -> Option<Progress> {
    for step in steps {
        let (rack, replicas) = (step.rack, step.replicas);
        for (&ordinal, member) in rack.members.iter().rev() {
            let Some(has_left) = member.decommissioned else { continue };
            let name = rack.member_name(ordinal);
            let waiting = |message: String| Progress::waiting("MemberLeaving", message);
            let left = |what: &str| waiting(format!("{name} has left the ring: waiting for {what}"));
            match (has_left, ordinal - replicas) {
                // Scaled away before it had left the ring: it is started again, and leaves then.
                (false, 0..) => {}
                (true, 0..) if member.pod.is_some() => return left("its pod to terminate"),
                (true, 0..) => match member.claims {
                    Claims::Retained => {}
                    Claims::Deleting => return left("its volume claims to be deleted"),
                    Claims::None => return left("its Service to be deleted"),
                },
                (true, -1) if rack.has_begun() && step.changed => return left("the other members to settle"),
                // The StatefulSet controller deletes claims together with a pod, so there must be one.
                (true, -1) if !spec.keeps_claims() && !member.runs() && member.claims != Claims::None => {
                    return left("its pod, with which its claims are deleted");
                }
                (true, -1) => {
                    step.action = Action::Apply;
                    step.replicas = ordinal;
                    step.partition = rack.held_partition(ordinal);
                    step.delete_claims = !spec.keeps_claims();
                    return Progress::step("MemberLeaving", format!("{name} has left the ring and is removed"));
                }
                (false, -1) => return waiting(format!("waiting for {name} to leave the ring")),
                (_, _) => {
                    let last = rack.member_name(replicas - 1);
                    return waiting(format!("{name} is marked as leaving, but only the last member can leave: {last}"));
                }
            }
        }
    }
    None
}

/// Waits until every member is healthy.
fn settle(steps: &mut [Step<'_>]) -> Option<Progress> {
    let rack = steps.iter().map(|step| step.rack).find(|rack| !rack.is_settled())?;
    rollout::replace_stuck(steps).or_else(|| Progress::waiting(reason(rack), unsettled_message(rack)))
}

fn reason(rack: &Rack<'_>) -> &'static str {
    match &rack.set {
        Some(set) if rack.is_joining(set.spec.replicas - 1) => "MemberJoining",
        Some(_) if rack.has_begun() => "Updating",
        _ => "MembersNotReady",
    }
}

fn unsettled_message(rack: &Rack<'_>) -> String {
    let Some(set) = &rack.set else { return format!("StatefulSet {} is being created", rack.name) };
    for ordinal in (0..set.spec.replicas).rev() {
        let name = rack.member_name(ordinal);
        let Some(member) = rack.members.get(&ordinal) else { return format!("waiting for pod {name}") };
        match &member.pod {
            None => return format!("waiting for pod {name}"),
            Some(pod) if pod.metadata.is_deleting => return format!("waiting for pod {name}, which is terminating"),
            Some(pod) if pod.is_ready => {}
            Some(_) if !member.joined => return format!("waiting for {name} to join the ring"),
            Some(_) => return format!("waiting for {name} to become ready"),
        }
    }
    match rack.members.keys().next_back() {
        Some(&last) if last >= set.spec.replicas && rack.members.get(&last).is_some_and(|last| last.pod.is_some()) => {
            format!("waiting for pod {} to terminate", rack.member_name(last))
        }
        _ => format!("waiting for the controller of StatefulSet {}", rack.name),
    }
}

/// All members are healthy, so changed templates may be written where that does not update any pod.
fn release_templates(steps: &mut [Step<'_>]) {
    for step in steps.iter_mut().filter(|step| step.action == Action::Keep && !step.rack.has_begun()) {
        step.action = Action::Apply;
    }
}

/// Adds one member, to the rack with the fewest.
fn grow(steps: &mut [Step<'_>]) -> Option<Progress> {
    let mut blocked = None;
    let mut growing: Option<&mut Step<'_>> = None;
    for step in steps.iter_mut().filter(|step| step.replicas < target(step.rack)) {
        let rack = step.rack;
        let next = rack.members.get(&step.replicas);
        if next.is_some_and(|next| next.claims != Claims::None && next.has_left()) {
            let name = rack.member_name(step.replicas);
            let message = format!(
                "rack {} cannot grow: the volume claims of {name} hold data of a member that has left the ring; delete them",
                rack.rack
            );
            blocked = blocked.or_else(|| Progress::waiting("ClaimsKept", message));
            continue;
        }
        if growing.as_ref().is_none_or(|fewest| step.replicas < fewest.replicas) {
            growing = Some(step);
        }
    }
    let Some(step) = growing else { return blocked };
    let message = format!("{} joins the ring", step.rack.member_name(step.replicas));
    step.action = Action::Apply;
    step.replicas += 1;
    step.partition = step.replicas;
    Progress::step("MemberJoining", message)
}

/// The number of members that a rack must reach before it may shrink. Members that were scaled away by hand have not streamed
/// their data to others, and must be started again to do so.
fn target(rack: &Rack<'_>) -> i32 {
    let lost = |(ordinal, member): (&i32, &Member<'_>)| {
        let is_lost = *ordinal >= rack.replicas() && member.has_service && !member.has_left();
        (is_lost && member.claims == Claims::Retained).then_some(ordinal + 1)
    };
    rack.members.iter().filter_map(lost).max().unwrap_or(0).max(rack.wanted())
}

/// Asks one member to leave the ring: in the rack with the most members, or the last of such racks.
fn shrink(steps: &mut [Step<'_>]) -> Option<Progress> {
    let surplus = steps.iter_mut().filter(|step| step.replicas > target(step.rack));
    let step = surplus.max_by_key(|step| step.replicas)?;
    let leaving = step.replicas - 1;
    step.asked_to_leave = Some(leaving);
    Progress::step("MemberLeaving", format!("{} is asked to leave the ring", step.rack.member_name(leaving)))
}
