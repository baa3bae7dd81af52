//! The one next step of a cluster, from what is observed. In this order: what is missing is made; a member that leaves is
//! seen off; all must be well; a rollout that has begun goes on; racks grow; racks shrink; a rollout begins. One disruptive
//! step per settled state, and whatever holds, holds by the replicas and partition that were observed.

use bartizan_sdk::Progress;
use bartizan_sdk::observed::Claims;

use crate::labels::TEMPLATE;
use crate::racks::{Member, Rack};
use crate::rollout;
use crate::spec::ClusterSpec;

/// What to do with a rack now.
pub(crate) struct Step<'a> {
    pub(crate) rack: &'a Rack<'a>,
    /// Whether its template is another one than its StatefulSet was given.
    pub(crate) changed: bool,
    /// Whether it has a change that others wait for: a canary counts its members.
    pub(crate) through: bool,
    /// What becomes of its StatefulSet.
    pub(crate) action: Action,
    /// How many members.
    pub(crate) replicas: i32,
    /// The least ordinal that a changed template reaches.
    pub(crate) partition: i32,
    /// Whether the claims of members beyond `replicas` go with their pods.
    pub(crate) delete_claims: bool,
    /// The member that is asked to leave the ring with this answer.
    pub(crate) asked_to_leave: Option<i32>,
}

/// What becomes of a StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is applied.
    Apply,
    /// It stays as it is: its template has changed, and now is not the time.
    Keep,
    /// It goes.
    Remove,
}

/// The steps, one per rack, and what they are for; nothing if all is as it should be. `templates` are the fingerprints of the
/// templates that the racks should have.
pub(crate) fn decide<'a>(
    racks: &'a [Rack<'a>],
    templates: impl Iterator<Item = &'a str>,
    spec: &ClusterSpec,
) -> (Vec<Step<'a>>, Option<Progress>) {
    let in_rollout = racks.iter().any(Rack::is_pending);
    let holding = racks.iter().zip(templates).map(|(rack, wanted)| hold(rack, wanted, spec, in_rollout));
    let mut steps: Vec<Step<'_>> = holding.collect();
    let progress = create(&steps)
        .or_else(|| see_off(&mut steps, spec))
        .or_else(|| settle(&mut steps))
        .or_else(|| {
            release_templates(&mut steps);
            rollout::go_on(&mut steps, spec)
        })
        .or_else(|| grow(&mut steps))
        .or_else(|| shrink(&mut steps))
        .or_else(|| rollout::begin(&mut steps, spec));
    (steps, progress)
}

/// Nothing changes.
fn hold<'a>(rack: &'a Rack<'a>, template: &str, spec: &ClusterSpec, in_rollout: bool) -> Step<'a> {
    let replicas = rack.replicas();
    let changed = rack.set.as_ref().is_some_and(|set| set.metadata.annotation(TEMPLATE).as_deref() != Some(template));
    let action = match rack.spec {
        Some(_) if rack.removed && is_empty(rack) => Action::Remove,
        Some(_) if !changed => Action::Apply,
        _ => Action::Keep,
    };
    let goes = |(ordinal, member): (&i32, &Member<'_>)| {
        *ordinal >= replicas && member.has_left() && (member.pod.is_some() || member.claims == Claims::Going)
    };
    let delete_claims = !spec.keeps_claims() && rack.members.iter().any(goes);
    let (through, partition) = (in_rollout && !changed && rack.is_through(), rack.held_partition(replicas));
    Step { rack, changed, through, action, replicas, partition, delete_claims, asked_to_leave: None }
}

/// Whether nothing is left of a rack but what stays.
fn is_empty(rack: &Rack<'_>) -> bool {
    let over = |(ordinal, member): (&i32, &Member<'_>)| {
        let left = !member.has_service || member.has_left();
        *ordinal >= 0 && member.pod.is_none() && member.claims != Claims::Going && left
    };
    rack.replicas() == 0 && rack.is_settled() && rack.members.iter().all(over)
}

fn create(steps: &[Step<'_>]) -> Option<Progress> {
    if let Some(Step { rack, .. }) = steps.iter().find(|step| step.rack.spec.is_none()) {
        let message = format!(
            "StatefulSet {} no longer says what its rack was: put the rack back into the spec, or delete the StatefulSet",
            rack.name
        );
        return Progress::waiting("UnknownRack", message);
    }
    let missing: Vec<&str> = steps.iter().filter(|step| step.rack.set.is_none()).map(|step| &*step.rack.rack).collect();
    (!missing.is_empty()).then(|| Progress::step("Creating", format!("rack {} is made", missing.join(", "))))?
}

/// Members that were asked to leave: lets each go once it has left the ring, and waits until nothing of it is there.
fn see_off(steps: &mut [Step<'_>], spec: &ClusterSpec) -> Option<Progress> {
    for step in steps {
        let (rack, replicas) = (step.rack, step.replicas);
        for (&ordinal, member) in rack.members.iter().rev() {
            let Some(has_left) = member.decommissioned else { continue };
            let name = rack.member_name(ordinal);
            let waiting = |message: String| Progress::waiting("MemberLeaving", message);
            let left = |what: &str| waiting(format!("{name} has left the ring: waits for {what}"));
            match (has_left, ordinal - replicas) {
                // Lost before it had left: it comes back, and leaves then.
                (false, 0..) => {}
                (true, 0..) if member.pod.is_some() => return left("its pod to go"),
                (true, 0..) => match member.claims {
                    Claims::Kept => {}
                    Claims::Going => return left("its volume claims to go"),
                    Claims::None => return left("its Service to go"),
                },
                (true, -1) if rack.has_begun() && step.changed => return left("the others to settle"),
                // Claims go with a pod, and stay where there is none.
                (true, -1) if !spec.keeps_claims() && !member.runs() && member.claims != Claims::None => {
                    return left("its pod, with which its claims go");
                }
                (true, -1) => {
                    step.action = Action::Apply;
                    step.replicas = ordinal;
                    step.partition = rack.held_partition(ordinal);
                    step.delete_claims = !spec.keeps_claims();
                    return Progress::step("MemberLeaving", format!("{name} has left the ring, and goes"));
                }
                (false, -1) => return waiting(format!("waits for {name} to leave the ring")),
                (_, _) => {
                    let last = rack.member_name(replicas - 1);
                    return waiting(format!("{name} is marked as leaving, but only the last member can: {last}"));
                }
            }
        }
    }
    None
}

/// Waits until every member is well.
fn settle(steps: &mut [Step<'_>]) -> Option<Progress> {
    let rack = steps.iter().map(|step| step.rack).find(|rack| !rack.is_settled())?;
    rollout::replace_stuck(steps).or_else(|| Progress::waiting(reason(rack), unsettled_words(rack)))
}

fn reason(rack: &Rack<'_>) -> &'static str {
    match &rack.set {
        Some(set) if rack.is_joining(set.spec.replicas - 1) => "MemberJoining",
        Some(_) if rack.has_begun() => "Updating",
        _ => "MembersNotReady",
    }
}

fn unsettled_words(rack: &Rack<'_>) -> String {
    let Some(set) = &rack.set else { return format!("StatefulSet {} is being made", rack.name) };
    for ordinal in (0..set.spec.replicas).rev() {
        let name = rack.member_name(ordinal);
        let Some(member) = rack.members.get(&ordinal) else { return format!("waits for pod {name}") };
        match &member.pod {
            None => return format!("waits for pod {name}"),
            Some(pod) if pod.metadata.is_going => return format!("waits for pod {name}, which is going"),
            Some(pod) if pod.is_ready => {}
            Some(_) if !member.joined => return format!("waits for {name}, which joins the ring"),
            Some(_) => return format!("waits for {name}, which is not ready"),
        }
    }
    match rack.members.keys().next_back() {
        Some(&last) if last >= set.spec.replicas && rack.members.get(&last).is_some_and(|last| last.pod.is_some()) => {
            format!("waits for pod {} to go", rack.member_name(last))
        }
        _ => format!("waits for the controller of StatefulSet {}", rack.name),
    }
}

/// All is well: changed templates may be written, where no pod gets them by that.
fn release_templates(steps: &mut [Step<'_>]) {
    for step in steps.iter_mut().filter(|step| step.action == Action::Keep && !step.rack.has_begun()) {
        step.action = Action::Apply;
    }
}

/// One member more, in the rack that has the fewest.
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
    let message = format!("{} joins", step.rack.member_name(step.replicas));
    step.action = Action::Apply;
    step.replicas += 1;
    step.partition = step.replicas;
    Progress::step("MemberJoining", message)
}

/// How many members a rack must have before it may have fewer: members that were scaled away by hand have not handed over
/// their data, and come back to do so.
fn target(rack: &Rack<'_>) -> i32 {
    let lost = |(ordinal, member): (&i32, &Member<'_>)| {
        let is_lost = *ordinal >= rack.replicas() && member.has_service && !member.has_left();
        (is_lost && member.claims == Claims::Kept).then_some(ordinal + 1)
    };
    rack.members.iter().filter_map(lost).max().unwrap_or(0).max(rack.wanted())
}

/// One member is asked to leave, in the rack that has the most; of several the last.
fn shrink(steps: &mut [Step<'_>]) -> Option<Progress> {
    let surplus = steps.iter_mut().filter(|step| step.replicas > target(step.rack));
    let step = surplus.max_by_key(|step| step.replicas)?;
    let leaving = step.replicas - 1;
    step.asked_to_leave = Some(leaving);
    Progress::step("MemberLeaving", format!("{} is asked to leave the ring", step.rack.member_name(leaving)))
}
