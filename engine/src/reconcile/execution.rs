//! The execution of a plan. Where a child has no owner reference, the parent is read first, which may be being deleted; then the
//! finalizer is added; then the waves are applied, each only once every child of the previous
//! one is as desired; then, only if all children are, others are released and deleted, one wave at a time; the finalizer is removed
//! last.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api_error::ApiError;
use crate::object::{ObjectKey, Observed};
use crate::ownership::may_prune;
use crate::patch::MergePatch;
use crate::phase;
use crate::plan::{self, Delete, FinalizerStep, Plan, Release};
use crate::reconcile::child::{Applied, ChildWrite, Next};
use crate::reconcile::effect::{Effect, Propagation, Reply};
use crate::takeover::Earlier;

/// Attempts to release a child that other writers keep changing, before the parent is requeued.
const RELEASE_TRIES: usize = 4;

/// The results of the writes of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Executed {
    /// The parent, if it was written.
    pub parent: Option<Observed>,
    /// Whether the finalizer was removed from a parent that is being deleted.
    pub finalizer_removed: bool,
    /// Children as the API server returned them, with the hash of the intent that was written.
    pub written: Vec<(String, Observed)>,
    /// Children whose labels were restored, or that are newer than the snapshot: they must be observed before the next
    /// decision.
    pub restored: Vec<Observed>,
    /// Children that were deleted, or were gone already.
    pub deleted: Vec<Delete>,
    /// Children that were deleted in order to be recreated, and why their update was refused.
    pub recreating: Vec<(ObjectKey, String)>,
    /// Children that can only be recreated, which waits until every other child is as desired.
    pub to_recreate: Vec<ObjectKey>,
    /// Children with a change of an immutable field that were not deleted, since they could not be created.
    pub kept: Vec<(ObjectKey, ApiError)>,
    /// Names that are taken by an object that is being deleted, and whose end no watch will report.
    pub terminating: Vec<ObjectKey>,
    /// Names of objects that another provider, which served this parent before, is to release.
    pub not_released: Vec<(ObjectKey, String)>,
    /// Names that are taken by an object of another owner, which is described.
    pub taken: Vec<(ObjectKey, String)>,
    /// Objects that changed since the snapshot, and what the API server said.
    pub stale: Vec<(ObjectKey, String)>,
    /// Writes that failed.
    pub failed: Vec<(ObjectKey, ApiError)>,
}

impl Executed {
    /// Whether every write was accepted.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.restored.is_empty()
            && self.recreating.is_empty()
            && self.to_recreate.is_empty()
            && self.kept.is_empty()
            && self.not_released.is_empty()
            && self.terminating.is_empty()
            && self.taken.is_empty()
            && self.stale.is_empty()
            && self.failed.is_empty()
    }

    /// Records the result of a write whose object is not needed.
    fn record(&mut self, key: &ObjectKey, result: Result<(), ApiError>) {
        match result {
            Ok(()) | Err(ApiError::NotFound(_)) => {}
            Err(ApiError::Conflict(message)) => self.stale.push((key.clone(), message)),
            Err(error) => self.failed.push((key.clone(), error)),
        }
    }

    fn record_child(&mut self, child: &ChildWrite, applied: Applied) {
        let key = child.key().clone();
        match applied {
            Applied::Written(observed) => self.written.push((child.intent().to_owned(), *observed)),
            Applied::Restored(observed) => self.restored.push(*observed),
            Applied::Recreating(refused) => self.recreating.push((key, refused)),
            Applied::ToRecreate { .. } => self.to_recreate.push(key),
            Applied::Kept(error) => self.kept.push((key, error)),
            Applied::Terminating => self.terminating.push(key),
            Applied::NotReleased(provider) => self.not_released.push((key, provider)),
            Applied::Taken(holder) => self.taken.push((key, holder)),
            Applied::Stale(message) => self.stale.push((key, message)),
            Applied::Failed(error) => self.failed.push((key, error)),
        }
    }
}

/// The parent and the provider whose plan is executed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// Name of the provider.
    pub(super) provider: &'a str,
    /// Name of the host's finalizer.
    pub(super) finalizer: &'a str,
    /// The parent.
    pub(super) parent: &'a Observed,
}

/// A child that can only be recreated: its write, its observed state, what happens to its dependents, and why its update was refused.
type ToRecreate = (ChildWrite, Arc<Observed>, Propagation, String);

/// Identifies an effect within an execution.
pub(super) type Slot = usize;

/// A plan in execution.
#[derive(Debug)]
pub(super) struct Execution {
    plan: Plan,
    /// The children that the plan was made from.
    children: BTreeMap<ObjectKey, Arc<Observed>>,
    stage: Stage,
    executed: Executed,
}

#[derive(Debug)]
enum Stage {
    /// The parent is read: this child has no owner reference, perhaps since the parent is being deleted.
    ReadParent(ObjectKey),
    /// The parent is deleted with orphaning, or gone: its children are listed, to be released before nobody knows them any more.
    ListOrphans {
        is_gone: bool,
    },
    AddFinalizer,
    /// The applies of one wave.
    Wave {
        number: usize,
        children: Vec<Writing>,
    },
    /// One release after another.
    Release {
        number: usize,
        tries: usize,
        step: Releasing,
    },
    /// One delete after another.
    Delete {
        number: usize,
    },
    RemoveFinalizer,
    Done,
}

/// One child of a wave, and its result once the write has ended.
#[derive(Debug)]
struct Writing {
    child: ChildWrite,
    applied: Option<Applied>,
}

#[derive(Debug)]
enum Releasing {
    /// The release was sent in this state.
    Sent(Release),
    /// The child changed meanwhile and is read again at once: where a parent is orphaned, the garbage collector removes its
    /// owner references at the same time, and then the parent is gone before there could be another decision.
    Read(Release),
}

impl Execution {
    /// Begins, with what may be sent first.
    pub(super) fn begin(plan: Plan, children: &[Arc<Observed>], target: Target<'_>) -> (Self, Vec<(Slot, Effect)>) {
        let children = children.iter().map(|child| (child.key.clone(), child.clone())).collect();
        let mut execution = Self { plan, children, stage: Stage::AddFinalizer, executed: Executed::default() };
        let effects = match execution.plan.orphans.first().cloned() {
            Some(child) => {
                execution.stage = Stage::ReadParent(child);
                vec![(0, Effect::FindParent(Earlier::of(target.parent)))]
            }
            None => execution.add_finalizer(target),
        };
        (execution, effects)
    }

    fn add_finalizer(&mut self, target: Target<'_>) -> Vec<(Slot, Effect)> {
        match self.plan.finalizer {
            FinalizerStep::Add => {
                self.stage = Stage::AddFinalizer;
                vec![(0, set_finalizer(true, target))]
            }
            FinalizerStep::Keep | FinalizerStep::Remove => self.wave(0, target),
        }
    }

    /// Goes on if the parent lives. If not, the watch will say so; nothing is written until then.
    fn parent_read(&mut self, child: ObjectKey, reply: Reply, target: Target<'_>) -> Vec<(Slot, Effect)> {
        match reply {
            Reply::Parent(Ok(Some(parent))) if !parent.deleting => return self.add_finalizer(target),
            Reply::Parent(Ok(found)) => {
                let message = format!("{} is being deleted, or gone", target.parent.key);
                self.executed.stale.push((target.parent.key.clone(), message));
                let is_gone = found.is_none();
                if is_gone || found.is_some_and(|parent| parent.finalizers.iter().any(|name| name == phase::ORPHAN)) {
                    self.stage = Stage::ListOrphans { is_gone };
                    return vec![(0, Effect::ListChildren)];
                }
            }
            Reply::Parent(Err(error)) => {
                let what = format!(
                    "it has no owner reference, and it is not known whether that is because {} is being deleted",
                    target.parent.key
                );
                self.executed.failed.push((child, error.context(&what)));
            }
            other => self.executed.failed.push((child, other.unexpected())),
        }
        self.end()
    }

    /// What became of it, once nothing is under way.
    pub(super) fn finished(&mut self) -> Option<(Plan, Executed)> {
        matches!(self.stage, Stage::Done).then(|| (std::mem::take(&mut self.plan), std::mem::take(&mut self.executed)))
    }

    /// Takes a reply; what may be sent now.
    pub(super) fn reply(&mut self, slot: Slot, reply: Reply, target: Target<'_>) -> Vec<(Slot, Effect)> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::ReadParent(child) => self.parent_read(child, reply, target),
            Stage::ListOrphans { is_gone } => self.orphans_listed(is_gone, reply, target),
            Stage::AddFinalizer => {
                self.finalizer_set(true, reply, target);
                self.wave(0, target)
            }
            Stage::Wave { number, children } => self.child(slot, reply, number, children, target),
            Stage::Release { number, tries, step } => self.released(number, tries, step, reply, target),
            Stage::Delete { number } => {
                if let Some(delete) = self.plan.due_deletes().get(number) {
                    match reply.done() {
                        Ok(()) | Err(ApiError::NotFound(_)) => self.executed.deleted.push(delete.clone()),
                        Err(error) => self.executed.record(&delete.key, Err(error)),
                    }
                }
                self.delete(number + 1, target)
            }
            Stage::RemoveFinalizer => {
                self.finalizer_set(false, reply, target);
                Vec::new()
            }
            Stage::Done => Vec::new(),
        }
    }

    /// Releases the children of a parent that is deleted with orphaning. Of one that is gone, those that still refer to it are the garbage
    /// collector's.
    fn orphans_listed(&mut self, is_gone: bool, reply: Reply, target: Target<'_>) -> Vec<(Slot, Effect)> {
        match reply {
            Reply::Children(Ok(mut children)) => {
                children.retain(|child| !is_gone || child.controller_uid.is_none());
                self.plan = plan::release_all(target.provider, target.parent, &children, FinalizerStep::Keep);
                self.release(0, target)
            }
            Reply::Children(Err(error)) => {
                self.executed.record(&target.parent.key, Err(error));
                self.end()
            }
            _ => self.end(),
        }
    }

    fn finalizer_set(&mut self, on: bool, reply: Reply, target: Target<'_>) {
        match reply.object() {
            Ok(parent) => {
                self.executed.finalizer_removed = !on && target.parent.deleting;
                self.executed.parent = Some(parent);
            }
            Err(error) => self.executed.record(&target.parent.key, Err(error)),
        }
    }

    /// Begins a wave.
    fn wave(&mut self, number: usize, target: Target<'_>) -> Vec<(Slot, Effect)> {
        if !self.executed.is_complete() {
            return self.end();
        }
        let Some(wave) = self.plan.waves().nth(number) else {
            return self.release(0, target);
        };
        let begun =
            wave.iter().map(|apply| ChildWrite::begin(apply.clone(), self.children.get(&apply.intent.key).cloned()));
        let (children, effects): (Vec<ChildWrite>, Vec<Effect>) = begun.unzip();
        let children = children.into_iter().map(|child| Writing { child, applied: None }).collect();
        self.stage = Stage::Wave { number, children };
        effects.into_iter().enumerate().collect()
    }

    /// A reply about one child of a wave.
    fn child(
        &mut self,
        slot: Slot,
        reply: Reply,
        number: usize,
        mut children: Vec<Writing>,
        target: Target<'_>,
    ) -> Vec<(Slot, Effect)> {
        let mut effects = Vec::new();
        if let Some(writing) = children.get_mut(slot) {
            match writing.child.reply(reply, target.parent, target.provider) {
                Next::Send(effect) => effects.push((slot, effect)),
                Next::Done(applied) => writing.applied = Some(applied),
            }
        }
        if children.iter().any(|writing| writing.applied.is_none()) {
            self.stage = Stage::Wave { number, children };
            return effects;
        }
        // Recorded in the order of the answer, whatever the order of the replies.
        let mut to_recreate = Vec::new();
        for Writing { child, applied } in children {
            match applied {
                Some(Applied::ToRecreate { seen, propagation, refused }) => {
                    to_recreate.push((child, seen, propagation, refused));
                }
                Some(applied) => self.executed.record_child(&child, applied),
                None => {}
            }
        }
        self.recreate(number, to_recreate, target)
    }

    /// Recreates a child of a wave, once every other one is as desired; one at a time, so that nothing is deleted while another cannot
    /// be created.
    fn recreate(&mut self, number: usize, mut children: Vec<ToRecreate>, target: Target<'_>) -> Vec<(Slot, Effect)> {
        let may_begin = self.executed.is_complete() && self.plan.blocked.is_none() && !children.is_empty();
        let first = may_begin.then(|| children.remove(0));
        self.executed.to_recreate.extend(children.into_iter().map(|(child, ..)| child.key().clone()));
        let Some((mut child, seen, propagation, refused)) = first else { return self.wave(number + 1, target) };
        match child.recreate(seen, propagation, refused) {
            Next::Send(effect) => {
                self.stage = Stage::Wave { number, children: vec![Writing { child, applied: None }] };
                vec![(0, effect)]
            }
            Next::Done(applied) => {
                self.executed.record_child(&child, applied);
                self.wave(number + 1, target)
            }
        }
    }

    fn release(&mut self, number: usize, target: Target<'_>) -> Vec<(Slot, Effect)> {
        match self.plan.due_releases().get(number).cloned() {
            Some(release) => self.send_release(number, 1, release),
            None => self.delete(0, target),
        }
    }

    fn send_release(&mut self, number: usize, tries: usize, release: Release) -> Vec<(Slot, Effect)> {
        let effect = Effect::Patch(MergePatch::release(&release));
        self.stage = Stage::Release { number, tries, step: Releasing::Sent(release) };
        vec![(0, effect)]
    }

    fn released(
        &mut self,
        number: usize,
        tries: usize,
        step: Releasing,
        reply: Reply,
        target: Target<'_>,
    ) -> Vec<(Slot, Effect)> {
        let (key, result) = match step {
            Releasing::Sent(release) => match reply.object().map(|_| ()) {
                Err(ApiError::Conflict(_)) if tries < RELEASE_TRIES => {
                    let (kind, key) = (release.child.kind(), release.child.key.clone());
                    self.stage = Stage::Release { number, tries, step: Releasing::Read(release) };
                    return vec![(0, Effect::Get { kind, key })];
                }
                result => (release.child.key.clone(), result),
            },
            Releasing::Read(release) => match reply.object() {
                Ok(live)
                    if live.uid == release.child.uid
                        && !live.deleting
                        && may_prune(&live, target.parent, target.provider) =>
                {
                    return self.send_release(number, tries + 1, Release { child: Arc::new(live), ..release });
                }
                // It was recreated, is being deleted, or is no longer owned: nothing is left to release.
                Ok(_) => (release.child.key.clone(), Ok(())),
                Err(error) => (release.child.key.clone(), Err(error)),
            },
        };
        self.executed.record(&key, result);
        self.release(number + 1, target)
    }

    fn delete(&mut self, number: usize, target: Target<'_>) -> Vec<(Slot, Effect)> {
        if let Some(delete) = self.plan.due_deletes().get(number).cloned() {
            self.stage = Stage::Delete { number };
            return vec![(0, Effect::Delete { delete, propagation: Propagation::Background })];
        }
        let all_are_due = self.plan.due_deletes().len() == self.plan.deletes.len() && self.plan.blocked.is_none();
        if self.plan.finalizer == FinalizerStep::Remove && self.executed.is_complete() && all_are_due {
            self.stage = Stage::RemoveFinalizer;
            return vec![(0, set_finalizer(false, target))];
        }
        self.end()
    }

    fn end(&mut self) -> Vec<(Slot, Effect)> {
        self.stage = Stage::Done;
        Vec::new()
    }
}

fn set_finalizer(on: bool, target: Target<'_>) -> Effect {
    let others = target.parent.finalizers.iter().filter(|name| *name != target.finalizer).cloned();
    let finalizers: Vec<String> = others.chain(on.then(|| target.finalizer.to_owned())).collect();
    Effect::Patch(MergePatch::finalizers(target.parent, &finalizers))
}
