//! Descendants: objects that belong to a child and are not the host's, such as the pods and claims of a StatefulSet. They are matched
//! by the child's selector and by owner: what another object of the child's kind controls is not the child's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::object::{ObjectKey, Observed};
use crate::selector::Selector;

/// A list that is due since the selector of a child is new: the objects that it selects may have been dropped before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The child.
    pub child: ObjectKey,
    /// The namespace to list.
    pub namespace: Option<Arc<str>>,
    /// The child's selector.
    pub selector: Selector,
}

#[derive(Clone, Debug)]
struct SelectingChild {
    uid: String,
    selector: Selector,
}

/// Which object is a descendant of which child, both ways.
#[derive(Clone, Debug, Default)]
pub(crate) struct Descendants {
    /// Children with a selector, by namespace.
    selecting: HashMap<Option<Arc<str>>, BTreeMap<ObjectKey, SelectingChild>>,
    objects_of: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    children_of: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
}

impl Descendants {
    /// Takes the current state of a child. Returns what must be listed if its selector is new.
    pub(crate) fn set_child(&mut self, child: &Observed) -> Option<Listing> {
        let known = self.selecting.get(&child.key.namespace).and_then(|children| children.get(&child.key));
        let Some(selector) = &child.selector else {
            if known.is_some() {
                self.forget_child(&child.key);
            }
            return None;
        };
        if known.is_some_and(|known| known.selector == *selector && known.uid == child.uid) {
            return None;
        }
        self.forget_child(&child.key);
        let selecting = SelectingChild { uid: child.uid.clone(), selector: selector.clone() };
        self.selecting.entry(child.key.namespace.clone()).or_default().insert(child.key.clone(), selecting);
        Some(Listing { child: child.key.clone(), namespace: child.key.namespace.clone(), selector: selector.clone() })
    }

    /// Forgets a child that was deleted. Returns the objects that are no child's descendants any more.
    pub(crate) fn forget_child(&mut self, child: &ObjectKey) -> Vec<ObjectKey> {
        if let Some(children) = self.selecting.get_mut(&child.namespace) {
            children.remove(child);
            if children.is_empty() {
                self.selecting.remove(&child.namespace);
            }
        }
        let mut orphans = Vec::new();
        for object in self.objects_of.remove(child).unwrap_or_default() {
            if let Some(children) = self.children_of.get_mut(&object) {
                children.remove(child);
                if children.is_empty() {
                    self.children_of.remove(&object);
                    orphans.push(object);
                }
            }
        }
        orphans
    }

    /// Takes the current state of an object. Returns the children that it is a descendant of.
    pub(crate) fn set_object(&mut self, object: &Observed) -> BTreeSet<ObjectKey> {
        self.forget_object(&object.key);
        let children: BTreeSet<ObjectKey> = self
            .selecting
            .get(&object.key.namespace)
            .into_iter()
            .flatten()
            .filter(|(key, child)| child.selector.matches(&object.labels) && !belongs_to_sibling(object, key, child))
            .map(|(key, _)| key.clone())
            .collect();
        for child in &children {
            self.objects_of.entry(child.clone()).or_default().insert(object.key.clone());
        }
        if !children.is_empty() {
            self.children_of.insert(object.key.clone(), children.clone());
        }
        children
    }

    /// Forgets an object that was deleted. Returns the children that it was a descendant of.
    pub(crate) fn forget_object(&mut self, object: &ObjectKey) -> BTreeSet<ObjectKey> {
        let children = self.children_of.remove(object).unwrap_or_default();
        for child in &children {
            if let Some(objects) = self.objects_of.get_mut(child) {
                objects.remove(object);
                if objects.is_empty() {
                    self.objects_of.remove(child);
                }
            }
        }
        children
    }

    /// Whether an object is a descendant of any child.
    pub(crate) fn contains(&self, object: &ObjectKey) -> bool {
        self.children_of.contains_key(object)
    }

    /// The descendants of a child, in the order of their keys.
    pub(crate) fn of(&self, child: &ObjectKey) -> impl Iterator<Item = &ObjectKey> {
        self.objects_of.get(child).into_iter().flatten()
    }
}

/// Whether another object of the child's kind controls the object, as with two StatefulSets whose selectors overlap. A controller of
/// another kind stands between the two, as a ReplicaSet does.
fn belongs_to_sibling(object: &Observed, key: &ObjectKey, child: &SelectingChild) -> bool {
    object.controller_kind.as_deref() == Some(&*key.kind) && object.controller_uid.as_deref() != Some(&*child.uid)
}
