//! The phase of a parent's life, which decides whether its provider is called at all.

use bartizan_contract::names;

use crate::object::Observed;
use crate::plan::FinalizerStep;
use crate::snapshot::Question;

/// Finalizer that the API server sets for a deletion that orphans dependents (`--cascade=orphan`).
pub(crate) const ORPHAN: &str = "orphan";

/// Where a parent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is being deleted and has no finalizer of the host: the garbage collector deletes its children.
    Terminating,
    /// It is paused.
    Paused,
    /// The provider is asked for the desired children.
    Serve(FinalizerStep),
    /// It is being deleted, and the provider is asked to finalize it.
    Finalize,
    /// It is being deleted, its children have no owner references, and the provider has finalized it or no longer finalizes.
    Teardown,
    /// It is being deleted and its children are to stay: it was deleted with orphaning, or abandoned.
    Release(FinalizerStep),
}

/// What its provider is asked about a parent, as if it were not paused; `None` if it is not asked. A preview must not take a parent
/// that was not asked about for one that would not change.
#[must_use]
pub fn question(parent: &Observed, provider: &str, finalizes: bool) -> Option<Question> {
    match derive(parent, provider, finalizes, false) {
        Phase::Serve(step) => Some(Question::Serve(step)),
        Phase::Finalize => Some(Question::Finalize { namespace_terminating: false }),
        Phase::Terminating | Phase::Paused | Phase::Teardown | Phase::Release(_) => None,
    }
}

/// Derives the phase from the parent, its provider, and whether that finalizes.
#[must_use]
pub fn of(parent: &Observed, provider: &str, finalizes: bool) -> Phase {
    derive(parent, provider, finalizes, parent.marks.paused)
}

fn derive(parent: &Observed, provider: &str, finalizes: bool, paused: bool) -> Phase {
    let finalizer = names::finalizer(provider);
    let finished = parent.marks.finalized.as_deref() == Some(provider);
    let held = parent.finalizers.contains(&finalizer);
    if parent.deleting {
        let step = if held { FinalizerStep::Remove } else { FinalizerStep::Keep };
        let orphaned = parent.finalizers.iter().any(|name| name == ORPHAN);
        return match (parent.marks.abandon || orphaned, held, paused) {
            (true, ..) => Phase::Release(step),
            (false, false, _) => Phase::Terminating,
            (false, true, true) => Phase::Paused,
            (false, true, false) if finalizes && !finished => Phase::Finalize,
            (false, true, false) => Phase::Teardown,
        };
    }
    match (paused, finalizes, held) {
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
    #[case::not_deleted(json!({}), false, Phase::Serve(FinalizerStep::Keep))]
    #[case::without_its_finalizer(json!({}), true, Phase::Serve(FinalizerStep::Add))]
    #[case::held(json!({"finalizers": [OURS]}), true, Phase::Serve(FinalizerStep::Keep))]
    #[case::no_longer_finalizing(json!({"finalizers": [OURS]}), false, Phase::Serve(FinalizerStep::Remove))]
    #[case::paused(json!({"annotations": {"bartizan.dev/paused": "true"}}), true, Phase::Paused)]
    #[case::not_paused(json!({"annotations": {"bartizan.dev/paused": "false"}}), false, Phase::Serve(FinalizerStep::Keep))]
    #[case::terminating(json!({"deletionTimestamp": "t", "finalizers": ["foregroundDeletion"]}), false, Phase::Terminating)]
    #[case::finalizing(json!({"deletionTimestamp": "t", "finalizers": [OURS]}), true, Phase::Finalize)]
    #[case::paused_while_deleted(
        json!({"deletionTimestamp": "t", "finalizers": [OURS], "annotations": {"bartizan.dev/paused": "true"}}), true, Phase::Paused
    )]
    #[case::finished(
        json!({"deletionTimestamp": "t", "finalizers": [OURS], "annotations": {"bartizan.dev/finalized": "minio"}}), true, Phase::Teardown
    )]
    #[case::leftover_finalizer(json!({"deletionTimestamp": "t", "finalizers": [OURS]}), false, Phase::Teardown)]
    #[case::orphaned(json!({"deletionTimestamp": "t", "finalizers": ["orphan"]}), false, Phase::Release(FinalizerStep::Keep))]
    #[case::abandoned(
        json!({"deletionTimestamp": "t", "finalizers": [OURS], "annotations": {"bartizan.dev/abandon": "true"}}), true,
        Phase::Release(FinalizerStep::Remove)
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
        // A paused parent is previewed as what it will be.
        let asked = question(&parent, "minio", finalizes);
        assert_eq!(asked.is_some(), matches!(phase, Phase::Serve(_) | Phase::Finalize | Phase::Paused), "{asked:?}");
    }
}
