//! The writes of one child, one request at a time: the apply, and what follows if the API server rejects it.

use std::sync::Arc;

use bartizan_contract::{GroupKind, OnImmutableChange};

use crate::api_error::{ApiError, InvalidField};
use crate::immutable::{self, Immutability};
use crate::object::{ObjectKey, Observed};
use crate::ownership::is_ours;
use crate::patch::MergePatch;
use crate::plan::{Apply, ApplyReason, Fence};
use crate::reconcile::effect::{Effect, Propagation, Reply};
use crate::reconcile::recreate::{self, Recreate};
use crate::takeover::{self, Earlier, Takeover};

/// The write of one child, in progress.
#[derive(Debug)]
pub(super) struct ChildWrite {
    apply: Arc<Apply>,
    existing: Option<Arc<Observed>>,
    step: Step,
}

/// Which reply is awaited.
#[derive(Debug)]
enum Step {
    /// To the apply.
    Applied,
    /// To the claim of list items of other managers, after the apply was rejected with this error.
    Claimed(ApiError),
    /// To the apply after that claim.
    AppliedAgain,
    /// To the live read of a name that was believed free, after the create was answered with this conflict.
    Read(String),
    /// To the search for the parent that it belonged to.
    Found { earlier: Earlier, live: Box<Observed> },
    /// To the patch that adopts it, although no host has applied it.
    Adopted,
    /// To the patch that restores its labels or adopts it, or the apply of its labels alone.
    Patched,
    /// To a request about its recreation.
    Recreating(Box<Recreate>),
}

/// What follows.
#[derive(Debug)]
pub(super) enum Next {
    /// Another request.
    Send(Effect),
    /// The write has ended.
    Done(Applied),
}

/// The result of the write of one child.
#[derive(Debug)]
pub(super) enum Applied {
    /// It matches its intent.
    Written(Box<Observed>),
    /// Its labels were restored, or it is newer than the cache: the next decision uses this state.
    Restored(Box<Observed>),
    /// It can only be recreated, which waits until every other child of the wave is as desired.
    ToRecreate {
        /// Its observed state.
        seen: Arc<Observed>,
        /// What happens to its dependents.
        propagation: Propagation,
        /// Why its update was refused.
        refused: String,
    },
    /// It was deleted in order to be recreated. This is why its update was refused.
    Recreating(String),
    /// An immutable field changes, and it was not deleted, since it could not be created: this is why.
    Kept(ApiError),
    /// Its name is taken by an object that is being deleted, and no watch will report the end of that.
    Terminating,
    /// It belongs to this parent as this other provider served it, which is to release it.
    NotReleased(String),
    /// Its name is taken by an object of another owner, which is described.
    Taken(String),
    /// It changed since the snapshot; what the API server said.
    Stale(String),
    /// The write failed.
    Failed(ApiError),
}

impl ChildWrite {
    /// Starts the write with the first request.
    pub(super) fn begin(apply: Arc<Apply>, existing: Option<Arc<Observed>>) -> (Self, Effect) {
        let effect = Effect::Apply { apply: apply.clone(), fence: apply.fence.clone(), existing: existing.clone() };
        (Self { apply, existing, step: Step::Applied }, effect)
    }

    /// Key of the child.
    pub(super) fn key(&self) -> &ObjectKey {
        &self.apply.intent.key
    }

    /// Hash of its intent.
    pub(super) fn intent(&self) -> &str {
        &self.apply.intent.hash
    }

    /// Takes the reply to the last request.
    pub(super) fn reply(&mut self, reply: Reply, parent: &Observed, provider: &str) -> Next {
        match std::mem::replace(&mut self.step, Step::Applied) {
            Step::Applied => match (reply.object(), self.apply.reason, &self.existing) {
                // The same intent was accepted before, so it is rejected because of what another manager added since, such as a
                // second port of the same name. An apply removes that only if our manager owns it.
                // Of what was adopted no intent of this parent is known, and others may have written to it since it was retained.
                (Err(refused @ ApiError::Invalid { .. }), reason, Some(seen))
                    if reason == ApplyReason::Drifted || seen.intent.is_none() && seen.written_by_others_since =>
                {
                    let effect = Effect::ClaimItems { apply: self.apply.clone(), seen: seen.clone() };
                    self.send(Step::Claimed(refused), effect)
                }
                (result, ..) => self.applied(result),
            },
            Step::Claimed(refused) => match reply {
                Reply::Claimed(Ok(Some(claimed))) => {
                    let fence = Fence::unchanged(&claimed);
                    let (apply, existing) = (self.apply.clone(), self.existing.clone());
                    self.send(Step::AppliedAgain, Effect::Apply { apply, fence, existing })
                }
                Reply::Claimed(Ok(None)) => self.applied(Err(refused)),
                Reply::Claimed(Err(error)) => self.applied(Err(error)),
                other => Next::Done(Applied::Failed(other.unexpected())),
            },
            Step::AppliedAgain => match reply.object() {
                Err(ApiError::Conflict(message)) => Next::Done(Applied::Stale(message)),
                result => self.applied(result),
            },
            Step::Read(conflict) => self.read(conflict, reply.object(), parent, provider),
            Step::Found { earlier, live } => match reply {
                Reply::Parent(Ok(None)) => self.adopt(&live, parent, provider),
                Reply::Parent(Ok(Some(found))) => Next::Done(Applied::Taken(format!(
                    "it belongs to {}, which exists (UID {})",
                    found.key, earlier.uid
                ))),
                Reply::Parent(Err(error)) => {
                    let uid = &earlier.uid;
                    let what = format!(
                        "it is not known whether the parent with UID {uid}, to which it belonged, still exists"
                    );
                    Next::Done(Applied::Failed(error.context(&what)))
                }
                other => Next::Done(Applied::Failed(other.unexpected())),
            },
            // What is wanted was answered without it: the provider is asked again with it among the children, before anything of it is
            // changed. A set of servers that it did not see would be one to begin with.
            Step::Adopted => match reply.object() {
                Ok(live) if is_ours(&live, parent, provider) => Next::Done(Applied::Restored(Box::new(live))),
                // No manager of a provider owns anything of it: the apply of the labels alone makes it a child like any other. Until then
                // it is marked as before, so that it is decided on again if this fails.
                Ok(live) => {
                    let fence = Fence::unchanged(&live);
                    let apply = Arc::new(self.apply.of_labels());
                    self.send(Step::Patched, Effect::Apply { apply, fence, existing: Some(Arc::new(live)) })
                }
                Err(ApiError::Conflict(message)) => Next::Done(Applied::Stale(message)),
                Err(error) => Next::Done(Applied::Failed(error)),
            },
            Step::Patched => Next::Done(match reply.object() {
                Ok(observed) => Applied::Restored(Box::new(observed)),
                Err(ApiError::Conflict(message)) => Applied::Stale(message),
                Err(error) => Applied::Failed(error),
            }),
            Step::Recreating(recreate) => self.recreating(recreate.reply(reply)),
        }
    }

    fn send(&mut self, step: Step, effect: Effect) -> Next {
        self.step = step;
        Next::Send(effect)
    }

    fn applied(&mut self, result: Result<Observed, ApiError>) -> Next {
        match result {
            Ok(observed) => Next::Done(Applied::Written(Box::new(observed))),
            Err(ApiError::Conflict(message)) if self.apply.fence == Fence::CreateOnly => {
                let (kind, key) = (self.apply.intent.kind.clone(), self.key().clone());
                self.send(Step::Read(message), Effect::Get { kind, key })
            }
            Err(ApiError::Conflict(message)) => Next::Done(Applied::Stale(message)),
            Err(ApiError::Invalid { message, fields }) => match self.existing.clone() {
                Some(seen) => self.update_refused(seen, message, fields),
                None => Next::Done(Applied::Failed(ApiError::Invalid { message, fields })),
            },
            Err(error) => Next::Done(Applied::Failed(error)),
        }
    }

    /// An update is refused. If that is because of an immutable field, the child is to be recreated, provided that its author asked for
    /// it. The fields that the API server names decide, with the rules of the kind where they are known.
    fn update_refused(&mut self, seen: Arc<Observed>, message: String, fields: Vec<InvalidField>) -> Next {
        let intent = &self.apply.intent;
        let judged = immutable::judge(&GroupKind::from(&intent.kind), &seen.value(), &intent.object, &fields);
        // The values that the host has generated would be others; and what was adopted is not deleted before this provider has once been
        // able to apply it, which the annotation says.
        let may_be_recreated = intent.generate.is_empty() && seen.labelled_by_host && seen.intent.is_some();
        let propagation = match (intent.on_immutable_change, judged) {
            (OnImmutableChange::RecreateOrphan, Immutability::Immutable | Immutability::Forbidden)
                if may_be_recreated =>
            {
                Propagation::Orphan
            }
            (OnImmutableChange::Recreate, Immutability::Immutable | Immutability::Forbidden) if may_be_recreated => {
                Propagation::Background
            }
            (_, Immutability::Immutable) => return Next::Done(Applied::Failed(ApiError::Immutable(message))),
            (_, Immutability::Mutable | Immutability::Forbidden) => {
                return Next::Done(Applied::Failed(ApiError::Invalid { message, fields }));
            }
        };
        Next::Done(Applied::ToRecreate { seen, propagation, refused: message })
    }

    /// Begins the recreation of a child whose update was refused.
    pub(super) fn recreate(&mut self, seen: Arc<Observed>, propagation: Propagation, refused: String) -> Next {
        self.recreating(Recreate::begin(self.apply.clone(), seen, propagation, refused))
    }

    fn recreating(&mut self, step: recreate::Step) -> Next {
        Next::Done(match step {
            recreate::Step::Send(recreate, effect) => return self.send(Step::Recreating(recreate), effect),
            recreate::Step::Deleted(refused) => Applied::Recreating(refused),
            recreate::Step::Stale(message) => Applied::Stale(message),
            recreate::Step::Kept(error) => Applied::Kept(error),
            recreate::Step::Failed(error) => Applied::Failed(error),
        })
    }

    /// A name that was believed free is taken: the live object shows its owner.
    fn read(&mut self, conflict: String, live: Result<Observed, ApiError>, parent: &Observed, provider: &str) -> Next {
        let live = match live {
            Ok(live) => live,
            // It has gone meanwhile, or it is a webhook that reports the conflict.
            Err(ApiError::NotFound(_)) => return Next::Done(Applied::Stale(conflict)),
            Err(error) => return Next::Done(Applied::Failed(error)),
        };
        match takeover::decide(&live, parent, provider) {
            // Children are watched by label: no watch reports the end of an object without these.
            Takeover::Wait if live.deleting && !live.is_child_of(&parent.uid, provider) => {
                Next::Done(Applied::Terminating)
            }
            // It is newer than the cache: the next decision uses it.
            Takeover::Wait => Next::Done(Applied::Restored(Box::new(live))),
            Takeover::NameTaken { holder } => Next::Done(Applied::Taken(holder)),
            Takeover::AwaitRelease { provider } => Next::Done(Applied::NotReleased(provider)),
            Takeover::RestoreLabels => {
                self.send(Step::Patched, Effect::Patch(MergePatch::restore_labels(&live, provider, &parent.uid)))
            }
            Takeover::Adopt => self.adopt(&live, parent, provider),
            Takeover::AdoptFrom(earlier) => {
                let effect = Effect::FindParent(earlier.clone());
                self.send(Step::Found { earlier, live: Box::new(live) }, effect)
            }
        }
    }

    fn adopt(&mut self, live: &Observed, parent: &Observed, provider: &str) -> Next {
        if live.applied_by_host {
            self.send(Step::Patched, Effect::Patch(MergePatch::adopt(live, provider, &parent.uid, None)))
        } else {
            self.send(Step::Adopted, Effect::Adopt(Box::new(live.clone())))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::tests::intent;

    fn observed(labels: &Value, annotations: &Value, manager: &str) -> Observed {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {
                "name": "s", "namespace": "n", "uid": "u", "resourceVersion": "1", "labels": labels, "annotations": annotations,
                "managedFields": [{"manager": manager, "operation": "Apply", "time": "2026-01-01T00:00:00Z"}],
            }
        });
        Observed::project(object, "bartizan/minio").unwrap()
    }

    fn parent() -> Observed {
        let object = json!({
            "apiVersion": "minio.rook.io/v1alpha1", "kind": "ObjectStore",
            "metadata": {"name": "s", "namespace": "n", "uid": "p-1", "resourceVersion": "1", "annotations": {"bartizan.dev/adopt-from": "old"}}
        });
        Observed::project(object, "bartizan/minio").unwrap()
    }

    /// Begins the write of a child whose name was believed free, and finds this object.
    fn found(live: Observed) -> (ChildWrite, Next) {
        let apply =
            Apply { intent: intent("StatefulSet", "s", 1), fence: Fence::CreateOnly, reason: ApplyReason::Absent };
        let (mut write, _) = ChildWrite::begin(Arc::new(apply), None);
        let conflict = Reply::Object(Err(ApiError::Conflict("it exists".to_owned())));
        assert!(matches!(write.reply(conflict, &parent(), "minio"), Next::Send(Effect::Get { .. })));
        let next = write.reply(Reply::Object(Ok(live)), &parent(), "minio");
        (write, next)
    }

    /// An answer that was given without it would begin anew: with no servers, for example.
    #[test]
    fn what_another_provider_released_is_seen_by_this_one_before_anything_of_it_is_changed() {
        let title = "ObjectStore.minio.rook.io n/s";
        let released = json!({"bartizan.dev/retained-for": title, "bartizan.dev/released-from": "p-1"});
        let (mut write, next) = found(observed(&json!({}), &released, "bartizan/one"));
        assert!(matches!(next, Next::Send(Effect::Adopt(_))), "{next:?}");
        let labels = json!({"bartizan.dev/provider": "minio", "bartizan.dev/owner-uid": "p-1"});
        let adopted = observed(&labels, &json!({}), "bartizan/minio");
        let next = write.reply(Reply::Object(Ok(adopted)), &parent(), "minio");
        assert!(matches!(next, Next::Done(Applied::Restored(_))), "{next:?}");
    }

    #[test]
    fn what_was_restored_without_managed_fields_gets_its_labels_first() {
        let labels = json!({"bartizan.dev/provider": "minio", "bartizan.dev/owner-uid": "old"});
        let restored = observed(&labels, &json!({}), "velero");
        let (mut write, next) = found(restored.clone());
        assert!(matches!(next, Next::Send(Effect::FindParent(_))), "{next:?}");
        let next = write.reply(Reply::Parent(Ok(None)), &parent(), "minio");
        assert!(matches!(next, Next::Send(Effect::Adopt(_))), "{next:?}");
        let next = write.reply(Reply::Object(Ok(restored)), &parent(), "minio");
        let Next::Send(Effect::Apply { apply, fence, .. }) = next else { panic!("{next:?}") };
        let expected = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "s", "namespace": "n", "labels": {"bartizan.dev/provider": "minio", "bartizan.dev/owner-uid": "p-1"}},
        });
        assert_eq!((&apply.intent.object, fence != Fence::CreateOnly), (&expected, true));
        let labels = json!({"bartizan.dev/provider": "minio", "bartizan.dev/owner-uid": "p-1"});
        let next = write.reply(Reply::Object(Ok(observed(&labels, &json!({}), "bartizan/minio"))), &parent(), "minio");
        assert!(matches!(next, Next::Done(Applied::Restored(_))), "{next:?}");
    }
}
