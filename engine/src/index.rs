//! Index of the observed objects of one provider: its parents by UID, their children by owner UID, the descendants of those, and
//! related objects. Watches and the responses to the host's own writes feed it; the newer state wins. Anybody may label an object as a
//! child: only what the host's field manager applied, where the provider may write, is kept.

mod parentage;
mod referred;
mod unclaimed;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bartizan_contract::Kind;

use crate::descendants::{Descendants, Listing};
use crate::grants::Grants;
use crate::object::{ObjectKey, Observed, ParentUid, Touched, compare_versions};
use crate::plan::Delete;
use crate::related::{Place, References, ReverseIndex, place};

use unclaimed::Unclaimed;

/// Scope of one watch: a kind, in all namespaces or in one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The watched kind.
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

/// The kinds that a provider works with. One kind may have several roles: a Secret may be a child and a related object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Its parents.
    pub parents: Vec<Kind>,
    /// Descendants that it sees.
    pub descendants: Vec<Kind>,
    /// Related objects that it may ask for.
    pub related: Vec<Kind>,
    /// Where its children may be.
    pub grants: Grants,
}

/// The observed objects of one provider.
#[derive(Clone, Debug, Default)]
pub struct Index {
    objects: HashMap<ObjectKey, Arc<Observed>>,
    kinds: Kinds,
    descendants: Descendants,
    /// Lists of descendants that are due, by child.
    listings: BTreeMap<ObjectKey, Listing>,
    /// How many lists of descendants are under way, by child.
    listing: BTreeMap<ObjectKey, usize>,
    references: ReverseIndex,
    /// The parents that wait for a name which another object has.
    wanted: HashMap<ObjectKey, BTreeSet<ParentUid>>,
    related: HashMap<Place, BTreeSet<ObjectKey>>,
    parents: HashMap<ParentUid, ObjectKey>,
    children: HashMap<ParentUid, BTreeSet<ObjectKey>>,
    unclaimed: Unclaimed,
    /// References that are to be read: what they match was dropped while nobody asked for it.
    unread: BTreeMap<ParentUid, References>,
    /// References that are being read, by parent.
    reading: BTreeMap<ParentUid, References>,
    /// Parents that are known now, and whose children were dropped before: they are to be listed.
    returned: BTreeSet<ParentUid>,
    /// Of these, those whose children are being listed.
    returning: BTreeSet<ParentUid>,
    ignored: Ignored,
    /// The highest resource version of any parent so far, by kind.
    highest: BTreeMap<Kind, String>,
    expected: BTreeSet<Scope>,
    synced: BTreeSet<Scope>,
    relists: HashMap<Scope, HashSet<ObjectKey>>,
    /// Objects that were deleted while writes were under way, whose responses may be older than the deletion.
    tombstones: HashMap<ObjectKey, Tombstone>,
    provider: String,
}

/// Whether a consistent list (without a resource version in its request) of version `listed` shows a store that was at `highest` before
/// and went back, as when etcd is restored from a snapshot. A list that may be stale shows nothing.
#[must_use]
pub fn went_back(highest: &str, listed: &str) -> bool {
    compare_versions(listed, highest) == Some(Ordering::Less)
}

/// Objects that look like children, and are not: nobody's field manager but the host's makes one, and only where the provider may write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// How often one was seen.
    pub times: u64,
    /// The last of them.
    pub example: Option<ObjectKey>,
}

/// A deleted object.
#[derive(Clone, Debug)]
struct Tombstone {
    uid: String,
    /// Resource version of its last state.
    resource_version: String,
}

impl Index {
    /// An empty index for a provider, the kinds that it works with, and the scopes that must be listed before anything is decided.
    #[must_use]
    pub fn new(provider: &str, kinds: Kinds, expected: BTreeSet<Scope>) -> Self {
        Self { provider: provider.to_owned(), kinds, expected, ..Self::default() }
    }

    /// Whether every expected scope was listed once. Before that, absence means nothing (invariant 4).
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

    /// A list of this scope starts: at its end, objects that it does not contain are gone.
    pub fn begin_relist(&mut self, scope: &Scope) {
        self.relists.insert(scope.clone(), HashSet::new());
    }

    /// A list of this scope is complete. Objects of the scope are dropped if neither the list nor anything since its start
    /// contained them.
    pub fn finish_relist(&mut self, scope: &Scope) -> Touched {
        let Some(seen) = self.relists.remove(scope) else { return Touched::new() };
        self.unclaimed.retain(|key| !scope.covers(key) || seen.contains(key));
        let gone: Vec<ObjectKey> =
            self.objects.keys().filter(|key| scope.covers(key) && !seen.contains(*key)).cloned().collect();
        let mut touched: Touched = gone.iter().flat_map(|key| self.forget(key)).collect();
        if self.synced.insert(scope.clone()) {
            if self.kinds.parents.contains(&scope.kind) && self.knows_parents() {
                let unknown: Vec<ParentUid> =
                    self.children.keys().filter(|uid| !self.parents.contains_key(*uid)).cloned().collect();
                unknown.iter().for_each(|uid| self.review_children(uid));
            }
            if self.is_synced() {
                touched.extend(self.match_descendants());
            }
        }
        touched
    }

    /// The highest resource version of any parent of this kind that was seen so far. A consistent list that was requested since and is of a
    /// lower one comes from a store that went back in time ([`went_back`]).
    #[must_use]
    pub fn highest(&self, kind: &Kind) -> Option<&str> {
        self.highest.get(kind).map(String::as_str)
    }

    fn note_version(&mut self, object: &Observed) {
        let Some(kind) = self.kinds.parents.iter().find(|kind| object.key.is_of(kind)) else { return };
        if self.highest.get(kind).is_none_or(|highest| object.is_newer_than(highest)) {
            self.highest.insert(kind.clone(), object.resource_version.clone());
        }
    }

    /// Takes the state of an object, from a watch or from the response to a write. A state older than the known one changes
    /// nothing.
    pub fn apply(&mut self, object: Observed) -> Touched {
        self.note_version(&object);
        for (scope, seen) in &mut self.relists {
            if scope.covers(&object.key) {
                seen.insert(object.key.clone());
            }
        }
        // A late response does not bring back an object that was deleted.
        let is_deleted = self.tombstones.get(&object.key).is_some_and(|Tombstone { uid, resource_version: last }| {
            object.is_older_than(last)
                || *uid == object.uid && (*last == object.resource_version || !object.is_newer_than(last))
        });
        let known = self.objects.get(&object.key);
        let is_old = known.is_some_and(|known| {
            object.is_older_than(&known.resource_version)
                || known.uid == object.uid && known.resource_version == object.resource_version
        });
        if is_deleted || is_old {
            // A list for a new selector finds objects that are known already and have become descendants.
            if is_old
                && self.is_descendant(&object.key)
                && self.is_synced()
                && let Some(known) = known.cloned()
            {
                let children = self.descendants.set_object(&known);
                return self.owners(&children);
            }
            return Touched::new();
        }
        let is_new_parent = self.is_parent(&object.key) && !self.parents.contains_key(object.uid.as_str());
        let replaced = known.filter(|known| known.uid != object.uid).map(|known| known.key.clone());
        let mut touched = match replaced {
            // Another object of the same name: nothing that is known of the first one applies.
            Some(key) => self.forget(&key),
            None => self.unlink(&object.key),
        };
        let uid: ParentUid = object.uid.as_str().into();
        touched.extend(self.enter(Arc::new(object)));
        if is_new_parent {
            self.review_children(&uid);
            if self.unclaimed.claim(&uid) {
                self.returned.insert(uid);
            }
        }
        touched
    }

    /// Takes an object of a key that has none, in the roles that it has. Returns the parents that it concerns.
    fn enter(&mut self, object: Arc<Observed>) -> Touched {
        let mut touched = Touched::new();
        let key = object.key.clone();
        if self.is_parent(&key) {
            let uid: ParentUid = object.uid.as_str().into();
            self.parents.insert(uid.clone(), key.clone());
            touched.insert(uid);
        }
        if let Some(owner) = self.owner(&object) {
            self.children.entry(owner.clone()).or_default().insert(key.clone());
            touched.insert(owner);
            if !self.kinds.descendants.is_empty()
                && let Some(listing) = self.descendants.set_child(&object)
                && self.is_synced()
            {
                self.listings.insert(key.clone(), listing);
            }
        } else {
            self.leave_out(&object);
            let orphans = self.descendants.forget_child(&key);
            self.drop_unneeded(orphans);
        }
        if self.is_descendant(&key) && self.is_synced() {
            let children = self.descendants.set_object(&object);
            touched.extend(self.owners(&children));
        }
        if self.is_related(&key) {
            let referrers = self.references.referrers(&object);
            if !referrers.is_empty() {
                touched.extend(referrers);
                self.related.entry(place(&key)).or_default().insert(key.clone());
            }
        }
        if self.is_needed(&object) {
            self.objects.insert(key, object);
        } else {
            self.objects.remove(&key);
        }
        touched
    }

    /// Whether any decision may need this object. Of related kinds, only objects that a parent refers to are kept; of the kinds of
    /// descendants, once all children are known, only objects that are descendants.
    fn is_needed(&self, object: &Observed) -> bool {
        let key = &object.key;
        self.is_parent(key)
            || self.is_related(key) && !self.references.referrers(object).is_empty()
            || self.owner(object).is_some()
            || self.is_descendant(key) && (!self.is_synced() || self.descendants.contains(key))
    }

    /// The parents of these children.
    fn owners(&self, children: &BTreeSet<ObjectKey>) -> Touched {
        children.iter().filter_map(|child| self.objects.get(child)).filter_map(|child| self.owner(child)).collect()
    }

    /// The parent of this child: none if one of the two is not known.
    #[must_use]
    pub fn parent_of(&self, child: &ObjectKey) -> Touched {
        self.owners(&BTreeSet::from([child.clone()]))
    }

    /// Removes an object that was deleted, with its last resource version. A newer one of the same name stays.
    pub fn delete(&mut self, key: &ObjectKey, uid: &str, resource_version: &str) -> Touched {
        self.unclaimed.remove(key);
        let is_later =
            |known: &Tombstone| compare_versions(&known.resource_version, resource_version) == Some(Ordering::Greater);
        if !self.tombstones.get(key).is_some_and(is_later) {
            let tombstone = Tombstone { uid: uid.to_owned(), resource_version: resource_version.to_owned() };
            self.tombstones.insert(key.clone(), tombstone);
        }
        match self.objects.get(key) {
            Some(known) if known.uid == uid && !known.is_newer_than(resource_version) => self.forget(key),
            _ => Touched::new(),
        }
    }

    /// Takes note that the API server accepted a delete. A child without finalizers is gone; one with finalizers, a Pod, which has time to
    /// end, and a Namespace, which has content, stay until their watch reports the deletion.
    pub fn deleted(&mut self, delete: &Delete) -> Touched {
        let takes_time = delete.key.group.is_empty() && matches!(&*delete.key.kind, "Pod" | "Namespace");
        if takes_time {
            return Touched::new();
        }
        if self.get(&delete.key).is_some_and(|child| !child.finalizers.is_empty()) {
            return Touched::new();
        }
        self.delete(&delete.key, &delete.uid, &delete.resource_version)
    }

    /// Sets the names that this parent wants and other objects have: it is due again when one of them becomes free.
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

    /// No write is under way: every response to come is newer than the deletions seen so far.
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

    /// The descendants of these children, in the order of their keys.
    #[must_use]
    pub fn descendants(&self, children: &[Arc<Observed>]) -> Vec<Arc<Observed>> {
        let keys: BTreeSet<&ObjectKey> = children.iter().flat_map(|child| self.descendants.of(&child.key)).collect();
        keys.into_iter().filter_map(|key| self.objects.get(key)).cloned().collect()
    }

    /// Takes the lists of descendants that are due: the objects were dropped while their selector was unknown.
    pub fn take_listings(&mut self) -> Vec<Listing> {
        let listings = std::mem::take(&mut self.listings);
        for child in listings.keys() {
            *self.listing.entry(child.clone()).or_default() += 1;
        }
        listings.into_values().collect()
    }

    /// The descendants of this child were listed.
    pub fn listed(&mut self, child: &ObjectKey) -> Touched {
        if let Some(under_way) = self.listing.get_mut(child) {
            *under_way -= 1;
            if *under_way == 0 {
                self.listing.remove(child);
            }
        }
        self.parent_of(child)
    }

    /// Whether something is not known yet that a decision on this parent needs.
    #[must_use]
    pub fn is_being_listed(&self, parent_uid: &str) -> bool {
        !self.knows_children(parent_uid)
            || self.unread.contains_key(parent_uid)
            || self.reading.contains_key(parent_uid)
    }

    /// Whether the children of this parent and their descendants are known.
    #[must_use]
    pub fn knows_children(&self, parent_uid: &str) -> bool {
        if self.returned.contains(parent_uid) || self.returning.contains(parent_uid) {
            return false;
        }
        let mut children = self.children.get(parent_uid).into_iter().flatten();
        !children.any(|child| self.listing.contains_key(child) || self.listings.contains_key(child))
    }

    /// Whether anything of a kind is known.
    #[must_use]
    pub fn has_any(&self, kind: &Kind) -> bool {
        self.objects.keys().any(|key| key.is_of(kind)) || self.unclaimed.has_any(kind)
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

    /// Drops objects that are no child's descendants any more, unless they are needed in another role.
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
            let uid: ParentUid = known.uid.as_str().into();
            let references = self.references.of(&uid);
            self.references.forget(&uid);
            self.drop_unreferenced(&references);
            self.unread.remove(&uid);
            self.returned.remove(&uid);
            self.review_children(&uid);
        }
        let orphans = self.descendants.forget_child(key);
        self.drop_unneeded(orphans);
        self.listings.remove(key);
        touched
    }

    /// Removes the object of this key from all maps but `objects`, and returns the parents that this concerns.
    fn unlink(&mut self, key: &ObjectKey) -> Touched {
        self.unclaimed.remove(key);
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
        let children = self.descendants.forget_object(key);
        touched.extend(self.owners(&children));
        if self.is_related(key) {
            touched.extend(self.references.referrers(&known));
            self.forget_related(key);
        }
        touched
    }
}

#[cfg(test)]
mod tests;
