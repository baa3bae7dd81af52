//! The execution of a plan: what may be sent now, what came back, what follows. The finalizer first; then wave by wave, each only
//! once every apply of the one before was accepted; then, only if everything was and no name is taken, what is to go; the
//! finalizer's removal last.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_contract::Kind;

use crate::api_error::ApiError;
use crate::object::{ObjectKey, Observed};
use crate::ownership::is_ours_to_end;
use crate::patch::MergePatch;
use crate::plan::{Delete, FinalizerStep, Plan, Release};
use crate::reconcile::child::{Applied, ChildWrite, Next};
use crate::reconcile::effect::{Effect, Propagation, Reply};

/// How often a child is released that others keep changing, before the parent has to be decided on again.
const RELEASE_TRIES: usize = 4;

/// What became of the writes of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Executed {
    /// The parent, if it was written.
    pub parent: Option<Observed>,
    /// Whether the finalizer was removed from a parent that goes.
    pub let_go: bool,
    /// Children as the API server returned them, with the hash of the intent that was written.
    pub written: Vec<(String, Observed)>,
    /// Children whose labels were restored, or that are newer than the snapshot: they must be observed before anything else
    /// is decided.
    pub restored: Vec<Observed>,
    /// Children that are deleted, or were gone already.
    pub deleted: Vec<Delete>,
    /// Children that are deleted to be created again, and which field is immutable.
    pub recreating: Vec<(ObjectKey, String)>,
    /// Names that hold something that is being deleted, and whose end no watch will report.
    pub leaving: Vec<ObjectKey>,
    /// Names that hold something that is not this parent's, and whose it is.
    pub taken: Vec<(ObjectKey, String)>,
    /// Children whose state moved on since the snapshot.
    pub stale: Vec<ObjectKey>,
    /// Writes that failed.
    pub failed: Vec<(ObjectKey, ApiError)>,
}

impl Executed {
    /// Whether every write was accepted.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.restored.is_empty()
            && self.recreating.is_empty()
            && self.leaving.is_empty()
            && self.taken.is_empty()
            && self.stale.is_empty()
            && self.failed.is_empty()
    }

    /// Takes the reply to a write that leaves nothing to remember.
    fn take(&mut self, key: &ObjectKey, result: Result<(), ApiError>) {
        match result {
            Ok(()) | Err(ApiError::NotFound(_)) => {}
            Err(ApiError::Conflict(_)) => self.stale.push(key.clone()),
            Err(error) => self.failed.push((key.clone(), error)),
        }
    }

    fn take_child(&mut self, child: &ChildWrite, applied: Applied) {
        let key = child.key().clone();
        match applied {
            Applied::Written(observed) => self.written.push((child.intent().to_owned(), *observed)),
            Applied::Restored(observed) => self.restored.push(*observed),
            Applied::Recreating(field) => self.recreating.push((key, field)),
            Applied::Leaving => self.leaving.push(key),
            Applied::Taken(holder) => self.taken.push((key, holder)),
            Applied::Stale => self.stale.push(key),
            Applied::Failed(error) => self.failed.push((key, error)),
        }
    }
}

/// Whose plan is executed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// Name of the provider.
    pub(super) provider: &'a str,
    /// Name of the host's finalizer.
    pub(super) finalizer: &'a str,
    /// The parent.
    pub(super) parent: &'a Observed,
}

/// Names an effect within an execution.
pub(super) type Slot = usize;

/// A plan on its way.
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
    AddFinalizer,
    /// The applies of one wave, the first of which has this number in the plan.
    Wave {
        first: usize,
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

/// One child of a wave, and what became of it once it is through.
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
        let effects = match execution.plan.finalizer {
            FinalizerStep::Add => vec![(0, set_finalizer(true, target))],
            FinalizerStep::Keep | FinalizerStep::Remove => execution.wave(0, target),
        };
        (execution, effects)
    }

    /// What became of it, once nothing is under way.
    pub(super) fn finished(&mut self) -> Option<(Plan, Executed)> {
        matches!(self.stage, Stage::Done).then(|| (std::mem::take(&mut self.plan), std::mem::take(&mut self.executed)))
    }

    /// Takes a reply; what may be sent now.
    pub(super) fn reply(&mut self, slot: Slot, reply: Reply, target: Target<'_>) -> Vec<(Slot, Effect)> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::AddFinalizer => {
                self.finalizer_set(true, reply, target);
                self.wave(0, target)
            }
            Stage::Wave { first, children } => self.child(slot, reply, first, children, target),
            Stage::Release { number, tries, step } => self.released(number, tries, step, reply, target),
            Stage::Delete { number } => {
                if let Some(delete) = self.plan.deletes.get(number) {
                    match reply.done() {
                        Ok(()) | Err(ApiError::NotFound(_)) => self.executed.deleted.push(delete.clone()),
                        Err(error) => self.executed.take(&delete.key, Err(error)),
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

    fn finalizer_set(&mut self, on: bool, reply: Reply, target: Target<'_>) {
        match reply.object() {
            Ok(parent) => {
                self.executed.let_go = !on && target.parent.deleting;
                self.executed.parent = Some(parent);
            }
            Err(error) => self.executed.take(&target.parent.key, Err(error)),
        }
    }

    /// Begins the wave whose first apply has this number.
    fn wave(&mut self, first: usize, target: Target<'_>) -> Vec<(Slot, Effect)> {
        if !self.executed.is_complete() {
            return self.end();
        }
        let Some(wave) = self.plan.wave_from(first) else {
            return if self.plan.taken.is_empty() { self.release(0, target) } else { self.end() };
        };
        let begun =
            wave.iter().map(|apply| ChildWrite::begin(apply.clone(), self.children.get(&apply.intent.key).cloned()));
        let (children, effects): (Vec<ChildWrite>, Vec<Effect>) = begun.unzip();
        let children = children.into_iter().map(|child| Writing { child, applied: None }).collect();
        self.stage = Stage::Wave { first, children };
        effects.into_iter().enumerate().collect()
    }

    /// A reply about one child of a wave.
    fn child(
        &mut self,
        slot: Slot,
        reply: Reply,
        first: usize,
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
            self.stage = Stage::Wave { first, children };
            return effects;
        }
        // In the order of the answer, whatever the order of the replies.
        let next = first + children.len();
        for Writing { child, applied } in children {
            if let Some(applied) = applied {
                self.executed.take_child(&child, applied);
            }
        }
        self.wave(next, target)
    }

    fn release(&mut self, number: usize, target: Target<'_>) -> Vec<(Slot, Effect)> {
        match self.plan.releases.get(number).cloned() {
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
                    let (kind, key) = (kind_of(&release.child), release.child.key.clone());
                    self.stage = Stage::Release { number, tries, step: Releasing::Read(release) };
                    return vec![(0, Effect::Get { kind, key })];
                }
                result => (release.child.key.clone(), result),
            },
            Releasing::Read(release) => match reply.object() {
                Ok(live)
                    if live.uid == release.child.uid
                        && !live.deleting
                        && is_ours_to_end(&live, target.parent, target.provider) =>
                {
                    return self.send_release(number, tries + 1, Release { child: Arc::new(live), ..release });
                }
                // Whatever it is now, it is not held any more.
                Ok(_) => (release.child.key.clone(), Ok(())),
                Err(error) => (release.child.key.clone(), Err(error)),
            },
        };
        self.executed.take(&key, result);
        self.release(number + 1, target)
    }

    fn delete(&mut self, number: usize, target: Target<'_>) -> Vec<(Slot, Effect)> {
        if let Some(delete) = self.plan.deletes.get(number).cloned() {
            self.stage = Stage::Delete { number };
            return vec![(0, Effect::Delete { delete, propagation: Propagation::Background })];
        }
        if self.plan.finalizer == FinalizerStep::Remove && self.executed.is_complete() {
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

fn kind_of(object: &Observed) -> Kind {
    Kind::from_api_version(&object.api_version, &object.key.kind)
}
