//! Whose child an object is. Anybody may label an object as a child: only what the host's field manager applied, where the provider may
//! write, is one, and of children whose parent is not known no more than the keys are kept.

use std::sync::Arc;

use super::{Ignored, Index};
use crate::object::{Observed, ParentUid, Touched};

impl Index {
    /// Whether all parents were listed once. From then on, nothing is kept of children whose parent is not known but their keys.
    #[must_use]
    pub fn knows_parents(&self) -> bool {
        let mut of_parents = self.expected.iter().filter(|scope| self.kinds.parents.contains(&scope.kind));
        of_parents.all(|scope| self.synced.contains(scope))
    }

    /// Decides anew what is kept of the children of a parent that has become known, or is known no more.
    pub(super) fn review_children(&mut self, parent: &ParentUid) {
        for key in self.children.get(parent).cloned().unwrap_or_default() {
            if let Some(object) = self.objects.get(&key).cloned() {
                self.unlink(&key);
                self.enter(object);
            }
        }
    }

    /// Everything was listed: from now on, only descendants of a child are kept.
    pub(super) fn match_descendants(&mut self) -> Touched {
        self.listings.clear();
        let objects: Vec<Arc<Observed>> =
            self.objects.values().filter(|object| self.is_descendant(&object.key)).cloned().collect();
        let mut touched = Touched::new();
        for object in objects {
            let children = self.descendants.set_object(&object);
            touched.extend(self.owners(&children));
            if !self.is_needed(&object) {
                self.forget(&object.key);
            }
        }
        touched
    }

    /// The parent whose child this is. Until all parents are known, that may be one that is not.
    pub(super) fn owner(&self, object: &Observed) -> Option<ParentUid> {
        let uid = self.labelled_parent(object).filter(|_| object.applied_by_host)?;
        let is_child = match self.parents.get(&uid).and_then(|key| self.objects.get(key)) {
            Some(parent) => self.kinds.grants.reach(&object.key, parent),
            None => !self.knows_parents(),
        };
        is_child.then_some(uid)
    }

    /// The parent that the labels of an object name.
    pub(super) fn labelled_parent(&self, object: &Observed) -> Option<ParentUid> {
        let is_labelled = object.provider.as_deref() == Some(self.provider.as_str()) && !self.is_parent(&object.key);
        object.owner_uid.as_deref().filter(|_| is_labelled).map(Into::into)
    }

    /// Takes note of an object that its labels alone make a child.
    pub(super) fn leave_out(&mut self, object: &Observed) {
        let Some(uid) = self.labelled_parent(object) else { return };
        if object.applied_by_host && !self.parents.contains_key(&uid) {
            self.unclaimed.add(uid, object.key.clone());
        } else {
            self.ignored.times += 1;
            self.ignored.example = Some(object.key.clone());
        }
    }

    /// What was left out, since it only looks like a child.
    #[must_use]
    pub fn ignored(&self) -> &Ignored {
        &self.ignored
    }

    /// Whether there are objects that the host applied for a parent of this UID, which is not known.
    #[must_use]
    pub fn has_unclaimed(&self, parent_uid: &str) -> bool {
        self.unclaimed.has(parent_uid)
    }

    /// Takes the parents whose children are to be listed.
    pub fn take_returned(&mut self) -> Vec<ParentUid> {
        let returned = std::mem::take(&mut self.returned);
        self.returning.extend(returned.iter().cloned());
        returned.into_iter().collect()
    }

    /// The children of this parent were listed.
    pub fn children_listed(&mut self, parent: &ParentUid) -> Touched {
        self.returning.remove(parent);
        Touched::from([parent.clone()])
    }
}
