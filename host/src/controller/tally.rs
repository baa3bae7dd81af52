//! How many parents there are of each kind and with each status of `Synced`, counted as they change.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_contract::{ConditionStatus, GroupKind};
use bartizan_engine::ParentUid;

/// Parents by kind and status.
#[derive(Debug, Default)]
pub(super) struct Tally {
    parents: BTreeMap<ParentUid, (GroupKind, ConditionStatus)>,
    counts: BTreeMap<(GroupKind, ConditionStatus), usize>,
    changed: BTreeSet<GroupKind>,
}

impl Tally {
    /// A parent of this kind exists; unless it is known, nothing was decided on it.
    pub(super) fn note(&mut self, uid: &ParentUid, kind: impl FnOnce() -> GroupKind) {
        if !self.parents.contains_key(uid) {
            self.count(uid, kind(), ConditionStatus::Unknown);
        }
    }

    /// A known parent was decided on.
    pub(super) fn decided(&mut self, uid: &ParentUid, synced: ConditionStatus) {
        if let Some((kind, before)) = self.parents.get(uid)
            && *before != synced
        {
            let kind = kind.clone();
            self.forget(uid);
            self.count(uid, kind, synced);
        }
    }

    /// A parent is gone.
    pub(super) fn forget(&mut self, uid: &ParentUid) {
        let Some((kind, synced)) = self.parents.remove(uid) else { return };
        if let Some(count) = self.counts.get_mut(&(kind.clone(), synced)) {
            *count = count.saturating_sub(1);
        }
        self.changed.insert(kind);
    }

    fn count(&mut self, uid: &ParentUid, kind: GroupKind, synced: ConditionStatus) {
        *self.counts.entry((kind.clone(), synced)).or_default() += 1;
        self.changed.insert(kind.clone());
        self.parents.insert(uid.clone(), (kind, synced));
    }

    /// Whether each parent was decided on.
    pub(super) fn is_decided(&self) -> bool {
        self.counts.iter().all(|((_, status), count)| *count == 0 || *status != ConditionStatus::Unknown)
    }

    /// What has changed since this was asked last.
    pub(super) fn changes(&mut self) -> Vec<(GroupKind, ConditionStatus, usize)> {
        let kinds = std::mem::take(&mut self.changed);
        let of = |kind: &GroupKind, status: ConditionStatus| {
            let count = self.counts.get(&(kind.clone(), status)).copied().unwrap_or_default();
            (kind.clone(), status, count)
        };
        kinds.iter().flat_map(|kind| ConditionStatus::ALL.map(|status| of(kind, status))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConditionStatus::{False, True, Unknown};

    #[test]
    fn every_parent_is_counted_once_whatever_happens_to_it() {
        let store = || GroupKind::from(&bartizan_contract::Kind::new("minio.rook.io", "v1alpha1", "ObjectStore"));
        let (a, b): (ParentUid, ParentUid) = ("a".into(), "b".into());
        let mut tally = Tally::default();
        let counts = |tally: &mut Tally| tally.changes().into_iter().map(|(_, _, count)| count).collect::<Vec<_>>();
        tally.decided(&a, True);
        assert!(tally.changes().is_empty(), "it is not known");
        tally.note(&a, store);
        tally.note(&b, store);
        tally.note(&a, store);
        assert_eq!(counts(&mut tally), [0, 0, 2]);
        tally.decided(&a, True);
        tally.decided(&b, False);
        tally.note(&b, store);
        assert_eq!(tally.changes(), [(store(), True, 1), (store(), False, 1), (store(), Unknown, 0)]);
        tally.decided(&b, False);
        assert!(tally.changes().is_empty(), "nothing changed");
        tally.forget(&a);
        tally.forget(&a);
        assert_eq!(counts(&mut tally), [0, 1, 0]);
    }
}
