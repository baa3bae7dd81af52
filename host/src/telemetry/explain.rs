//! The last decision on each parent, for `bartizan explain`: digests, names and messages, never objects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bartizan_engine::ObjectKey;
use bartizan_engine::ParentUid;
use bartizan_engine::provider::upgrade_plan::UpgradePlan;
use serde::{Deserialize, Serialize};

use crate::telemetry::hand_over::HandOvers;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::observer::Observer;
use crate::telemetry::recorder::Recorder;
use crate::telemetry::subject::Subject;

/// The last decision on one parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Explained {
    /// Name of the provider.
    pub(crate) provider: String,
    /// The parent: `ObjectStore.minio.rook.io rook-minio/my-store`.
    pub(crate) parent: String,
    /// Time of the decision, RFC 3339.
    pub(crate) time: String,
    /// Digest of the last request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    /// Whether the provider was called, and why or why not.
    pub(crate) call: String,
    /// The outcome: `Applied`, `Held`, `Waiting` or the reason of the failure.
    pub(crate) outcome: String,
    /// A message to whoever can act.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(crate) message: String,
    /// The plan that was executed last.
    pub(crate) plan: String,
    /// What the gate refused in the provider's answer, and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) refused: Option<String>,
    /// What must happen before anything changes, as far as that is known.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) waits_for: Vec<String>,
    /// When the parent is due again without an event, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// Failures in a row.
    pub(crate) failures: u32,
}

/// By name of the provider and UID of the parent.
type Entries = BTreeMap<(String, ParentUid), (ObjectKey, Explained)>;

/// The last decision on every parent of every provider and the plans of upgrades, with metrics and recordings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    entries: Arc<Mutex<Entries>>,
    upgrades: Arc<Mutex<BTreeMap<String, UpgradePlan>>>,
    hand_overs: HandOvers,
    metrics: Metrics,
    recorder: Recorder,
}

impl Board {
    /// A board that records with this recorder.
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self { recorder, ..Self::default() }
    }

    /// Whether this host leads. What is known of parents is about those that it serves, and forgotten with that.
    pub(crate) fn leads(&self, leads: bool) {
        self.metrics.leads(leads);
        self.lock().clear();
        self.upgrades.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// All metrics.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The observer of a provider. One that sees plain values of secrets (not `opaque`) is never recorded.
    pub(crate) fn observer(&self, provider: &str, opaque: bool) -> Observer {
        let recorder = if opaque { self.recorder.clone() } else { Recorder::default() };
        Observer { metrics: self.metrics.of(provider), recorder }
    }

    /// Notes a decision. One without an outcome, since the request did not change, keeps that of the decision before.
    pub(crate) fn note(&self, provider: &str, uid: &ParentUid, parent: &ObjectKey, mut explained: Explained) {
        let mut entries = self.lock();
        let known = entries.get(&(provider.to_owned(), uid.clone()));
        if let (true, Some((_, known))) = (explained.outcome.is_empty(), known) {
            explained.outcome.clone_from(&known.outcome);
            explained.message.clone_from(&known.message);
            explained.plan.clone_from(&known.plan);
            explained.refused.clone_from(&known.refused);
            explained.waits_for.clone_from(&known.waits_for);
        }
        provider.clone_into(&mut explained.provider);
        explained.parent = parent.title();
        entries.insert((provider.to_owned(), uid.clone()), (parent.clone(), explained));
    }

    /// The parent was deleted.
    pub(crate) fn forget(&self, provider: &str, uid: &ParentUid) {
        self.lock().remove(&(provider.to_owned(), uid.clone()));
    }

    /// Sets what the next version of a provider would change; `None` if none waits.
    pub(crate) fn plan_upgrade(&self, provider: &str, plan: Option<UpgradePlan>) {
        let mut upgrades = self.upgrades.lock().unwrap_or_else(PoisonError::into_inner);
        match plan {
            Some(plan) => upgrades.insert(provider.to_owned(), plan),
            None => upgrades.remove(provider),
        };
    }

    /// What the next version of a provider would change.
    pub(crate) fn upgrade(&self, provider: &str) -> Option<UpgradePlan> {
        self.upgrades.lock().unwrap_or_else(PoisonError::into_inner).get(provider).cloned()
    }

    /// The parents that are meant, and the decisions on them.
    pub(crate) fn find(&self, subject: &Subject) -> Vec<(ObjectKey, Explained)> {
        self.lock().values().filter(|(key, _)| subject.is(key)).cloned().collect()
    }

    /// Whom to ask about hand-overs.
    pub(crate) fn hand_overs(&self) -> &HandOvers {
        &self.hand_overs
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A panic leaves a valid map.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bartizan_contract::Kind;

    #[test]
    fn a_parent_is_found_by_its_kind_as_people_write_it() {
        let board = Board::default();
        let uid: ParentUid = "u".into();
        let key = ObjectKey::new(&Kind::new("minio.rook.io", "v1alpha1", "ObjectStore"), Some("n"), "s");
        board.note("minio", &uid, &key, Explained { outcome: "Applied".to_owned(), ..Explained::default() });
        let find = |kind: &str, namespace: Option<&str>| {
            let (kind, namespace) = (kind.to_owned(), namespace.map(str::to_owned));
            board.find(&Subject { kind, namespace, name: "s".to_owned() })
        };
        for kind in
            ["ObjectStore", "objectstore", "objectstores", "objectstore.minio.rook.io", "objectstores.minio.rook.io"]
        {
            assert_eq!(find(kind, Some("n")).len(), 1, "{kind}");
        }
        assert_eq!(find("objectstores.ceph.rook.io", Some("n")).len(), 0);
        assert_eq!(find("ObjectStore", None).len(), 1);
        assert_eq!(find("ObjectStore", Some("other")).len(), 0);
        board.note("minio", &uid, &key, Explained { call: "not called".to_owned(), ..Explained::default() });
        let found = find("ObjectStore", None);
        assert_eq!((found[0].1.call.as_str(), found[0].1.outcome.as_str()), ("not called", "Applied"));
        board.forget("minio", &uid);
        assert!(find("ObjectStore", None).is_empty());
    }
}
