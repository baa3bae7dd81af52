//! Related objects in the index: those that parents refer to, and no others. What nobody referred to before is read once somebody does.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_contract::Kind;

use super::Index;
use crate::object::{ObjectKey, Observed, ParentUid, Touched};
use crate::related::{Reference, References, key_in, place};

impl Index {
    /// The references of a parent as of its last decision.
    #[must_use]
    pub fn references(&self, parent_uid: &str) -> References {
        self.references.of(parent_uid)
    }

    /// Sets the references of a parent: a change of an object that they match touches it. What nobody referred to before is to be read
    /// first ([`take_unread`](Self::take_unread)), and what nobody refers to any more is dropped.
    pub fn refer(&mut self, parent_uid: &ParentUid, references: References) {
        let before = self.references.of(parent_uid);
        if before == references {
            return;
        }
        // What another parent waits for is not known, either.
        let awaited = |reference: &Reference| {
            self.unread.values().chain(self.reading.values()).flatten().any(|read| read.overlaps(reference))
        };
        let is_unread = |reference: &&Reference| !self.references.covers(reference) || awaited(reference);
        let unread: References = references.iter().filter(is_unread).cloned().collect();
        self.references.set(parent_uid, references);
        if !unread.is_empty() && self.is_synced() {
            self.unread.entry(parent_uid.clone()).or_default().extend(unread);
        }
        self.drop_unreferenced(&before);
    }

    pub(super) fn drop_unreferenced(&mut self, references: &References) {
        for object in self.related(references) {
            if self.references.referrers(&object).is_empty() {
                self.forget_related(&object.key);
                self.drop_unneeded(vec![object.key.clone()]);
            }
        }
    }

    pub(super) fn forget_related(&mut self, key: &ObjectKey) {
        if let Some(keys) = self.related.get_mut(&place(key)) {
            keys.remove(key);
            if keys.is_empty() {
                self.related.remove(&place(key));
            }
        }
    }

    /// Takes the references that are to be read, by parent.
    pub fn take_unread(&mut self) -> BTreeMap<ParentUid, References> {
        let unread = std::mem::take(&mut self.unread);
        for (parent, references) in &unread {
            self.reading.entry(parent.clone()).or_default().extend(references.iter().cloned());
        }
        unread
    }

    /// The references of this parent were read.
    pub fn references_read(&mut self, parent: &ParentUid) -> Touched {
        self.reading.remove(parent);
        Touched::from([parent.clone()])
    }

    /// All parents that refer to objects of this kind.
    #[must_use]
    pub fn referrers_of_kind(&self, kind: &Kind) -> Touched {
        self.references.referrers_of_kind(kind)
    }

    /// The objects that these references match, in the order of their keys.
    #[must_use]
    pub fn related(&self, references: &References) -> Vec<Arc<Observed>> {
        let mut found: BTreeMap<&ObjectKey, &Arc<Observed>> = BTreeMap::new();
        for reference in references {
            let key = |name| key_in(reference, name);
            let named = reference.names.iter().filter_map(|name| self.objects.get_key_value(&key(name)));
            let place = self.related.get(&place(&key(""))).filter(|_| reference.names.is_empty());
            let selected = place.into_iter().flatten().filter_map(|key| self.objects.get_key_value(key));
            found.extend(named.chain(selected).filter(|(_, object)| reference.matches(object)));
        }
        found.into_values().cloned().collect()
    }
}
