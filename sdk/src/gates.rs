//! Gates that must be open before a provider takes the next disruptive step. All are pure functions of the observed state, and
//! stay closed when something is unknown.

use crate::observed::{PodView, Rollout, StatefulSetView};

/// Whether a StatefulSet is settled: its controller has observed the newest spec, all pods exist, are ready and are not being
/// deleted, and a changed template has reached every pod that the partition allows. `pods` must be all existing pods. Status and
/// pods must agree, since they come from different watches of which one may lag behind.
#[must_use]
pub fn is_settled(set: &StatefulSetView<'_>, pods: &[&PodView<'_>]) -> bool {
    let replicas = set.spec.replicas;
    let Ok(wanted) = usize::try_from(replicas) else { return false };
    let is_updated = |pod: &PodView<'_>| pod.revision().is_some_and(|revision| revision == set.status.update_revision);
    let is_held_back = |pod: &PodView<'_>| pod.ordinal().is_some_and(|ordinal| ordinal < set.spec.partition);
    matches!(set.rollout(replicas), Rollout::Settled | Rollout::Updating)
        && pods.len() == wanted
        && pods.iter().all(|pod| pod.is_ready && (is_held_back(pod) || is_updated(pod)))
}

/// Whether some pods do not have the newest template yet.
#[must_use]
pub fn is_pending(set: &StatefulSetView<'_>) -> bool {
    let status = &set.status;
    status.current_revision != status.update_revision || status.updated_replicas < set.spec.replicas
}

/// The partition that releases a changed template to one more pod, from the last to the first. Use it on settled StatefulSets
/// only.
#[must_use]
pub fn next_partition(set: &StatefulSetView<'_>) -> i32 {
    (set.spec.partition.min(set.spec.replicas) - 1).max(0)
}

/// The number of pods that a changed template may have reached.
#[must_use]
pub fn released(set: &StatefulSetView<'_>) -> i32 {
    (set.spec.replicas - set.spec.partition).max(0)
}

/// Whether a changed template has reached, or may have reached, some but not all pods.
#[must_use]
pub fn has_begun(set: &StatefulSetView<'_>) -> bool {
    set.spec.partition < set.spec.replicas && (!set.is_observed() || is_pending(set))
}

/// The partition with which a change reaches no further pod, for this number of replicas. In the middle of a rollout it is never
/// raised: a lost pod would be created again from the old template.
#[must_use]
pub fn held_partition(set: &StatefulSetView<'_>, replicas: i32) -> i32 {
    if has_begun(set) { set.spec.partition.min(replicas) } else { replicas }
}
