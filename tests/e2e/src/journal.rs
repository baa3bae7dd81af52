//! The changes to the members of Cassandra clusters, in the order in which the API server committed them: resource
//! versions are shared by all kinds, so that changes of different kinds can be ordered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bartizan_harness::wait::wait_for;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::stage::Stage;
use crate::timeouts::SOON;

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its resource version: larger is later.
    pub version: u64,
    /// As `Pod`.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Whether this is the deletion.
    pub deleted: bool,
    /// Whether the object existed when the journal began, so that its earlier changes are unknown.
    pub initial: bool,
    /// The object.
    pub object: DynamicObject,
}

impl Change {
    /// Whether it is about this object.
    #[must_use]
    pub fn is(&self, kind: &str, name: &str) -> bool {
        self.kind == kind && self.name == name
    }

    /// The label on a member's Service that asks the member to leave the ring (`false`) or says that it has left
    /// (`true`).
    #[must_use]
    pub fn decommissioned(&self) -> Option<&str> {
        self.object.labels().get("cassandra.rook.io/decommissioned").map(String::as_str)
    }

    /// The desired number of pods of a StatefulSet.
    #[must_use]
    pub fn replicas(&self) -> i64 {
        self.object.data["spec"]["replicas"].as_i64().unwrap_or(0)
    }

    /// Whether its deletion was requested.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// Whether a pod is Ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let conditions = self.object.data["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    }

    fn cluster(&self) -> &str {
        self.object.labels().get("cassandra.rook.io/cluster").map_or("", String::as_str)
    }
}

type Changes = watch::Sender<Vec<Change>>;

/// Records every change of pods, Services, StatefulSets and claims of a namespace until it is dropped.
pub struct Journal {
    changes: Arc<Changes>,
    apis: Vec<Api<DynamicObject>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Journal {
    /// Starts with the existing objects.
    ///
    /// # Errors
    /// If it cannot be listed.
    pub async fn start(stage: &Stage, namespace: &str) -> Result<Self> {
        let changes = Arc::new(watch::channel(Vec::new()).0);
        let (mut apis, mut tasks) = (Vec::new(), Vec::new());
        for resource in [
            ApiResource::erase::<Service>(&()),
            ApiResource::erase::<StatefulSet>(&()),
            ApiResource::erase::<Pod>(&()),
            ApiResource::erase::<PersistentVolumeClaim>(&()),
        ] {
            let api: Api<DynamicObject> = Api::namespaced_with(stage.cluster.client(), namespace, &resource);
            let list = api.list(&ListParams::default()).await?;
            let version = list.metadata.resource_version.context("a list without a version")?;
            for object in list.items {
                record(&changes, &resource.kind, object, false, true);
            }
            tasks.push(tokio::spawn(follow(api.clone(), resource.kind, version, Arc::clone(&changes))));
            apis.push(api);
        }
        Ok(Self { changes, apis, tasks })
    }

    /// Waits for a change that matches, and returns its version.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn wait(&self, what: &str, within: Duration, wanted: impl Fn(&Change) -> bool) -> Result<u64> {
        let mut changes = self.changes.subscribe();
        let waited = tokio::time::timeout(within, changes.wait_for(|changes| changes.iter().any(&wanted))).await;
        let found = match waited {
            Ok(found) => found?.iter().filter(|change| wanted(change)).map(|change| change.version).min(),
            Err(_) => None,
        };
        found.with_context(|| format!("waited {} s for {what}", within.as_secs_f32()))
    }

    /// All changes so far, in order.
    ///
    /// # Errors
    /// If the objects cannot be listed, or their current versions do not arrive in time.
    pub async fn changes(&self) -> Result<Vec<Change>> {
        wait_for("the journal to have everything", SOON, async || {
            for api in &self.apis {
                for object in api.list(&ListParams::default()).await? {
                    let version = number(&object);
                    if !self.changes.borrow().iter().any(|change| change.version == version) {
                        bail!("{} at {version} is missing", object.name_any());
                    }
                }
            }
            Ok(Some(()))
        })
        .await?;
        let mut changes = self.changes.borrow().clone();
        changes.sort_by_key(|change| change.version);
        Ok(changes)
    }

    /// Checks the invariants of a cluster's life: no member joins or leaves while another is not ready, no
    /// StatefulSet loses a member that has not left the ring, no Service is deleted before its member's pod and
    /// claims, and one member leaves at a time.
    ///
    /// # Errors
    /// Names the change that violates one.
    pub async fn check(&self) -> Result<()> {
        let key = |change: &Change| (change.kind.clone(), change.name.clone());
        let (initial, later): (Vec<_>, Vec<_>) = self.changes().await?.into_iter().partition(|change| change.initial);
        let mut now: BTreeMap<_, _> = initial.into_iter().map(|change| (key(&change), change)).collect();
        for change in later {
            let key = key(&change);
            let before = now.get(&key);
            let of_kind = |kind: &str| {
                let same = |other: &&Change| other.cluster() == change.cluster() && other.name != change.name;
                now.values().filter(move |other| other.kind == kind).filter(same).collect::<Vec<_>>()
            };
            let title = format!("{} {} at {}", change.kind, change.name, change.version);
            match change.kind.as_str() {
                "Pod" => {
                    let unwell: Vec<&str> = of_kind("Pod")
                        .into_iter()
                        .filter(|pod| !pod.is_ready() || pod.is_terminating())
                        .map(|pod| pod.name.as_str())
                        .collect();
                    let begins_terminating =
                        change.is_terminating() && before.is_some_and(|before| !before.is_terminating());
                    let joins = before.is_none();
                    if joins {
                        let service = now.get(&("Service".to_owned(), change.name.clone()));
                        ensure!(service.is_some(), "{title} is there before its Service");
                    }
                    ensure!(
                        !(joins || begins_terminating) || unwell.is_empty(),
                        "{title} came or went while {unwell:?} were not well"
                    );
                }
                "StatefulSet" => {
                    let replicas = before.map_or(change.replicas(), Change::replicas);
                    for ordinal in change.replicas()..replicas {
                        let service = now.get(&("Service".to_owned(), format!("{}-{ordinal}", change.name)));
                        let left = service.and_then(Change::decommissioned) == Some("true");
                        ensure!(left, "{title} loses member {ordinal}, which has not left the ring");
                    }
                }
                "Service" if change.deleted => {
                    let pod = now.contains_key(&("Pod".to_owned(), change.name.clone()));
                    let claim = now.keys().any(|(kind, name)| {
                        kind == "PersistentVolumeClaim" && name.ends_with(&format!("-{}", change.name))
                    });
                    ensure!(!pod && !claim, "{title} goes before its pod or claims");
                }
                "Service" if change.decommissioned().is_some() => {
                    let leaving: Vec<&str> = of_kind("Service")
                        .into_iter()
                        .filter(|service| service.decommissioned().is_some())
                        .map(|service| service.name.as_str())
                        .collect();
                    ensure!(leaving.is_empty(), "{title} leaves while {leaving:?} do");
                }
                _ => {}
            }
            if change.deleted {
                now.remove(&key);
            } else {
                now.insert(key, change);
            }
        }
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn number(object: &DynamicObject) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn record(changes: &Changes, kind: &str, object: DynamicObject, deleted: bool, initial: bool) {
    let (version, name) = (number(&object), object.name_any());
    let change = Change { version, kind: kind.to_owned(), name, deleted, initial, object };
    changes.send_modify(|changes| changes.push(change));
}

/// Follows a kind across watches, each from where the last one ended.
async fn follow(api: Api<DynamicObject>, kind: String, mut version: String, changes: Arc<Changes>) {
    while let Ok(events) = api.watch(&WatchParams::default(), &version).await {
        let mut events = std::pin::pin!(events);
        while let Some(Ok(event)) = events.next().await {
            let (object, deleted) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(mark) => {
                    version = mark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(_) => return,
            };
            version = object.resource_version().unwrap_or(version);
            record(&changes, &kind, object, deleted, false);
        }
    }
}
