//! How a changed template reaches the members: every rack is frozen by its partition, which then goes down by one member at a
//! time, one rack at a time.

use bartizan_sdk::observed::StatefulSetView;
use bartizan_sdk::{Progress, gates};

use crate::decision::{Action, Step};
use crate::racks::{CONTAINER, Rack};
use crate::spec::ClusterSpec;

/// Takes the next step of a rollout that has begun somewhere. All members are well.
pub(crate) fn go_on(steps: &mut [Step<'_>], spec: &ClusterSpec) -> Option<Progress> {
    let versions = || steps.iter().flat_map(|step| step.rack.versions());
    let begun = steps.iter().any(|step| step.rack.has_begun() || step.through) || versions().min() != versions().max();
    if begun { begin(steps, spec) } else { None }
}

/// Freezes the racks of which the template has changed, or lets it reach one member more. All members are well.
pub(crate) fn begin(steps: &mut [Step<'_>], spec: &ClusterSpec) -> Option<Progress> {
    if steps.iter().any(|step| step.changed) {
        steps.iter_mut().filter(|step| step.changed).for_each(|step| step.action = Action::Apply);
        return Progress::step("Updating", "a change is prepared: every rack is frozen");
    }
    let pending = |step: &Step<'_>| step.rack.is_pending();
    let index = steps.iter().position(|step| step.rack.has_begun()).or_else(|| steps.iter().position(pending))?;
    let (released, members) = (released(steps), steps.iter().map(|step| step.replicas).sum::<i32>());
    let step = steps.get_mut(index)?;
    let rack = step.rack;
    let set = rack.set.as_ref()?;
    if gates::released(set) >= set.spec.replicas {
        return Progress::waiting("Updating", format!("waits for the controller of StatefulSet {}", rack.name));
    }
    if spec.canary.is_some_and(|canary| released >= canary) {
        let message =
            format!("{released} of {members} members have the change: raise spec.canary or take it away to go on");
        return Progress::waiting("CanaryHold", message);
    }
    step.partition = gates::next_partition(set);
    Progress::step("Updating", format!("{} gets the change", rack.member_name(step.partition)))
}

/// How many members a change may have reached, in all racks.
fn released(steps: &[Step<'_>]) -> i32 {
    let partly = |step: &Step<'_>| step.rack.set.as_ref().map_or(0, gates::released);
    steps.iter().map(|step| if step.through { step.replicas } else { partly(step) }).sum()
}

/// The way out when a changed template cannot start: the only member that is not well has never started, and the template has
/// changed again since. It is written, and reaches that member and those that had the earlier change.
pub(crate) fn replace_stuck(steps: &mut [Step<'_>]) -> Option<Progress> {
    let mut stuck = steps.iter_mut().filter(|step| !step.rack.is_settled());
    let step = stuck.next().filter(|_| stuck.next().is_none())?;
    let rack = step.rack;
    let set = rack.set.as_ref()?;
    let ordinal = never_started(rack, set)?;
    let name = rack.member_name(ordinal);
    let partition = if rack.has_begun() { set.spec.partition } else { set.spec.replicas - 1 };
    if ordinal < partition {
        return None;
    }
    if step.changed {
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
