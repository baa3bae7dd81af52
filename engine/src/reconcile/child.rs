//! The writes of one child, one request at a time: the apply, and what follows if the API server rejects it.

use std::sync::Arc;

use bartizan_contract::OnImmutableChange;

use crate::api_error::ApiError;
use crate::object::{ObjectKey, Observed};
use crate::patch::MergePatch;
use crate::plan::{Apply, ApplyReason, Delete, Fence};
use crate::reconcile::effect::{Effect, Propagation, Reply};
use crate::takeover::{self, Takeover};

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
    AppliedOverClaim,
    /// To the live read of a name that was believed free.
    Read,
    /// To the patch that restores its labels or adopts it.
    Patched,
    /// To the delete of a child that is recreated because of this immutable field.
    Deleted(String),
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
    /// It was deleted in order to be recreated, because of this immutable field.
    Recreating(String),
    /// Its name is taken by an object that is being deleted, and no watch will report the end of that.
    Terminating,
    /// Its name is taken by an object of another owner, which is described.
    Taken(String),
    /// It changed since the snapshot.
    Stale,
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
                (Err(refused @ (ApiError::Invalid(_) | ApiError::Immutable(_))), ApplyReason::Drifted, Some(seen)) => {
                    let effect = Effect::ClaimItems { apply: self.apply.clone(), seen: seen.clone() };
                    self.send(Step::Claimed(refused), effect)
                }
                (result, ..) => self.applied(result),
            },
            Step::Claimed(refused) => match reply {
                Reply::Claimed(Ok(Some(claimed))) => {
                    let fence = Fence::Exact { uid: claimed.uid, resource_version: claimed.resource_version };
                    let (apply, existing) = (self.apply.clone(), self.existing.clone());
                    self.send(Step::AppliedOverClaim, Effect::Apply { apply, fence, existing })
                }
                Reply::Claimed(Ok(None)) => self.applied(Err(refused)),
                Reply::Claimed(Err(error)) => self.applied(Err(error)),
                other => Next::Done(Applied::Failed(other.unexpected())),
            },
            Step::AppliedOverClaim => self.applied(reply.object()),
            Step::Read => self.read(reply.object(), parent, provider),
            Step::Patched => Next::Done(match reply.object() {
                Ok(observed) => Applied::Restored(Box::new(observed)),
                Err(ApiError::Conflict(_)) => Applied::Stale,
                Err(error) => Applied::Failed(error),
            }),
            Step::Deleted(field) => Next::Done(match reply.done() {
                Ok(()) | Err(ApiError::NotFound(_)) => Applied::Recreating(field),
                Err(ApiError::Conflict(_)) => Applied::Stale,
                Err(error) => Applied::Failed(error),
            }),
        }
    }

    fn send(&mut self, step: Step, effect: Effect) -> Next {
        self.step = step;
        Next::Send(effect)
    }

    fn applied(&mut self, result: Result<Observed, ApiError>) -> Next {
        match result {
            Ok(observed) => Next::Done(Applied::Written(Box::new(observed))),
            Err(ApiError::Conflict(_)) if self.apply.fence == Fence::CreateOnly => {
                let (kind, key) = (self.apply.intent.kind.clone(), self.key().clone());
                self.send(Step::Read, Effect::Get { kind, key })
            }
            Err(ApiError::Conflict(_)) => Next::Done(Applied::Stale),
            Err(ApiError::Immutable(field)) => match self.existing.clone() {
                Some(seen) => self.recreate(&seen, field),
                None => Next::Done(Applied::Failed(ApiError::Invalid(field))),
            },
            Err(error) => Next::Done(Applied::Failed(error)),
        }
    }

    /// A field is immutable: the child is recreated if the provider asked for that. The create is left to a later decision, which
    /// observes that the child is gone, so that a crash in between does no harm.
    fn recreate(&mut self, seen: &Observed, field: String) -> Next {
        let propagation = match self.apply.intent.on_immutable_change {
            OnImmutableChange::Refuse => return Next::Done(Applied::Failed(ApiError::Immutable(field))),
            OnImmutableChange::RecreateOrphan => Propagation::Orphan,
            OnImmutableChange::Recreate => Propagation::Background,
        };
        self.send(Step::Deleted(field), Effect::Delete { delete: Delete::of(seen), propagation })
    }

    /// A name that was believed free is taken: the live object shows its owner.
    fn read(&mut self, live: Result<Observed, ApiError>, parent: &Observed, provider: &str) -> Next {
        let live = match live {
            Ok(live) => live,
            Err(ApiError::NotFound(_)) => return Next::Done(Applied::Stale),
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
            Takeover::RestoreLabels => {
                self.send(Step::Patched, Effect::Patch(MergePatch::restore_labels(&live, provider, &parent.uid)))
            }
            Takeover::Adopt => self.send(Step::Patched, Effect::Patch(MergePatch::adopt(&live, provider, &parent.uid))),
        }
    }
}
