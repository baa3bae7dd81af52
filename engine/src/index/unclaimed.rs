//! Objects that are marked as children of a parent that is not known: they may be forged, or the parent may return. Only their keys are
//! kept, and not more of them than a fixed number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bartizan_contract::Kind;

use crate::object::{ObjectKey, ParentUid};

/// Most keys that are kept.
const MOST: usize = 10_000;

/// The keys of objects whose parent is not known.
#[derive(Clone, Debug, Default)]
pub(super) struct Unclaimed {
    by_parent: BTreeMap<ParentUid, BTreeSet<ObjectKey>>,
    parent_of: HashMap<ObjectKey, ParentUid>,
    /// There were more than are kept: of no parent is it known that it has none.
    overflowed: bool,
}

impl Unclaimed {
    /// Adds an object.
    pub(super) fn add(&mut self, parent: ParentUid, key: ObjectKey) {
        if self.parent_of.len() >= MOST {
            self.overflowed = true;
            return;
        }
        self.by_parent.entry(parent.clone()).or_default().insert(key.clone());
        self.parent_of.insert(key, parent);
    }

    /// Removes an object.
    pub(super) fn remove(&mut self, key: &ObjectKey) {
        let Some(parent) = self.parent_of.remove(key) else { return };
        if let Some(keys) = self.by_parent.get_mut(&parent) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_parent.remove(&parent);
            }
        }
    }

    /// Removes the objects that are not to be kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&ObjectKey) -> bool) {
        let gone: Vec<ObjectKey> = self.parent_of.keys().filter(|key| !is_kept(key)).cloned().collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    /// Whether a parent, which is known now, may have some: they are removed here.
    pub(super) fn claim(&mut self, parent: &ParentUid) -> bool {
        let keys = self.by_parent.remove(parent).unwrap_or_default();
        for key in &keys {
            self.parent_of.remove(key);
        }
        self.overflowed || !keys.is_empty()
    }

    /// Whether there may be any of a kind.
    pub(super) fn has_any(&self, kind: &Kind) -> bool {
        self.overflowed || self.parent_of.keys().any(|key| key.is_of(kind))
    }

    /// Whether a parent may have some.
    pub(super) fn has(&self, parent_uid: &str) -> bool {
        self.by_parent.contains_key(parent_uid)
    }
}
