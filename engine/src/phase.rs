//! What is to be done with a parent at all, before anybody is asked.

use bartizan_contract::names;

use crate::object::Observed;
use crate::plan::FinalizerStep;

/// Finalizer by which the API server asks that a parent's children are left alone (`--cascade=orphan`).
const ORPHAN: &str = "orphan";

/// Where a parent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is going and its provider has nothing to say: owner references take its children along.
    Going,
    /// It asks to be left alone.
    Paused,
    /// The provider says what should be.
    Serve(FinalizerStep),
    /// It is going, and the provider is asked to finish.
    Finalize,
    /// It is going, its children have no owner references, and the provider has finished or no longer wants to be asked.
    Teardown,
    /// It is going and its children are to stay: it was orphaned, or abandoned.
    LetGo(FinalizerStep),
}

/// Decides from the parent, the provider, and whether that finalizes.
#[must_use]
pub fn of(parent: &Observed, provider: &str, finalizes: bool) -> Phase {
    let finalizer = names::finalizer(provider);
    let finished = parent.marks.finalized.as_deref() == Some(provider);
    let held = parent.finalizers.contains(&finalizer);
    if parent.deleting {
        let step = if held { FinalizerStep::Remove } else { FinalizerStep::Keep };
        let orphaned = parent.finalizers.iter().any(|name| name == ORPHAN);
        return match (parent.marks.abandon || orphaned, held, parent.marks.paused) {
            (true, ..) => Phase::LetGo(step),
            (false, false, _) => Phase::Going,
            (false, true, true) => Phase::Paused,
            (false, true, false) if finalizes && !finished => Phase::Finalize,
            (false, true, false) => Phase::Teardown,
        };
    }
    match (parent.marks.paused, finalizes, held) {
        (true, ..) => Phase::Paused,
        (false, true, false) => Phase::Serve(FinalizerStep::Add),
        (false, false, true) => Phase::Serve(FinalizerStep::Remove),
        (false, ..) => Phase::Serve(FinalizerStep::Keep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    const OURS: &str = "finalizer.bartizan.dev/minio";

    #[rstest]
    #[case::living(json!({}), false, Phase::Serve(FinalizerStep::Keep))]
    #[case::new_to_a_finalizer(json!({}), true, Phase::Serve(FinalizerStep::Add))]
    #[case::held(json!({"finalizers": [OURS]}), true, Phase::Serve(FinalizerStep::Keep))]
    #[case::no_longer_finalizing(json!({"finalizers": [OURS]}), false, Phase::Serve(FinalizerStep::Remove))]
    #[case::paused(json!({"annotations": {"bartizan.dev/paused": "true"}}), true, Phase::Paused)]
    #[case::not_paused(json!({"annotations": {"bartizan.dev/paused": "false"}}), false, Phase::Serve(FinalizerStep::Keep))]
    #[case::going(json!({"deletionTimestamp": "t", "finalizers": ["foregroundDeletion"]}), false, Phase::Going)]
    #[case::finalizing(json!({"deletionTimestamp": "t", "finalizers": [OURS]}), true, Phase::Finalize)]
    #[case::paused_at_the_end(
        json!({"deletionTimestamp": "t", "finalizers": [OURS], "annotations": {"bartizan.dev/paused": "true"}}), true, Phase::Paused
    )]
    #[case::finished(
        json!({"deletionTimestamp": "t", "finalizers": [OURS], "annotations": {"bartizan.dev/finalized": "minio"}}), true, Phase::Teardown
    )]
    #[case::left_over(json!({"deletionTimestamp": "t", "finalizers": [OURS]}), false, Phase::Teardown)]
    #[case::orphaned(json!({"deletionTimestamp": "t", "finalizers": ["orphan"]}), false, Phase::LetGo(FinalizerStep::Keep))]
    #[case::abandoned(
        json!({"deletionTimestamp": "t", "finalizers": [OURS], "annotations": {"bartizan.dev/abandon": "true"}}), true,
        Phase::LetGo(FinalizerStep::Remove)
    )]
    #[case::abandoned_too_early(json!({"annotations": {"bartizan.dev/abandon": "true"}}), false, Phase::Serve(FinalizerStep::Keep))]
    fn a_parent_is_in_one_phase(#[case] metadata: Value, #[case] finalizes: bool, #[case] phase: Phase) {
        let mut object = json!({
            "apiVersion": "minio.rook.io/v1alpha1", "kind": "ObjectStore",
            "metadata": {"name": "s", "namespace": "n", "uid": "p", "resourceVersion": "1"}
        });
        object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        let parent = Observed::project(object, "bartizan/minio").unwrap();
        assert_eq!(of(&parent, "minio", finalizes), phase);
    }
}
