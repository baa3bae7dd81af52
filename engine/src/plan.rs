//! The plan: what differs between what should be and what is, as a value that can be printed, compared and executed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bartizan_contract::Kind;

use crate::intent::Intent;
use crate::object::{Hash, ObjectKey, Observed};
use crate::ownership::{is_ours, is_ours_to_end};

/// What must still be true when a write arrives, so that a stale cache or a returned leader does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// The name is free: an apply with resourceVersion "1" creates and never updates.
    CreateOnly,
    /// It is still the same object.
    Uid(String),
    /// It is still the same object in the same state: for kinds where a stale write loses data.
    Exact {
        /// UID of the snapshot.
        uid: String,
        /// Resource version of the snapshot.
        resource_version: String,
    },
}

/// Why a child is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyReason {
    /// It does not exist.
    Absent,
    /// The provider means something else than what was last written.
    IntentChanged,
    /// Somebody else changed it, or may have.
    Drifted,
}

/// One child to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Apply {
    /// What it should be.
    pub intent: Intent,
    /// What must still be true.
    pub fence: Fence,
    /// Why.
    pub reason: ApplyReason,
}

/// One child to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Identity.
    pub key: ObjectKey,
    /// The kind at the version that it was read at.
    pub kind: Kind,
    /// UID that must still be its own.
    pub uid: String,
    /// Resource version that must still be its own.
    pub resource_version: String,
    /// Wave that it was applied in.
    pub wave: u32,
}

/// One child to let go of: it stays, without the host's labels and owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The child, at the state in which it is released.
    pub child: Arc<Observed>,
    /// For whom it is kept: a parent of this kind and name may have it again.
    pub retained_for: String,
}

/// What becomes of the host's finalizer on the parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinalizerStep {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is put on before anything else is written.
    Add,
    /// It is taken off once everything else is done.
    Remove,
}

/// Everything that one reconcile does to children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What becomes of the parent's finalizer.
    pub finalizer: FinalizerStep,
    /// Children to apply, wave by wave, within a wave in the order of the answer.
    pub applies: Vec<Arc<Apply>>,
    /// Children to delete.
    pub deletes: Vec<Delete>,
    /// Children to let go of.
    pub releases: Vec<Release>,
    /// Children that are being deleted and must be gone before they can be made again.
    pub waiting: Vec<ObjectKey>,
    /// Names that hold something that is not this parent's.
    pub taken: Vec<ObjectKey>,
}

impl Plan {
    /// Whether there is nothing to do and nothing to wait for.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.finalizer == FinalizerStep::Keep
            && self.applies.is_empty()
            && self.deletes.is_empty()
            && self.releases.is_empty()
            && self.waiting.is_empty()
            && self.taken.is_empty()
    }

    /// The applies of each wave, in order. What uses others of its own wave comes after them.
    pub fn waves(&self) -> impl Iterator<Item = &[Arc<Apply>]> {
        self.applies.chunk_by(|left, right| step(left) == step(right))
    }

    /// The wave whose first apply has this number; `None` if there are no more.
    #[must_use]
    pub fn wave_from(&self, first: usize) -> Option<&[Arc<Apply>]> {
        let rest = self.applies.get(first..)?;
        rest.chunk_by(|left, right| step(left) == step(right)).next()
    }
}

/// When a child is applied: in its wave, and there once what it uses is known to be the parent's own.
fn step(apply: &Apply) -> (u32, bool) {
    (apply.intent.wave, !apply.intent.uses.is_empty())
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_settled() {
            return f.write_str("nothing to do");
        }
        let mut separator = "";
        if self.finalizer == FinalizerStep::Add {
            f.write_str("add the finalizer")?;
            separator = ", ";
        }
        for apply in &self.applies {
            write!(f, "{separator}apply {} ({:?})", apply.intent.key, apply.reason)?;
            separator = ", ";
        }
        for delete in &self.deletes {
            write!(f, "{separator}delete {}", delete.key)?;
            separator = ", ";
        }
        for release in &self.releases {
            write!(f, "{separator}release {}", release.child.key)?;
            separator = ", ";
        }
        for key in &self.waiting {
            write!(f, "{separator}wait until {key} is gone")?;
            separator = ", ";
        }
        for key in &self.taken {
            write!(f, "{separator}{key} is not ours")?;
            separator = ", ";
        }
        if self.finalizer == FinalizerStep::Remove {
            write!(f, "{separator}remove the finalizer")?;
        }
        Ok(())
    }
}

/// What the host remembers of its own last writes for one parent. Lost at a restart, when the annotation on the child
/// and the times in its managed fields stand in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    written: BTreeMap<ObjectKey, (String, Hash)>,
}

impl Memory {
    /// The API server answered an apply of the intent with this hash with an object of this digest.
    pub fn remember(&mut self, key: ObjectKey, intent: String, digest: Hash) {
        self.written.insert(key, (intent, digest));
    }

    /// Keeps only what is still meant.
    pub fn retain(&mut self, keys: &BTreeSet<ObjectKey>) {
        self.written.retain(|key, _| keys.contains(key));
    }
}

/// What a plan is made of.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// Name of the provider.
    pub provider: &'a str,
    /// The parent.
    pub parent: &'a Observed,
    /// The children that should exist.
    pub intents: &'a [Intent],
    /// The children that exist.
    pub children: &'a [Arc<Observed>],
    /// Children that are neither applied nor pruned.
    pub keep: &'a BTreeSet<ObjectKey>,
    /// What the host last wrote.
    pub memory: &'a Memory,
    /// What becomes of the parent's finalizer.
    pub finalizer: FinalizerStep,
}

/// Compares what should be with what is.
#[must_use]
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let mut plan = Plan { finalizer: input.finalizer, ..Plan::default() };
    let existing: BTreeMap<&ObjectKey, &Arc<Observed>> =
        input.children.iter().map(|child| (&child.key, child)).collect();
    for intent in input.intents {
        match existing.get(&intent.key) {
            None => plan.applies.push(Arc::new(Apply {
                intent: intent.clone(),
                fence: Fence::CreateOnly,
                reason: ApplyReason::Absent,
            })),
            Some(child) if !is_ours(child, input.parent, input.provider) => plan.taken.push(intent.key.clone()),
            Some(child) if child.deleting => plan.waiting.push(intent.key.clone()),
            Some(child) => {
                if let Some(reason) = difference(intent, child, input.memory) {
                    plan.applies.push(Arc::new(Apply { intent: intent.clone(), fence: fence(child), reason }));
                }
            }
        }
    }
    // What is not the parent's own is not for its pods to use.
    let not_own: BTreeSet<&ObjectKey> = plan.taken.iter().chain(&plan.waiting).collect();
    plan.applies.retain(|apply| apply.intent.uses.iter().all(|used| !not_own.contains(used)));
    plan.applies.sort_by_key(|apply| step(apply));
    let meant: BTreeSet<&ObjectKey> = input.intents.iter().map(|intent| &intent.key).collect();
    let surplus = input.children.iter().filter(|child| !meant.contains(&child.key) && !input.keep.contains(&child.key));
    for child in surplus.filter(|child| !child.deleting && is_ours_to_end(child, input.parent, input.provider)) {
        if child.marks.retained_for.is_some() {
            plan.releases.push(release(child, input.parent));
        } else {
            plan.deletes.push(delete(child));
        }
    }
    // What came last goes first.
    plan.deletes.sort_by_key(|delete| std::cmp::Reverse(delete.wave));
    plan
}

/// What is left to do before a parent goes whose provider has finished: what is to be retained is released, the rest is
/// deleted, the last wave first, each once the one after it is gone. `children` must have been read live: the finalizer goes
/// when there are none.
#[must_use]
pub fn teardown(provider: &str, parent: &Observed, children: &[Arc<Observed>]) -> Plan {
    let mut plan = Plan::default();
    let ours: Vec<&Arc<Observed>> = children.iter().filter(|child| is_ours_to_end(child, parent, provider)).collect();
    let (retained, doomed): (Vec<_>, Vec<_>) = ours.into_iter().partition(|child| child.marks.retained_for.is_some());
    plan.releases = retained.into_iter().filter(|child| !child.deleting).map(|child| release(child, parent)).collect();
    let Some(last) = doomed.iter().map(|child| child.marks.wave).max() else {
        plan.finalizer = FinalizerStep::Remove;
        return plan;
    };
    for child in doomed.into_iter().filter(|child| child.marks.wave == last) {
        if child.deleting {
            plan.waiting.push(child.key.clone());
        } else {
            plan.deletes.push(delete(child));
        }
    }
    plan
}

/// Lets go of all children and of the parent itself: it was orphaned or abandoned, or its namespace goes with all that is in it.
#[must_use]
pub fn abandon(provider: &str, parent: &Observed, children: &[Arc<Observed>], finalizer: FinalizerStep) -> Plan {
    let ours = children.iter().filter(|child| !child.deleting && is_ours_to_end(child, parent, provider));
    Plan { finalizer, releases: ours.map(|child| release(child, parent)).collect(), ..Plan::default() }
}

/// The parent's namespace goes, and takes everything along: nobody waits for its provider.
#[must_use]
pub fn leave_with_namespace() -> Plan {
    Plan { finalizer: FinalizerStep::Remove, ..Plan::default() }
}

fn delete(child: &Observed) -> Delete {
    Delete {
        key: child.key.clone(),
        kind: Kind::from_api_version(&child.api_version, &child.key.kind),
        uid: child.uid.clone(),
        resource_version: child.resource_version.clone(),
        wave: child.marks.wave,
    }
}

fn release(child: &Arc<Observed>, parent: &Observed) -> Release {
    Release { child: child.clone(), retained_for: parent.key.title() }
}

/// Why a child must be applied again; `None` if it is as meant.
fn difference(intent: &Intent, child: &Observed, memory: &Memory) -> Option<ApplyReason> {
    if !child.labelled_by_host {
        // Labels that somebody took off and put back look as before, and are no longer the host's.
        return Some(ApplyReason::Drifted);
    }
    match memory.written.get(&intent.key) {
        Some((written, _)) if *written != intent.hash => Some(ApplyReason::IntentChanged),
        Some((_, digest)) => (*digest != child.digest).then_some(ApplyReason::Drifted),
        None if child.intent.as_deref() != Some(intent.hash.as_str()) => Some(ApplyReason::IntentChanged),
        None => child.written_by_others_since.then_some(ApplyReason::Drifted),
    }
}

/// Kinds where a write on top of a state that nobody saw loses data.
fn fence(child: &Observed) -> Fence {
    let stateful = matches!(
        (&*child.key.group, &*child.key.kind),
        ("apps", "StatefulSet") | ("batch", "Job") | ("", "PersistentVolumeClaim" | "Secret")
    );
    if stateful {
        Fence::Exact { uid: child.uid.clone(), resource_version: child.resource_version.clone() }
    } else {
        Fence::Uid(child.uid.clone())
    }
}

#[cfg(test)]
pub(crate) mod tests;
