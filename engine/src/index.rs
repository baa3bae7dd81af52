//! What is known of the cluster for one provider: its parents by UID, their children by owner UID. Fed by watches and by
//! the answers to the host's own writes; whoever is newer wins.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bartizan_contract::Kind;

use crate::object::{ObjectKey, Observed};

/// UID of a parent.
pub type ParentUid = Arc<str>;

/// Parents whose state changed with an observation.
pub type Touched = BTreeSet<ParentUid>;

/// Scope of one watch: a kind, in all namespaces or in one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The kind that is watched.
    pub kind: Kind,
    /// `None`: all namespaces, or a cluster-scoped kind.
    pub namespace: Option<String>,
}

impl Scope {
    fn covers(&self, key: &ObjectKey) -> bool {
        key.is_of(&self.kind)
            && self.namespace.as_deref().is_none_or(|namespace| key.namespace.as_deref() == Some(namespace))
    }
}

/// The observed objects of one provider.
#[derive(Debug, Default)]
pub struct Index {
    objects: HashMap<ObjectKey, Arc<Observed>>,
    parent_kinds: Vec<Kind>,
    parents: HashMap<ParentUid, ObjectKey>,
    children: HashMap<ParentUid, BTreeSet<ObjectKey>>,
    expected: BTreeSet<Scope>,
    synced: BTreeSet<Scope>,
    relists: HashMap<Scope, HashSet<ObjectKey>>,
    /// UID and resource version of what was deleted while writes were under way: their answers may be older than the end.
    tombstones: HashMap<ObjectKey, (String, String)>,
    provider: String,
}

impl Index {
    /// An empty index for a provider, its parents' kinds, and the scopes that must have been listed before anything is
    /// decided.
    #[must_use]
    pub fn new(provider: &str, parent_kinds: Vec<Kind>, expected: BTreeSet<Scope>) -> Self {
        Self { provider: provider.to_owned(), parent_kinds, expected, ..Self::default() }
    }

    /// Whether every expected scope was listed once. Before, absence means nothing (invariant 4).
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced.len() == self.expected.len()
    }

    /// The scopes that have not been listed yet.
    pub fn unsynced(&self) -> impl Iterator<Item = &Scope> {
        self.expected.difference(&self.synced)
    }

    /// A list of this scope begins: what it does not mention is gone at its end.
    pub fn begin_relist(&mut self, scope: &Scope) {
        self.relists.insert(scope.clone(), HashSet::new());
    }

    /// A list of this scope is complete. Objects of the scope that it did not mention, and that nobody has touched since it
    /// began, are dropped.
    pub fn finish_relist(&mut self, scope: &Scope) -> Touched {
        let Some(seen) = self.relists.remove(scope) else { return Touched::new() };
        let gone: Vec<ObjectKey> =
            self.objects.keys().filter(|key| scope.covers(key) && !seen.contains(*key)).cloned().collect();
        let touched = gone.iter().flat_map(|key| self.forget(key)).collect();
        self.synced.insert(scope.clone());
        touched
    }

    /// An object was seen: by a watch, or as the answer to a write. An older state than the known one changes nothing.
    pub fn apply(&mut self, object: Observed) -> Touched {
        for (scope, seen) in &mut self.relists {
            if scope.covers(&object.key) {
                seen.insert(object.key.clone());
            }
        }
        let dead = self.tombstones.get(&object.key).is_some_and(|(uid, version)| {
            *uid == object.uid && (*version == object.resource_version || !object.is_newer_than(version))
        });
        let known = self.objects.get(&object.key);
        if dead {
            return Touched::new();
        }
        if known.is_some_and(|known| {
            known.uid == object.uid
                && (known.resource_version == object.resource_version || known.is_newer_than(&object.resource_version))
        }) {
            return Touched::new();
        }
        let mut touched = self.unlink(&object.key);
        let key = object.key.clone();
        if self.is_parent(&key) {
            let uid: ParentUid = object.uid.as_str().into();
            self.parents.insert(uid.clone(), key.clone());
            touched.insert(uid);
        } else if object.provider.as_deref() == Some(self.provider.as_str())
            && let Some(owner) = object.owner_uid.as_deref()
        {
            let owner: ParentUid = owner.into();
            self.children.entry(owner.clone()).or_default().insert(key.clone());
            touched.insert(owner);
        }
        self.objects.insert(key, Arc::new(object));
        touched
    }

    /// An object is gone, last seen at `resource_version`. A newer one under the same name stays.
    pub fn delete(&mut self, key: &ObjectKey, uid: &str, resource_version: &str) -> Touched {
        self.tombstones.insert(key.clone(), (uid.to_owned(), resource_version.to_owned()));
        match self.objects.get(key) {
            Some(known) if known.uid == uid && !known.is_newer_than(resource_version) => self.forget(key),
            _ => Touched::new(),
        }
    }

    /// No write is under way: every answer to come is newer than every end that was seen.
    pub fn forget_tombstones(&mut self) {
        self.tombstones.clear();
    }

    /// The parent with this UID.
    #[must_use]
    pub fn parent(&self, uid: &str) -> Option<Arc<Observed>> {
        self.parents.get(uid).and_then(|key| self.objects.get(key)).cloned()
    }

    /// UIDs of all parents.
    pub fn parent_uids(&self) -> impl Iterator<Item = &ParentUid> {
        self.parents.keys()
    }

    /// The children of the parent with this UID, in the order of their keys.
    #[must_use]
    pub fn children(&self, parent_uid: &str) -> Vec<Arc<Observed>> {
        let keys = self.children.get(parent_uid).into_iter().flatten();
        keys.filter_map(|key| self.objects.get(key)).cloned().collect()
    }

    /// An object by its key.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Observed>> {
        self.objects.get(key)
    }

    /// How many objects are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    fn is_parent(&self, key: &ObjectKey) -> bool {
        self.parent_kinds.iter().any(|kind| key.is_of(kind))
    }

    fn forget(&mut self, key: &ObjectKey) -> Touched {
        let touched = self.unlink(key);
        self.objects.remove(key);
        touched
    }

    /// Removes what the maps say about the object that is held under this key, and tells whom that concerns.
    fn unlink(&mut self, key: &ObjectKey) -> Touched {
        let Some(known) = self.objects.get(key) else { return Touched::new() };
        let mut touched = Touched::new();
        if self.parents.get(known.uid.as_str()) == Some(key) {
            let uid: ParentUid = known.uid.as_str().into();
            self.parents.remove(&uid);
            touched.insert(uid);
        }
        if let Some(owner) = known.owner_uid.as_deref()
            && let Some(siblings) = self.children.get_mut(owner)
            && siblings.remove(key)
        {
            touched.insert(owner.into());
            if siblings.is_empty() {
                self.children.remove(owner);
            }
        }
        touched
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
