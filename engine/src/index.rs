//! What is known of the cluster for one provider: its parents by UID, their children by owner UID, what lives below those,
//! and what else was granted. Fed by watches and by the answers to the host's own writes; whoever is newer wins.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bartizan_contract::Kind;

use crate::descendants::{Below, Listing};
use crate::object::{ObjectKey, Observed, ParentUid, Touched, compare_versions};
use crate::related::{Place, References, ReverseIndex, place};

/// Scope of one watch: a kind, in all namespaces or in one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The kind that is watched.
    pub kind: Kind,
    /// `None`: all namespaces, or a cluster-scoped kind.
    pub namespace: Option<String>,
}

impl Scope {
    /// Whether an object of this key is within the scope.
    #[must_use]
    pub fn covers(&self, key: &ObjectKey) -> bool {
        key.is_of(&self.kind)
            && self.namespace.as_deref().is_none_or(|namespace| key.namespace.as_deref() == Some(namespace))
    }
}

/// The kinds that a provider has to do with. One kind may be several things: a Secret is a child here and related there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Its parents.
    pub parents: Vec<Kind>,
    /// What it sees below its children.
    pub descendants: Vec<Kind>,
    /// What it may ask to see.
    pub related: Vec<Kind>,
}

/// The observed objects of one provider.
#[derive(Debug, Default)]
pub struct Index {
    objects: HashMap<ObjectKey, Arc<Observed>>,
    kinds: Kinds,
    below: Below,
    listings: BTreeMap<ObjectKey, Listing>,
    listing: BTreeMap<ObjectKey, usize>,
    references: ReverseIndex,
    /// Names that parents mean and others hold.
    wanted: HashMap<ObjectKey, BTreeSet<ParentUid>>,
    related: HashMap<Place, BTreeSet<ObjectKey>>,
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
    /// An empty index for a provider, the kinds that it has to do with, and the scopes that must have been listed before
    /// anything is decided.
    #[must_use]
    pub fn new(provider: &str, kinds: Kinds, expected: BTreeSet<Scope>) -> Self {
        Self { provider: provider.to_owned(), kinds, expected, ..Self::default() }
    }

    /// Whether every expected scope was listed once. Before, absence means nothing (invariant 4).
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced.len() == self.expected.len()
    }

    /// All scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.expected.iter()
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
        let mut touched: Touched = gone.iter().flat_map(|key| self.forget(key)).collect();
        if self.synced.insert(scope.clone()) && self.is_synced() {
            touched.extend(self.match_descendants());
        }
        touched
    }

    /// Everything was listed: from now on only what is below a child is kept.
    fn match_descendants(&mut self) -> Touched {
        self.listings.clear();
        let is_descendant = |key: &ObjectKey| self.kinds.descendants.iter().any(|kind| key.is_of(kind));
        let objects: Vec<Arc<Observed>> =
            self.objects.values().filter(|object| is_descendant(&object.key)).cloned().collect();
        let mut touched = Touched::new();
        for object in objects {
            let children = self.below.set_object(&object);
            touched.extend(self.owners(&children));
            if !self.is_needed(&object) {
                self.forget(&object.key);
            }
        }
        touched
    }

    /// An object was seen: by a watch, or as the answer to a write. An older state than the known one changes nothing.
    pub fn apply(&mut self, object: Observed) -> Touched {
        for (scope, seen) in &mut self.relists {
            if scope.covers(&object.key) {
                seen.insert(object.key.clone());
            }
        }
        // Whoever had the name before is not back because somebody heard of it late.
        let dead = self.tombstones.get(&object.key).is_some_and(|(uid, version)| {
            object.is_older_than(version)
                || *uid == object.uid && (*version == object.resource_version || !object.is_newer_than(version))
        });
        let known = self.objects.get(&object.key);
        let is_old = known.is_some_and(|known| {
            object.is_older_than(&known.resource_version)
                || known.uid == object.uid && known.resource_version == object.resource_version
        });
        if dead || is_old {
            // A list for a selector that became known finds what is known already, and where it belongs is new.
            if is_old
                && self.is_descendant(&object.key)
                && self.is_synced()
                && let Some(known) = known.cloned()
            {
                let children = self.below.set_object(&known);
                return self.owners(&children);
            }
            return Touched::new();
        }
        let replaced = known.filter(|known| known.uid != object.uid).map(|known| known.key.clone());
        let mut touched = match replaced {
            // Another object under the same name: nothing that was known of the first one holds.
            Some(key) => self.forget(&key),
            None => self.unlink(&object.key),
        };
        let key = object.key.clone();
        let object = Arc::new(object);
        if self.is_parent(&key) {
            let uid: ParentUid = object.uid.as_str().into();
            self.parents.insert(uid.clone(), key.clone());
            touched.insert(uid);
        }
        if let Some(owner) = self.owner(&object) {
            self.children.entry(owner.clone()).or_default().insert(key.clone());
            touched.insert(owner);
            if !self.kinds.descendants.is_empty()
                && let Some(listing) = self.below.set_child(&object)
                && self.is_synced()
            {
                self.listings.insert(key.clone(), listing);
            }
        } else {
            let orphans = self.below.forget_child(&key);
            self.drop_unneeded(orphans);
        }
        if self.is_descendant(&key) && self.is_synced() {
            let children = self.below.set_object(&object);
            touched.extend(self.owners(&children));
        }
        if self.is_related(&key) {
            touched.extend(self.references.referrers(&object));
            self.related.entry(place(&key)).or_default().insert(key.clone());
        }
        if self.is_needed(&object) {
            self.objects.insert(key, object);
        } else {
            self.objects.remove(&key);
        }
        touched
    }

    /// Whether anything is ever decided on this object. Of what lives below children, only what does is kept, once that is
    /// known.
    fn is_needed(&self, object: &Observed) -> bool {
        let key = &object.key;
        self.is_parent(key)
            || self.is_related(key)
            || self.owner(object).is_some()
            || self.is_descendant(key) && (!self.is_synced() || self.below.is_below(key))
    }

    /// The parent whose child this is by its labels.
    fn owner(&self, object: &Observed) -> Option<ParentUid> {
        let is_child = object.provider.as_deref() == Some(self.provider.as_str()) && !self.is_parent(&object.key);
        object.owner_uid.as_deref().filter(|_| is_child).map(Into::into)
    }

    /// The parents of these children.
    fn owners(&self, children: &BTreeSet<ObjectKey>) -> Touched {
        children.iter().filter_map(|child| self.objects.get(child)).filter_map(|child| self.owner(child)).collect()
    }

    /// An object is gone, last seen at `resource_version`. A newer one under the same name stays.
    pub fn delete(&mut self, key: &ObjectKey, uid: &str, resource_version: &str) -> Touched {
        let is_later =
            |(_, known): &(String, String)| compare_versions(known, resource_version) == Some(Ordering::Greater);
        if !self.tombstones.get(key).is_some_and(is_later) {
            self.tombstones.insert(key.clone(), (uid.to_owned(), resource_version.to_owned()));
        }
        match self.objects.get(key) {
            Some(known) if known.uid == uid && !known.is_newer_than(resource_version) => self.forget(key),
            _ => Touched::new(),
        }
    }

    /// The names that this parent means and others hold: whoever leaves one makes room for it.
    pub fn want(&mut self, parent_uid: &ParentUid, keys: impl IntoIterator<Item = ObjectKey>) {
        self.wanted.retain(|_, uids| {
            uids.remove(parent_uid);
            !uids.is_empty()
        });
        for key in keys {
            self.wanted.entry(key).or_default().insert(parent_uid.clone());
        }
    }

    /// The parents that wait for this name.
    #[must_use]
    pub fn wanted_by(&self, key: &ObjectKey) -> Touched {
        self.wanted.get(key).cloned().unwrap_or_default()
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
    pub fn parent_uids(&self) -> impl ExactSizeIterator<Item = &ParentUid> {
        self.parents.keys()
    }

    /// The children of the parent with this UID, in the order of their keys.
    #[must_use]
    pub fn children(&self, parent_uid: &str) -> Vec<Arc<Observed>> {
        let keys = self.children.get(parent_uid).into_iter().flatten();
        keys.filter_map(|key| self.objects.get(key)).cloned().collect()
    }

    /// What lives below these children, in the order of their keys.
    #[must_use]
    pub fn descendants(&self, children: &[Arc<Observed>]) -> Vec<Arc<Observed>> {
        let keys: BTreeSet<&ObjectKey> = children.iter().flat_map(|child| self.below.of(&child.key)).collect();
        keys.into_iter().filter_map(|key| self.objects.get(key)).cloned().collect()
    }

    /// Selectors that became known: what they select must be listed, since it was dropped until now.
    pub fn take_listings(&mut self) -> Vec<Listing> {
        let listings = std::mem::take(&mut self.listings);
        for child in listings.keys() {
            *self.listing.entry(child.clone()).or_default() += 1;
        }
        listings.into_values().collect()
    }

    /// What lives below this child was listed.
    pub fn listed(&mut self, child: &ObjectKey) -> Touched {
        if let Some(under_way) = self.listing.get_mut(child) {
            *under_way -= 1;
            if *under_way == 0 {
                self.listing.remove(child);
            }
        }
        self.owners(&BTreeSet::from([child.clone()]))
    }

    /// Whether what lives below this parent's children is not known yet.
    #[must_use]
    pub fn is_being_listed(&self, parent_uid: &str) -> bool {
        let children = self.children.get(parent_uid).into_iter().flatten();
        let mut children = children.peekable();
        children.peek().is_some()
            && children.any(|child| self.listing.contains_key(child) || self.listings.contains_key(child))
    }

    /// What a parent referred to when it was last decided on.
    #[must_use]
    pub fn references(&self, parent_uid: &str) -> References {
        self.references.of(parent_uid)
    }

    /// What a parent refers to from now on: a change of that touches it.
    pub fn refer(&mut self, parent_uid: &ParentUid, references: References) {
        self.references.set(parent_uid, references);
    }

    /// All parents that refer to objects of this kind.
    #[must_use]
    pub fn referrers_of_kind(&self, kind: &Kind) -> Touched {
        self.references.referrers_of_kind(kind)
    }

    /// The objects that these references mean, in the order of their keys.
    #[must_use]
    pub fn related(&self, references: &References) -> Vec<Arc<Observed>> {
        let mut found: BTreeMap<&ObjectKey, &Arc<Observed>> = BTreeMap::new();
        for reference in references {
            let at = |name| ObjectKey::new(&reference.kind, reference.namespace.as_deref(), name);
            let named = reference.names.iter().filter_map(|name| self.objects.get_key_value(&at(name)));
            let place = self.related.get(&place(&at(""))).filter(|_| reference.names.is_empty());
            let selected = place.into_iter().flatten().filter_map(|key| self.objects.get_key_value(key));
            found.extend(named.chain(selected).filter(|(_, object)| reference.matches(object)));
        }
        found.into_values().cloned().collect()
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
        self.kinds.parents.iter().any(|kind| key.is_of(kind))
    }

    fn is_descendant(&self, key: &ObjectKey) -> bool {
        self.kinds.descendants.iter().any(|kind| key.is_of(kind))
    }

    fn is_related(&self, key: &ObjectKey) -> bool {
        self.kinds.related.iter().any(|kind| key.is_of(kind))
    }

    /// What is below no child any more is kept only if it is something else as well.
    fn drop_unneeded(&mut self, orphans: Vec<ObjectKey>) {
        for orphan in orphans {
            if self.objects.get(&orphan).is_some_and(|object| !self.is_needed(object)) {
                self.objects.remove(&orphan);
            }
        }
    }

    fn forget(&mut self, key: &ObjectKey) -> Touched {
        let touched = self.unlink(key);
        if let Some(known) = self.objects.remove(key)
            && self.is_parent(key)
        {
            self.references.forget(&known.uid.as_str().into());
        }
        let orphans = self.below.forget_child(key);
        self.drop_unneeded(orphans);
        self.listings.remove(key);
        touched
    }

    /// Removes what the maps say about the object that is held under this key, and tells whom that concerns.
    fn unlink(&mut self, key: &ObjectKey) -> Touched {
        let Some(known) = self.objects.get(key).cloned() else { return Touched::new() };
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
        let above = self.below.forget_object(key);
        touched.extend(self.owners(&above));
        if self.is_related(key) {
            touched.extend(self.references.referrers(&known));
            if let Some(keys) = self.related.get_mut(&place(key)) {
                keys.remove(key);
                if keys.is_empty() {
                    self.related.remove(&place(key));
                }
            }
        }
        touched
    }
}

#[cfg(test)]
mod tests;
