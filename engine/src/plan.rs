//! The plan: what differs between what should be and what is, as a value that can be printed, compared and executed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bartizan_contract::Kind;

use crate::gate::Intent;
use crate::object::{Hash, ObjectKey, Observed};

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
}

/// Everything that one reconcile does to children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Children to apply, in the order of the answer.
    pub applies: Vec<Apply>,
    /// Children to prune.
    pub deletes: Vec<Delete>,
    /// Children that are being deleted and must be gone before they can be made again.
    pub waiting: Vec<ObjectKey>,
    /// Names that hold something that is not this parent's.
    pub taken: Vec<ObjectKey>,
}

impl Plan {
    /// Whether there is nothing to do and nothing to wait for.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.applies.is_empty() && self.deletes.is_empty() && self.waiting.is_empty() && self.taken.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_settled() {
            return f.write_str("nothing to do");
        }
        let mut separator = "";
        for apply in &self.applies {
            write!(f, "{separator}apply {} ({:?})", apply.intent.key, apply.reason)?;
            separator = ", ";
        }
        for delete in &self.deletes {
            write!(f, "{separator}delete {}", delete.key)?;
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
    /// What the host last wrote.
    pub memory: &'a Memory,
}

/// Compares what should be with what is.
#[must_use]
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let mut plan = Plan::default();
    let existing: BTreeMap<&ObjectKey, &Arc<Observed>> =
        input.children.iter().map(|child| (&child.key, child)).collect();
    for intent in input.intents {
        match existing.get(&intent.key) {
            None => plan.applies.push(Apply {
                intent: intent.clone(),
                fence: Fence::CreateOnly,
                reason: ApplyReason::Absent,
            }),
            Some(child) if !is_ours(child, input) => plan.taken.push(intent.key.clone()),
            Some(child) if child.deleting => plan.waiting.push(intent.key.clone()),
            Some(child) => {
                if let Some(reason) = difference(intent, child, input.memory) {
                    plan.applies.push(Apply { intent: intent.clone(), fence: fence(child), reason });
                }
            }
        }
    }
    let meant: BTreeSet<&ObjectKey> = input.intents.iter().map(|intent| &intent.key).collect();
    for child in input.children {
        if !meant.contains(&child.key) && !child.deleting && is_ours(child, input) {
            plan.deletes.push(Delete {
                key: child.key.clone(),
                kind: Kind::from_api_version(&child.api_version, &child.key.kind),
                uid: child.uid.clone(),
                resource_version: child.resource_version.clone(),
            });
        }
    }
    plan
}

/// Ours: this parent's labels, no other controller, and an entry of our field manager (a forged label has none).
fn is_ours(child: &Observed, input: &PlanInput<'_>) -> bool {
    child.is_child_of(&input.parent.uid, input.provider)
        && child.applied_by_host
        && child.controller_uid.as_deref().is_none_or(|uid| uid == input.parent.uid)
}

/// Why a child must be applied again; `None` if it is as meant.
fn difference(intent: &Intent, child: &Observed, memory: &Memory) -> Option<ApplyReason> {
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
#[path = "plan_tests.rs"]
mod tests;
