//! What must be true before the next disruptive step: one such step per settled state. All are pure functions of what is
//! observed, and what is unknown holds.

use crate::observed::{PodView, Rollout, StatefulSetView};

/// Whether a StatefulSet is settled: its controller has seen its newest spec, all its pods are there and ready, none is
/// going, and a changed template has arrived wherever no partition holds it back. Status and pods must agree: they come by
/// different watches, and the later one is right. `pods` are all that exist of it.
#[must_use]
pub fn is_settled(set: &StatefulSetView<'_>, pods: &[&PodView<'_>]) -> bool {
    let replicas = set.spec.replicas;
    let Ok(wanted) = usize::try_from(replicas) else { return false };
    let arrived = |pod: &PodView<'_>| pod.revision().is_some_and(|revision| revision == set.status.update_revision);
    let held_back = |pod: &PodView<'_>| pod.ordinal().is_some_and(|ordinal| ordinal < set.spec.partition);
    matches!(set.rollout(replicas), Rollout::Settled | Rollout::Updating)
        && pods.len() == wanted
        && pods.iter().all(|pod| pod.is_ready && (held_back(pod) || arrived(pod)))
}

/// Whether some pods have not got the newest template.
#[must_use]
pub fn is_pending(set: &StatefulSetView<'_>) -> bool {
    let status = &set.status;
    status.current_revision != status.update_revision || status.updated_replicas < set.spec.replicas
}

/// The partition that lets a changed template reach one pod more, from the last to the first. Only for a settled StatefulSet.
#[must_use]
pub fn next_partition(set: &StatefulSetView<'_>) -> i32 {
    (set.spec.partition.min(set.spec.replicas) - 1).max(0)
}

/// How many pods a changed template may have reached.
#[must_use]
pub fn released(set: &StatefulSetView<'_>) -> i32 {
    (set.spec.replicas - set.spec.partition).max(0)
}

/// Whether a changed template has reached some pods, or may have, and not all.
#[must_use]
pub fn has_begun(set: &StatefulSetView<'_>) -> bool {
    set.spec.partition < set.spec.replicas && (!set.is_observed() || is_pending(set))
}

/// The partition that lets a change reach no pod of so many that it has not reached. While some pods have the change and
/// others do not it never goes up: a pod that is lost then would come back as it was before.
#[must_use]
pub fn held_partition(set: &StatefulSetView<'_>, replicas: i32) -> i32 {
    if has_begun(set) { set.spec.partition.min(replicas) } else { replicas }
}
