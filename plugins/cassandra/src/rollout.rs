//! How a changed template reaches the members: every rack is frozen by its partition, which then goes down by one member at a
//! time, one rack at a time. The partition never goes up while some members have the change and others do not: a member that
//! is lost then would come back as it was before.

use bartizan_sdk::gates;
use bartizan_sdk::observed::StatefulSetView;

use crate::decision::{Action, Policy, Progress, Step};
use crate::racks::{CONTAINER, Rack};

/// Whether a changed template has reached some members of a rack, or may have, and not all.
pub(crate) fn has_begun(rack: &Rack<'_>) -> bool {
    let Some(set) = &rack.set else { return false };
    let unseen = set.status.observed_generation != set.metadata.generation;
    set.spec.partition < set.spec.replicas && (unseen || gates::is_pending(set))
}

/// The partition that lets a change reach nobody whom it has not reached.
pub(crate) fn held_partition(rack: &Rack<'_>, replicas: i32) -> i32 {
    let observed = rack.set.as_ref().map_or(replicas, |set| set.spec.partition);
    if has_begun(rack) { observed.min(replicas) } else { replicas }
}

/// Takes the next step of a rollout that has begun somewhere. All members are well.
pub(crate) fn go_on(racks: &[Rack<'_>], steps: &mut [Step], changed: &[bool], policy: Policy) -> Option<Progress> {
    let versions = || racks.iter().flat_map(Rack::versions);
    let begun = racks.iter().any(has_begun) || versions().min() != versions().max();
    if begun { begin(racks, steps, changed, policy) } else { None }
}

/// Freezes the racks of which the template has changed, or lets it reach one member more. All members are well.
pub(crate) fn begin(racks: &[Rack<'_>], steps: &mut [Step], changed: &[bool], policy: Policy) -> Option<Progress> {
    let mut written = false;
    for (step, _) in steps.iter_mut().zip(changed).filter(|(_, changed)| **changed) {
        step.action = Action::Apply;
        written = true;
    }
    if written {
        return Progress::step("Updating", "a change is prepared: every rack is frozen");
    }
    let pending = |rack: &Rack<'_>| rack.set.as_ref().is_some_and(gates::is_pending);
    let index = racks.iter().position(has_begun).or_else(|| racks.iter().position(pending))?;
    let (rack, step) = (racks.get(index)?, steps.get_mut(index)?);
    let set = rack.set.as_ref()?;
    let released = gates::released(set);
    if released >= set.spec.replicas {
        return Progress::waiting("Updating", format!("waits for the controller of StatefulSet {}", rack.name));
    }
    if policy.canary.is_some_and(|canary| released >= canary) {
        let message = format!(
            "{released} of {} members of rack {} have the change: raise spec.canary or take it away to go on",
            set.spec.replicas, rack.rack
        );
        return Progress::waiting("CanaryHold", message);
    }
    step.partition = gates::next_partition(set);
    Progress::step("Updating", format!("{} gets the change", rack.member_name(step.partition)))
}

/// The way out when a changed template cannot start: the only member that is not well has never started, and the template has
/// changed again since. It is written, and reaches that member and those that had the earlier change.
pub(crate) fn replace_stuck(racks: &[Rack<'_>], steps: &mut [Step], changed: &[bool]) -> Option<Progress> {
    let mut stuck = racks.iter().zip(steps).zip(changed).filter(|((rack, _), _)| !rack.is_settled());
    let ((rack, step), changed) = stuck.next().filter(|_| stuck.next().is_none())?;
    let set = rack.set.as_ref()?;
    let ordinal = never_started(rack, set)?;
    let name = rack.member_name(ordinal);
    let partition = if has_begun(rack) { set.spec.partition } else { set.spec.replicas - 1 };
    if ordinal < partition {
        return None;
    }
    if *changed {
        step.action = Action::Apply;
        step.partition = partition;
        return Progress::step("Updating", format!("{name} has never started, and gets the change"));
    }
    let pod = rack.members.get(&ordinal)?.pod.as_ref()?;
    let outdated = pod.revision().is_some_and(|revision| revision != set.status.update_revision);
    (outdated && set.spec.partition <= ordinal).then(|| {
        let message = format!("{name} has never started, and would with its newest template: delete the pod {name}");
        Progress::waiting("PodOutdated", message)
    })?
}

/// The one member that is not ready, if it has never started.
fn never_started(rack: &Rack<'_>, set: &StatefulSetView<'_>) -> Option<i32> {
    if i32::try_from(rack.pods().count()) != Ok(set.spec.replicas)
        || set.status.observed_generation != set.metadata.generation
    {
        return None;
    }
    let mut unready = rack.pods().filter(|pod| !pod.is_ready);
    let only = unready.next().filter(|_| unready.next().is_none())?;
    (!only.metadata.is_going && !only.has_started(CONTAINER)).then(|| only.ordinal())?
}
