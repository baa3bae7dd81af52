//! What lives below children and is not the host's: the pods and claims of a StatefulSet. It is matched through the child's
//! selector, and by owner: what another object of the child's kind controls is not below it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::object::{ObjectKey, Observed};
use crate::selector::Selector;

/// A selector that was not known before: what it selects may have been dropped, and must be listed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The child whose selector it is.
    pub child: ObjectKey,
    /// Where it selects.
    pub namespace: Option<Arc<str>>,
    /// What it selects.
    pub selector: Selector,
}

#[derive(Debug)]
struct Above {
    uid: String,
    selector: Selector,
}

/// Which object is below which child, both ways.
#[derive(Debug, Default)]
pub(crate) struct Below {
    above: HashMap<Option<Arc<str>>, BTreeMap<ObjectKey, Above>>,
    objects: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    children: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
}

impl Below {
    /// A child as it is now; what must be listed if its selector is new.
    pub(crate) fn set_child(&mut self, child: &Observed) -> Option<Listing> {
        let known = self.above.get(&child.key.namespace).and_then(|children| children.get(&child.key));
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
        let above = Above { uid: child.uid.clone(), selector: selector.clone() };
        self.above.entry(child.key.namespace.clone()).or_default().insert(child.key.clone(), above);
        Some(Listing { child: child.key.clone(), namespace: child.key.namespace.clone(), selector: selector.clone() })
    }

    /// A child is gone; the objects that are below none any more.
    pub(crate) fn forget_child(&mut self, child: &ObjectKey) -> Vec<ObjectKey> {
        if let Some(children) = self.above.get_mut(&child.namespace) {
            children.remove(child);
            if children.is_empty() {
                self.above.remove(&child.namespace);
            }
        }
        let mut orphans = Vec::new();
        for object in self.objects.remove(child).unwrap_or_default() {
            if let Some(children) = self.children.get_mut(&object) {
                children.remove(child);
                if children.is_empty() {
                    self.children.remove(&object);
                    orphans.push(object);
                }
            }
        }
        orphans
    }

    /// An object as it is now; the children that it is below.
    pub(crate) fn set_object(&mut self, object: &Observed) -> BTreeSet<ObjectKey> {
        self.forget_object(&object.key);
        let children: BTreeSet<ObjectKey> = self
            .above
            .get(&object.key.namespace)
            .into_iter()
            .flatten()
            .filter(|(child, above)| above.selector.matches(&object.labels) && !is_anothers(object, child, above))
            .map(|(child, _)| child.clone())
            .collect();
        for child in &children {
            self.objects.entry(child.clone()).or_default().insert(object.key.clone());
        }
        if !children.is_empty() {
            self.children.insert(object.key.clone(), children.clone());
        }
        children
    }

    /// An object is gone; the children that it was below.
    pub(crate) fn forget_object(&mut self, object: &ObjectKey) -> BTreeSet<ObjectKey> {
        let children = self.children.remove(object).unwrap_or_default();
        for child in &children {
            if let Some(objects) = self.objects.get_mut(child) {
                objects.remove(object);
                if objects.is_empty() {
                    self.objects.remove(child);
                }
            }
        }
        children
    }

    /// Whether an object is below any child.
    pub(crate) fn is_below(&self, object: &ObjectKey) -> bool {
        self.children.contains_key(object)
    }

    /// The objects below a child, in order.
    pub(crate) fn of(&self, child: &ObjectKey) -> impl Iterator<Item = &ObjectKey> {
        self.objects.get(child).into_iter().flatten()
    }
}

/// Whether another object of the child's kind controls it: two StatefulSets whose selectors overlap. A controller of another
/// kind is in between, as a ReplicaSet is.
fn is_anothers(object: &Observed, child: &ObjectKey, above: &Above) -> bool {
    object.controller_kind.as_deref() == Some(&*child.kind) && object.controller_uid.as_deref() != Some(&*above.uid)
}
