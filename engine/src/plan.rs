//! The plan: the difference between the desired and the observed children, as a value that can be printed, compared and
//! executed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bartizan_contract::Kind;
use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL};
use serde_json::json;

use crate::intent::Intent;
use crate::object::{Hash, ObjectKey, Observed};
use crate::ownership::{is_ours, may_prune};

/// The precondition of a write, so that a stale cache or a deposed leader does no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// The name is free: an apply with resourceVersion "1" creates and never updates.
    CreateOnly,
    /// The object still has this UID and resource version.
    Exact {
        /// UID in the snapshot.
        uid: String,
        /// Resource version in the snapshot.
        resource_version: String,
    },
}

impl Fence {
    /// The object is still in the state that was observed.
    #[must_use]
    pub fn unchanged(seen: &Observed) -> Self {
        Self::Exact { uid: seen.uid.clone(), resource_version: seen.resource_version.clone() }
    }
}

/// Why a child is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyReason {
    /// It does not exist.
    Absent,
    /// The desired state differs from what was last written.
    IntentChanged,
    /// Another writer changed it, or may have.
    Drifted,
}

/// One child to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Apply {
    /// Its desired state.
    pub intent: Intent,
    /// Precondition of the write.
    pub fence: Fence,
    /// Why.
    pub reason: ApplyReason,
}

impl Apply {
    /// The apply of the labels alone by which the child belongs to its parent. It carries no hash of an intent, so that what else is wanted
    /// is applied afterwards.
    #[must_use]
    pub fn of_labels(&self) -> Self {
        let wanted = |pointer: &str| self.intent.object.pointer(pointer).cloned().unwrap_or_default();
        let mut labels = wanted("/metadata/labels");
        if let Some(labels) = labels.as_object_mut() {
            labels.retain(|name, _| name == PROVIDER_LABEL || name == OWNER_UID_LABEL);
        }
        let mut metadata = json!({"name": wanted("/metadata/name"), "labels": labels});
        if let Some(namespace) = self.intent.object.pointer("/metadata/namespace") {
            metadata["namespace"] = namespace.clone();
        }
        let object = json!({"apiVersion": wanted("/apiVersion"), "kind": wanted("/kind"), "metadata": metadata});
        Self { intent: Intent { object, generate: Vec::new(), ..self.intent.clone() }, ..self.clone() }
    }
}

/// One child to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Key of the child.
    pub key: ObjectKey,
    /// The kind at the version that it was read at.
    pub kind: Kind,
    /// Precondition: its UID.
    pub uid: String,
    /// Precondition: its resource version.
    pub resource_version: String,
    /// Wave that it was applied in.
    pub wave: u32,
}

impl Delete {
    /// The delete of a child in the state that was observed.
    #[must_use]
    pub fn of(child: &Observed) -> Self {
        Self {
            key: child.key.clone(),
            kind: child.kind(),
            uid: child.uid.clone(),
            resource_version: child.resource_version.clone(),
            wave: child.marks.wave,
        }
    }
}

/// One child to release: it stays, without the host's labels and owner reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The child in the state in which it is released.
    pub child: Arc<Observed>,
    /// Kind and name of the parent that may adopt it later.
    pub retained_for: String,
}

/// What to do with the host's finalizer on the parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FinalizerStep {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Add it before anything else is written.
    Add,
    /// Remove it once everything else is done.
    Remove,
}

/// Everything that one reconcile does to the parent's finalizer and children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to do with the parent's finalizer.
    pub finalizer: FinalizerStep,
    /// Children to apply, wave by wave, within a wave in the order of the answer.
    pub applies: Vec<Arc<Apply>>,
    /// Children to delete.
    pub deletes: Vec<Delete>,
    /// Children to release.
    pub releases: Vec<Release>,
    /// Children whose deletion must complete before they can be recreated.
    pub waiting: Vec<ObjectKey>,
    /// Names of children that are taken by an object of another owner.
    pub taken: Vec<ObjectKey>,
    /// The lowest wave with a desired child that cannot be applied now: its name is taken, it is being deleted, its last write is
    /// unsure, or it uses such a child. Later waves are not applied then, and nothing is deleted or released.
    pub blocked: Option<u32>,
    /// Children to write that have no owner reference, and should have or had one. The garbage collector removes it where a parent is
    /// deleted with `--cascade=orphan`: only a live read of the parent shows that this is not the case.
    pub orphans: Vec<ObjectKey>,
    /// Children that are no longer desired and are being deleted, with their waves. Earlier waves are not deleted yet.
    pub leaving: Vec<(ObjectKey, u32)>,
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

    /// The applies of each wave that is not blocked, in order. Within a wave, a child comes after the children that it uses.
    pub fn waves(&self) -> impl Iterator<Item = &[Arc<Apply>]> {
        let is_due = |apply: &Arc<Apply>| self.blocked.is_none_or(|blocked| apply.intent.wave <= blocked);
        let waves = self.applies.chunk_by(|left, right| step(left) == step(right));
        waves.take_while(move |wave| wave.first().is_some_and(is_due))
    }

    /// The releases that are not blocked.
    #[must_use]
    pub fn due_releases(&self) -> &[Release] {
        if self.blocked.is_none() { &self.releases } else { &[] }
    }

    /// The deletes that are not blocked: those of the last wave that still has a child.
    #[must_use]
    pub fn due_deletes(&self) -> &[Delete] {
        let leaving = self.leaving.iter().map(|(_, wave)| *wave).max();
        let last = self.deletes.first().map(|delete| delete.wave).max(leaving);
        let due = self.deletes.iter().take_while(|delete| Some(delete.wave) == last).count();
        if self.blocked.is_none() { &self.deletes[..due] } else { &[] }
    }

    /// The child whose deletion must complete before those of earlier waves are deleted.
    #[must_use]
    pub fn held_up_by(&self) -> Option<&ObjectKey> {
        let is_held_up = self.blocked.is_none() && !self.deletes.is_empty() && self.due_deletes().is_empty();
        let last = self.leaving.iter().max_by_key(|(_, wave)| *wave);
        last.filter(|_| is_held_up).map(|(key, _)| key)
    }

    /// Whether any child is written now.
    #[must_use]
    pub fn writes_children(&self) -> bool {
        self.waves().next().is_some() || !self.due_releases().is_empty() || !self.due_deletes().is_empty()
    }
}

/// When a child is applied: in its wave, and within that once what it uses is known to belong to the parent.
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
        for apply in self.waves().flatten() {
            write!(f, "{separator}apply {} ({:?})", apply.intent.key, apply.reason)?;
            separator = ", ";
        }
        for delete in self.due_deletes() {
            write!(f, "{separator}delete {}", delete.key)?;
            separator = ", ";
        }
        for release in self.due_releases() {
            write!(f, "{separator}release {}", release.child.key)?;
            separator = ", ";
        }
        for key in &self.waiting {
            write!(f, "{separator}wait for {key} to be deleted")?;
            separator = ", ";
        }
        for key in &self.taken {
            write!(f, "{separator}{key} is not owned by this parent")?;
            separator = ", ";
        }
        if let Some(key) = self.held_up_by() {
            write!(f, "{separator}wait for {key} to be deleted")?;
            separator = ", ";
        }
        if self.finalizer == FinalizerStep::Remove {
            write!(f, "{separator}remove the finalizer")?;
        }
        Ok(())
    }
}

/// What the host remembers of its last writes for one parent. It is lost in a restart; the intent annotation of the child and
/// the times in its managed fields replace it then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    written: BTreeMap<ObjectKey, (String, Hash)>,
}

impl Memory {
    /// Records that an apply of the intent with this hash returned an object with this digest.
    pub fn remember(&mut self, key: ObjectKey, intent: String, digest: Hash) {
        self.written.insert(key, (intent, digest));
    }

    /// Whether a child was last written in this state, and with which intent; `None` if it was not written.
    #[must_use]
    pub fn last(&self, key: &ObjectKey, digest: &Hash) -> Option<(&str, bool)> {
        self.written.get(key).map(|(intent, written)| (intent.as_str(), written == digest))
    }

    /// Keeps only these children.
    pub fn retain(&mut self, keys: &BTreeSet<ObjectKey>) {
        self.written.retain(|key, _| keys.contains(key));
    }
}

/// The input of [`plan`].
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// Name of the provider.
    pub provider: &'a str,
    /// The parent.
    pub parent: &'a Observed,
    /// The desired children.
    pub intents: &'a [Intent],
    /// The observed children.
    pub children: &'a [Arc<Observed>],
    /// Children that are neither applied nor pruned.
    pub keep: &'a BTreeSet<ObjectKey>,
    /// What the host last wrote.
    pub memory: &'a Memory,
    /// What to do with the parent's finalizer.
    pub finalizer: FinalizerStep,
    /// Children of which it is not known whether the last write took effect: they are left alone.
    pub unsure: &'a BTreeSet<ObjectKey>,
    /// Children that are not repaired yet, since another writer keeps changing them.
    pub resting: &'a BTreeSet<ObjectKey>,
}

/// Compares the desired with the observed children.
#[must_use]
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let mut plan = Plan { finalizer: input.finalizer, ..Plan::default() };
    let mut has_resting = false;
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
                let reason = difference(intent, child, input.memory);
                if reason == Some(ApplyReason::Drifted) && input.resting.contains(&intent.key) {
                    has_resting = true;
                } else if let Some(reason) = reason {
                    if intent.is_collected() && child.controller_uid.is_none() {
                        plan.orphans.push(intent.key.clone());
                    }
                    let fence = Fence::unchanged(child);
                    plan.applies.push(Arc::new(Apply { intent: intent.clone(), fence, reason }));
                }
            }
        }
    }
    // Pods must not use what does not belong to the parent.
    let not_owned: BTreeSet<&ObjectKey> = plan.taken.iter().chain(&plan.waiting).chain(input.unsure).collect();
    let is_blocked =
        |intent: &Intent| not_owned.contains(&intent.key) || intent.uses.iter().any(|used| not_owned.contains(used));
    plan.applies.retain(|apply| !is_blocked(&apply.intent));
    plan.blocked = input.intents.iter().filter(|intent| is_blocked(intent)).map(|intent| intent.wave).min();
    // An unsure child may not be desired, and one that rests is not as desired: nothing is deleted.
    if plan.blocked.is_none() && (has_resting || !input.unsure.is_empty()) {
        plan.blocked = Some(u32::MAX);
    }
    plan.applies.sort_by_key(|apply| step(apply));
    let desired: BTreeSet<&ObjectKey> = input.intents.iter().map(|intent| &intent.key).collect();
    let surplus =
        input.children.iter().filter(|child| !desired.contains(&child.key) && !input.keep.contains(&child.key));
    for child in surplus.filter(|child| may_prune(child, input.parent, input.provider)) {
        if child.deleting {
            plan.leaving.push((child.key.clone(), child.marks.wave));
        } else if stays(child, input.memory) {
            plan.releases.push(release(child, input.parent));
        } else {
            if child.controller_uid.is_none() && child.marks.owner_uid.is_none() {
                plan.orphans.push(child.key.clone());
            }
            plan.deletes.push(Delete::of(child));
        }
    }
    // Waves are pruned in reverse order.
    plan.deletes.sort_by_key(|delete| std::cmp::Reverse(delete.wave));
    plan.orphans.sort();
    plan
}

/// What remains to be done for a parent that is being deleted, once its provider has finalized it: retained children are
/// released, the rest is deleted in reverse order of waves, each wave once the later one is gone. `children` must have been
/// listed live: the finalizer is removed when there are none.
#[must_use]
pub fn teardown(provider: &str, parent: &Observed, children: &[Arc<Observed>], memory: &Memory) -> Plan {
    let mut plan = Plan::default();
    let ours: Vec<&Arc<Observed>> = children.iter().filter(|child| may_prune(child, parent, provider)).collect();
    let (retained, doomed): (Vec<_>, Vec<_>) = ours.into_iter().partition(|child| stays(child, memory));
    plan.releases = retained.into_iter().filter(|child| !child.deleting).map(|child| release(child, parent)).collect();
    let Some(last) = doomed.iter().map(|child| child.marks.wave).max() else {
        plan.finalizer = FinalizerStep::Remove;
        return plan;
    };
    for child in doomed.into_iter().filter(|child| child.marks.wave == last) {
        if child.deleting {
            plan.waiting.push(child.key.clone());
        } else {
            plan.deletes.push(Delete::of(child));
        }
    }
    plan
}

/// Whether a child is released and not deleted: it is retained, or it was adopted and never applied, so that it is as another parent or
/// provider left it, and its mark as retained, if it had one, is off.
fn stays(child: &Observed, memory: &Memory) -> bool {
    child.marks.retained_for.is_some() || child.intent.is_none() && !memory.written.contains_key(&child.key)
}

/// Releases all children, and the parent: it was deleted with orphaning, or abandoned.
#[must_use]
pub fn release_all(provider: &str, parent: &Observed, children: &[Arc<Observed>], finalizer: FinalizerStep) -> Plan {
    release_those(parent, children, finalizer, |child| may_prune(child, parent, provider))
}

/// Releases all children of a parent that is no longer the provider's. Also those whose labels somebody restored by hand: nothing is
/// deleted by it.
#[must_use]
pub fn let_go(provider: &str, parent: &Observed, children: &[Arc<Observed>], finalizer: FinalizerStep) -> Plan {
    release_those(parent, children, finalizer, |child| is_ours(child, parent, provider))
}

fn release_those(
    parent: &Observed,
    children: &[Arc<Observed>],
    finalizer: FinalizerStep,
    wanted: impl Fn(&Observed) -> bool,
) -> Plan {
    let released = children.iter().filter(|child| !child.deleting && wanted(child));
    Plan { finalizer, releases: released.map(|child| release(child, parent)).collect(), ..Plan::default() }
}

/// The parent's namespace is being deleted with everything in it: the finalizer is removed without waiting for the provider.
#[must_use]
pub fn remove_finalizer() -> Plan {
    Plan { finalizer: FinalizerStep::Remove, ..Plan::default() }
}

fn release(child: &Arc<Observed>, parent: &Observed) -> Release {
    Release { child: child.clone(), retained_for: parent.key.title() }
}

/// Why a child must be applied again; `None` if it matches its intent.
fn difference(intent: &Intent, child: &Observed, memory: &Memory) -> Option<ApplyReason> {
    if !child.labelled_by_host {
        // Labels that another writer removed and restored look the same, and are no longer owned by the host.
        return Some(ApplyReason::Drifted);
    }
    match memory.written.get(&intent.key) {
        Some((written, _)) if *written != intent.hash => Some(ApplyReason::IntentChanged),
        Some((_, digest)) => (*digest != child.digest).then_some(ApplyReason::Drifted),
        None if child.intent.as_deref() != Some(intent.hash.as_str()) => Some(ApplyReason::IntentChanged),
        None => child.written_by_others_since.then_some(ApplyReason::Drifted),
    }
}

#[cfg(test)]
pub(crate) mod tests;
