//! Related objects: what a provider asks to see beside its parent and children, and whom a change of them concerns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bartizan_contract::Kind;

use crate::object::{ObjectKey, Observed, ParentUid, Touched};
use crate::selector::Selector;

/// Objects of one kind by name, by label, or both: then by name, if the labels match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The kind, at the version that it is read at.
    pub kind: Kind,
    /// The namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// These names; empty: all that the selector matches.
    pub names: BTreeSet<String>,
    /// Labels; `None`: the names decide.
    pub selector: Option<Selector>,
}

/// Everything that a provider asks to see for one parent, in order.
pub type References = BTreeSet<Reference>;

/// Most times that a provider is called for one decision, each time with what it asked for the time before: a claim, its class,
/// the cluster of that, its secret.
pub const MAX_ROUNDS: usize = 4;

impl Reference {
    /// Whether it means this object.
    #[must_use]
    pub fn matches(&self, object: &Observed) -> bool {
        object.key.is_of(&self.kind)
            && object.key.namespace.as_deref() == self.namespace.as_deref()
            && (self.names.is_empty() || self.names.contains(&*object.key.name))
            && self.selector.as_ref().is_none_or(|selector| selector.matches(&object.labels))
    }
}

/// Where the objects of a kind are: group, kind, namespace.
pub(crate) type Place = (Arc<str>, Arc<str>, Option<Arc<str>>);

/// Who refers to what, both ways.
#[derive(Debug, Default)]
pub(crate) struct ReverseIndex {
    of_parent: HashMap<ParentUid, References>,
    by_name: HashMap<ObjectKey, BTreeSet<ParentUid>>,
    by_label: HashMap<Place, BTreeMap<Selector, BTreeSet<ParentUid>>>,
}

pub(crate) fn place(key: &ObjectKey) -> Place {
    (key.group.clone(), key.kind.clone(), key.namespace.clone())
}

/// Any object in the place that a reference looks at.
fn key_in(reference: &Reference, name: &str) -> ObjectKey {
    ObjectKey::new(&reference.kind, reference.namespace.as_deref(), name)
}

impl ReverseIndex {
    /// What this parent refers to from now on.
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

    /// This parent is gone.
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

    /// What a parent referred to when it was last decided on.
    pub(crate) fn of(&self, uid: &str) -> References {
        self.of_parent.get(uid).cloned().unwrap_or_default()
    }

    /// The parents that refer to this object as it is.
    pub(crate) fn referrers(&self, object: &Observed) -> Touched {
        let named = self.by_name.get(&object.key).into_iter().flatten();
        let selectors = self.by_label.get(&place(&object.key)).into_iter().flatten();
        let labelled =
            selectors.filter(|(selector, _)| selector.matches(&object.labels)).flat_map(|(_, uids)| uids.iter());
        named.chain(labelled).cloned().collect()
    }

    /// All parents that refer to objects of this kind.
    pub(crate) fn referrers_of_kind(&self, kind: &Kind) -> Touched {
        let refers = |references: &&References| references.iter().any(|wish| wish.kind.same_group_kind(kind));
        self.of_parent.iter().filter(|(_, wishes)| refers(wishes)).map(|(uid, _)| uid.clone()).collect()
    }
}
