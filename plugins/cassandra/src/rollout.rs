//! Rolls out a changed template: every rack is frozen by its partition, which is then lowered by one member at a time, one rack
//! after the other.

use bartizan_sdk::observed::StatefulSetView;
use bartizan_sdk::{Progress, gates};

use crate::racks::{CONTAINER, Rack};
use crate::spec::ClusterSpec;
use crate::step::{Action, Step};

/// Takes the next step of a rollout that has begun in any rack. All members must be healthy.
pub(crate) fn proceed(steps: &mut [Step<'_>], spec: &ClusterSpec) -> Option<Progress> {
    let versions = || steps.iter().flat_map(|step| step.rack.versions());
    let begun = steps.iter().any(|step| step.rack.has_begun() || step.through) || versions().min() != versions().max();
    if begun { begin(steps, spec) } else { None }
}

/// Freezes the racks whose template has changed, or releases the change to one more member. All members must be healthy.
pub(crate) fn begin(steps: &mut [Step<'_>], spec: &ClusterSpec) -> Option<Progress> {
    if steps.iter().any(|step| step.changed) {
        steps.iter_mut().filter(|step| step.changed).for_each(|step| step.action = Action::Apply);
        return Progress::step("Updating", "a change is prepared: all racks are frozen");
    }
    let pending = |step: &Step<'_>| step.rack.is_pending();
    let index = steps.iter().position(|step| step.rack.has_begun()).or_else(|| steps.iter().position(pending))?;
    let (released, members) = (released(steps), steps.iter().map(|step| step.replicas).sum::<i32>());
    let step = steps.get_mut(index)?;
    let rack = step.rack;
    let set = rack.set.as_ref()?;
    if gates::released(set) >= set.spec.replicas {
        return Progress::waiting("Updating", format!("waiting for the controller of StatefulSet {}", rack.name));
    }
    if spec.canary.is_some_and(|canary| released >= canary) {
        let message = format!("{released} of {members} members are updated: raise or remove spec.canary to continue");
        return Progress::waiting("CanaryHold", message);
    }
    step.partition = gates::next_partition(set);
    Progress::step("Updating", format!("{} is updated", rack.member_name(step.partition)))
}

/// The number of members in all racks that a change may have reached.
fn released(steps: &[Step<'_>]) -> i32 {
    let partly = |step: &Step<'_>| step.rack.set.as_ref().map_or(0, gates::released);
    steps.iter().map(|step| if step.through { step.replicas } else { partly(step) }).sum()
}

/// The way out when pods of a changed template cannot start: if the only unhealthy member has never started and the template has
/// changed again, the new template is applied to that member and to those that already had the earlier change.
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
        return Progress::step("Updating", format!("{name} has never started and is updated"));
    }
    let pod = rack.members.get(&ordinal)?.pod.as_ref()?;
    let outdated = pod.revision().is_some_and(|revision| revision != set.status.update_revision);
    (outdated && set.spec.partition <= ordinal).then(|| {
        let message = format!("{name} has never started and has an outdated template: delete the pod {name}");
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
    (!only.metadata.is_deleting && !only.has_started(CONTAINER)).then(|| only.ordinal())?
}
