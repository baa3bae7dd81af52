//! Related objects: objects that a provider asks for beside its parent and children, and the parents that a change of one concerns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bartizan_contract::Kind;

use crate::object::{ObjectKey, Observed, ParentUid, Touched};
use crate::selector::Selector;

/// Objects of one kind by name, by label, or by both: then those of the names whose labels match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The kind, at the version at which it is read.
    pub kind: Kind,
    /// The namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Names; empty: all objects that the selector matches.
    pub names: BTreeSet<String>,
    /// Labels; `None`: the names alone decide.
    pub selector: Option<Selector>,
}

/// Everything that a provider asks for, for one parent, in order.
pub type References = BTreeSet<Reference>;

/// Most calls of a provider for one decision, each with the objects that it asked for in the one before: a claim, its class, the
/// cluster of that, its secret.
pub const MAX_ROUNDS: usize = 4;

impl Reference {
    /// Whether it matches this object.
    #[must_use]
    pub fn matches(&self, object: &Observed) -> bool {
        object.key.is_of(&self.kind)
            && object.key.namespace.as_deref() == self.namespace.as_deref()
            && (self.names.is_empty() || self.names.contains(&*object.key.name))
            && self.selector.as_ref().is_none_or(|selector| selector.matches(&object.labels))
    }

    /// Whether a read for one of the two reads something that the other needs, too.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        place(&key_in(self, "")) == place(&key_in(other, ""))
            && match (self.names.is_empty(), other.names.is_empty()) {
                (true, true) => self.selector == other.selector,
                (false, false) => !self.names.is_disjoint(&other.names),
                _ => false,
            }
    }
}

/// A kind in a namespace, or a cluster-scoped kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    group: Arc<str>,
    kind: Arc<str>,
    namespace: Option<Arc<str>>,
}

/// Which parent refers to which objects, both ways.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReverseIndex {
    of_parent: HashMap<ParentUid, References>,
    by_name: HashMap<ObjectKey, BTreeSet<ParentUid>>,
    by_label: HashMap<Place, BTreeMap<Selector, BTreeSet<ParentUid>>>,
}

/// The place of an object.
pub(crate) fn place(key: &ObjectKey) -> Place {
    Place { group: key.group.clone(), kind: key.kind.clone(), namespace: key.namespace.clone() }
}

/// The key of an object in the place of a reference.
pub(crate) fn key_in(reference: &Reference, name: &str) -> ObjectKey {
    ObjectKey::new(&reference.kind, reference.namespace.as_deref(), name)
}

impl ReverseIndex {
    /// Sets the references of a parent.
    pub(crate) fn set(&mut self, uid: &ParentUid, references: References) {
        if self.of_parent.get(uid).is_some_and(|known| *known == references) {
            return;
        }
        self.forget(uid);
        for reference in &references {
            for name in &reference.names {
                self.by_name.entry(key_in(reference, name)).or_default().insert(uid.clone());
            }
            if let (true, Some(selector)) = (reference.names.is_empty(), &reference.selector) {
                let selectors = self.by_label.entry(place(&key_in(reference, ""))).or_default();
                selectors.entry(selector.clone()).or_default().insert(uid.clone());
            }
        }
        if !references.is_empty() {
            self.of_parent.insert(uid.clone(), references);
        }
    }

    /// Forgets a parent that was deleted.
    pub(crate) fn forget(&mut self, uid: &ParentUid) {
        for reference in self.of_parent.remove(uid).unwrap_or_default() {
            for name in &reference.names {
                let key = key_in(&reference, name);
                if let Some(uids) = self.by_name.get_mut(&key) {
                    uids.remove(uid);
                    if uids.is_empty() {
                        self.by_name.remove(&key);
                    }
                }
            }
            let Some(selector) = &reference.selector else { continue };
            let place = place(&key_in(&reference, ""));
            let Some(selectors) = self.by_label.get_mut(&place) else { continue };
            if let Some(uids) = selectors.get_mut(selector) {
                uids.remove(uid);
                if uids.is_empty() {
                    selectors.remove(selector);
                }
            }
            if selectors.is_empty() {
                self.by_label.remove(&place);
            }
        }
    }

    /// Whether some parent has asked for all that a reference matches.
    pub(crate) fn covers(&self, reference: &Reference) -> bool {
        match (&reference.selector, reference.names.is_empty()) {
            (Some(selector), true) => {
                let selectors = self.by_label.get(&place(&key_in(reference, "")));
                selectors.is_some_and(|selectors| selectors.contains_key(selector))
            }
            _ => reference.names.iter().all(|name| self.by_name.contains_key(&key_in(reference, name))),
        }
    }

    /// The references of a parent as of its last decision.
    pub(crate) fn of(&self, uid: &str) -> References {
        self.of_parent.get(uid).cloned().unwrap_or_default()
    }

    /// The parents that refer to this object in its current state.
    pub(crate) fn referrers(&self, object: &Observed) -> Touched {
        let named = self.by_name.get(&object.key).into_iter().flatten();
        let selectors = self.by_label.get(&place(&object.key)).into_iter().flatten();
        let labelled =
            selectors.filter(|(selector, _)| selector.matches(&object.labels)).flat_map(|(_, uids)| uids.iter());
        named.chain(labelled).cloned().collect()
    }

    /// All parents that refer to objects of this kind.
    pub(crate) fn referrers_of_kind(&self, kind: &Kind) -> Touched {
        let refers = |references: &&References| references.iter().any(|reference| reference.kind.same_group_kind(kind));
        self.of_parent.iter().filter(|(_, references)| refers(references)).map(|(uid, _)| uid.clone()).collect()
    }
}
