//! The one next step of a cluster, from what is observed. In this order: what is missing is made; a member that leaves is
//! seen off; all must be well; a rollout that has begun goes on; racks grow; racks shrink; a rollout begins. One disruptive
//! step per settled state, and whatever holds, holds by the replicas and partition that were observed.

use crate::racks::{Claims, Member, Rack};
use crate::rollout;

/// What to do with a rack now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
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

/// What a cluster is doing or waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// One word, for programs.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) message: String,
    /// Whether this answer takes a step, rather than wait.
    pub(crate) step: bool,
}

/// What people decided about the steps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    /// Whether claims stay when their member has left.
    pub(crate) keeps_claims: bool,
    /// How many members of a rack get a change before the others.
    pub(crate) canary: Option<i32>,
}

/// The steps, one per rack, and what they are for; nothing if all is as it should be.
pub(crate) struct Decision {
    pub(crate) steps: Vec<Step>,
    pub(crate) progress: Option<Progress>,
}

impl Progress {
    pub(crate) fn waiting(reason: &'static str, message: impl Into<String>) -> Option<Self> {
        Some(Self { reason, message: message.into(), step: false })
    }

    pub(crate) fn step(reason: &'static str, message: impl Into<String>) -> Option<Self> {
        Some(Self { reason, message: message.into(), step: true })
    }
}

/// Decides. `templates` are the fingerprints of the templates that the racks should have.
pub(crate) fn decide(racks: &[Rack<'_>], templates: &[String], policy: Policy) -> Decision {
    let changed: Vec<bool> = racks
        .iter()
        .zip(templates)
        .map(|(rack, wanted)| rack.set.is_some() && rack.template().as_deref() != Some(wanted))
        .collect();
    let mut steps: Vec<Step> = racks.iter().zip(&changed).map(|(rack, changed)| hold(rack, *changed, policy)).collect();
    let progress = create(racks, &mut steps)
        .or_else(|| see_off(racks, &mut steps, &changed, policy))
        .or_else(|| settle(racks, &mut steps, &changed))
        .or_else(|| {
            release_templates(racks, &mut steps);
            rollout::go_on(racks, &mut steps, &changed, policy)
        })
        .or_else(|| grow(racks, &mut steps))
        .or_else(|| shrink(racks, &mut steps))
        .or_else(|| rollout::begin(racks, &mut steps, &changed, policy));
    Decision { steps, progress }
}

/// Nothing changes.
fn hold(rack: &Rack<'_>, changed: bool, policy: Policy) -> Step {
    let replicas = rack.replicas();
    let action = match rack.spec {
        None => Action::Keep,
        Some(_) if rack.removed && is_empty(rack) => Action::Remove,
        Some(_) if changed => Action::Keep,
        Some(_) => Action::Apply,
    };
    let partition = rollout::held_partition(rack, replicas);
    let goes = |(ordinal, member): (&i32, &Member<'_>)| {
        *ordinal >= replicas && has_left(member) && (member.pod.is_some() || member.claims == Claims::Going)
    };
    let delete_claims = !policy.keeps_claims && rack.members.iter().any(goes);
    Step { action, replicas, partition, delete_claims, asked_to_leave: None }
}

/// Whether nothing is left of a rack but what stays.
fn is_empty(rack: &Rack<'_>) -> bool {
    let settled = rack.set.as_ref().is_some_and(|set| set.spec.replicas == 0) && rack.is_settled();
    let over = |(ordinal, member): (&i32, &Member<'_>)| {
        let left = member.service.is_none_or(|service| service.decommissioned == Some(true));
        *ordinal >= 0 && member.pod.is_none() && member.claims != Claims::Going && left
    };
    settled && rack.members.iter().all(over)
}

fn create(racks: &[Rack<'_>], steps: &mut [Step]) -> Option<Progress> {
    let missing = racks.iter().filter(|rack| rack.set.is_none()).map(|rack| &*rack.rack).collect::<Vec<_>>();
    let unknown = racks.iter().find(|rack| rack.spec.is_none());
    if let Some(Rack { name, .. }) = unknown {
        let message = format!(
            "StatefulSet {name} no longer says what its rack was: put the rack back into the spec, or delete the StatefulSet"
        );
        return Progress::waiting("UnknownRack", message);
    }
    for (rack, step) in racks.iter().zip(steps).filter(|(rack, _)| rack.set.is_none()) {
        step.partition = rack.replicas();
    }
    (!missing.is_empty()).then(|| Progress::step("Creating", format!("rack {} is made", missing.join(", "))))?
}

/// Members that were asked to leave: lets each go once it has left the ring, and waits until nothing of it is there.
fn see_off(racks: &[Rack<'_>], steps: &mut [Step], changed: &[bool], policy: Policy) -> Option<Progress> {
    for ((rack, step), changed) in racks.iter().zip(steps).zip(changed) {
        let replicas = step.replicas;
        for (&ordinal, member) in rack.members.iter().rev() {
            let Some(has_left) = member.service.and_then(|service| service.decommissioned) else { continue };
            let name = rack.member_name(ordinal);
            let waiting = |message: String| Progress::waiting("MemberLeaving", message);
            match (has_left, ordinal - replicas) {
                // Lost before it had left: it comes back, and leaves then.
                (false, 0..) => {}
                (true, 0..) if member.pod.is_some() => {
                    return waiting(format!("{name} has left the ring: waits for its pod to go"));
                }
                (true, 0..) => match member.claims {
                    Claims::Kept => {}
                    Claims::Going => {
                        return waiting(format!("{name} has left the ring: waits for its volume claims to go"));
                    }
                    Claims::None => return waiting(format!("{name} has left the ring: waits for its Service to go")),
                },
                (true, -1) if rollout::has_begun(rack) && *changed => {
                    return waiting(format!("{name} has left the ring: waits for the others to settle"));
                }
                // Claims go with a pod, and stay where there is none.
                (true, -1) if !policy.keeps_claims && !runs(member) && member.claims != Claims::None => {
                    return waiting(format!("{name} has left the ring: waits for its pod, with which its claims go"));
                }
                (true, -1) => {
                    step.action = Action::Apply;
                    step.replicas = ordinal;
                    step.partition = rollout::held_partition(rack, ordinal);
                    step.delete_claims = !policy.keeps_claims;
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
fn settle(racks: &[Rack<'_>], steps: &mut [Step], changed: &[bool]) -> Option<Progress> {
    let rack = racks.iter().find(|rack| !rack.is_settled())?;
    rollout::replace_stuck(racks, steps, changed).or_else(|| Progress::waiting(reason(rack), unsettled_words(rack)))
}

fn reason(rack: &Rack<'_>) -> &'static str {
    let joining = |ordinal: i32| rack.members.get(&ordinal).is_some_and(|member| !has_joined(member));
    match &rack.set {
        Some(set) if joining(set.spec.replicas - 1) => "MemberJoining",
        Some(_) if rollout::has_begun(rack) => "Updating",
        _ => "MembersNotReady",
    }
}

fn has_joined(member: &Member<'_>) -> bool {
    member.service.is_some_and(|service| service.joined)
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
            Some(_) if !has_joined(member) => return format!("waits for {name}, which joins the ring"),
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
fn release_templates(racks: &[Rack<'_>], steps: &mut [Step]) {
    for (_, step) in racks.iter().zip(steps).filter(|(rack, _)| !rollout::has_begun(rack)) {
        if step.action == Action::Keep {
            step.action = Action::Apply;
        }
    }
}

/// One member more, in the rack that has the fewest.
fn grow(racks: &[Rack<'_>], steps: &mut [Step]) -> Option<Progress> {
    let mut blocked = None;
    let mut growing: Option<(&Rack<'_>, &mut Step)> = None;
    for (rack, step) in racks.iter().zip(steps) {
        if step.replicas >= target(rack) {
            continue;
        }
        let next = rack.members.get(&step.replicas);
        if next.is_some_and(|next| next.claims != Claims::None && has_left(next)) {
            let name = rack.member_name(step.replicas);
            let message = format!(
                "rack {} cannot grow: the volume claims of {name} hold data of a member that has left the ring; delete them",
                rack.rack
            );
            blocked = blocked.or_else(|| Progress::waiting("ClaimsKept", message));
            continue;
        }
        if growing.as_ref().is_none_or(|(_, fewest)| step.replicas < fewest.replicas) {
            growing = Some((rack, step));
        }
    }
    let Some((rack, step)) = growing else { return blocked };
    let message = format!("{} joins", rack.member_name(step.replicas));
    step.action = Action::Apply;
    step.replicas += 1;
    step.partition = step.replicas;
    Progress::step("MemberJoining", message)
}

fn runs(member: &Member<'_>) -> bool {
    member.pod.as_ref().is_some_and(|pod| !pod.metadata.is_going)
}

fn has_left(member: &Member<'_>) -> bool {
    member.service.is_some_and(|service| service.decommissioned == Some(true))
}

/// How many members a rack must have before it may have fewer: members that were scaled away by hand have not handed over
/// their data, and come back to do so.
fn target(rack: &Rack<'_>) -> i32 {
    let lost = |(ordinal, member): (&i32, &Member<'_>)| {
        let is_lost = *ordinal >= rack.replicas() && member.service.is_some() && !has_left(member);
        (is_lost && member.claims == Claims::Kept).then_some(ordinal + 1)
    };
    rack.members.iter().filter_map(lost).max().unwrap_or(0).max(rack.wanted())
}

/// One member is asked to leave, in the rack that has the most; of several the last.
fn shrink(racks: &[Rack<'_>], steps: &mut [Step]) -> Option<Progress> {
    let surplus = racks.iter().zip(steps).filter(|(rack, step)| step.replicas > target(rack));
    let (rack, step) = surplus.max_by_key(|(_, step)| step.replicas)?;
    let leaving = step.replicas - 1;
    step.asked_to_leave = Some(leaving);
    Progress::step("MemberLeaving", format!("{} is asked to leave the ring", rack.member_name(leaving)))
}
