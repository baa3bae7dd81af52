//! One provider at work: an actor that owns its index and queue. Watches and finished reconciles come in as messages, so
//! that nothing is shared and nothing is locked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_contract::Kind;
use bartizan_contract::names::PROVIDER_LABEL;
use bartizan_engine::index::{Index, ParentUid, Scope, Touched};
use bartizan_engine::object::Hash;
use bartizan_engine::queue::Finished;
use bartizan_engine::{Memory, ObjectKey, Observed, Priority, Queue};
use kube::Client;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::crds::ServedParent;
use crate::health::Health;
use crate::kinds::Resource;
use crate::reconcile::{Job, Report, Shared, reconcile};
use crate::watch::{Seen, Watch};

/// Reconciles of one provider under way at the same time.
const CONCURRENCY: usize = 4;
/// Events that may wait for the actor; a full channel slows the watches down, and loses nothing.
const EVENTS: usize = 1024;

/// What the host keeps of a parent between two reconciles.
#[derive(Default)]
struct Kept {
    memory: Memory,
    settled: Option<Hash>,
    resync_at: Option<Instant>,
}

/// The actor of one provider.
pub(crate) struct Controller {
    shared: Arc<Shared>,
    parents: BTreeMap<Kind, ServedParent>,
    watches: Vec<Watch>,
    index: Index,
    queue: Queue<ParentUid>,
    kept: BTreeMap<ParentUid, Kept>,
    running: JoinSet<Report>,
    in_flight: BTreeMap<Id, ParentUid>,
    health: Health,
    was_synced: bool,
    /// Watches that broke and have not listed since: what is known of these may be old.
    broken: BTreeMap<Scope, String>,
}

impl Controller {
    /// A controller for the provider that `shared` names, over the given namespaces (none: all).
    pub(crate) fn new(
        client: &Client,
        shared: Shared,
        parents: BTreeMap<Kind, ServedParent>,
        children: &BTreeMap<Kind, Resource>,
        namespaces: &[String],
        health: Health,
    ) -> Self {
        let mut watches = Vec::new();
        let selector = format!("{PROVIDER_LABEL}={}", shared.provider);
        let parent_kinds: Vec<Kind> = parents.keys().cloned().collect();
        let resources = parents
            .iter()
            .map(|(kind, parent)| (kind, &parent.resource, None))
            .chain(children.iter().map(|(kind, resource)| (kind, resource, Some(selector.clone()))));
        for (kind, resource, selector) in resources {
            for namespace in scopes(resource, namespaces) {
                watches.push(Watch {
                    client: client.clone(),
                    scope: Scope { kind: kind.clone(), namespace },
                    resource: resource.clone(),
                    selector: selector.clone(),
                    manager: shared.writer.manager().to_owned(),
                });
            }
        }
        let expected: BTreeSet<Scope> = watches.iter().map(|watch| watch.scope.clone()).collect();
        Self {
            index: Index::new(&shared.provider, parent_kinds, expected),
            shared: Arc::new(shared),
            parents,
            watches,
            queue: Queue::default(),
            kept: BTreeMap::new(),
            running: JoinSet::new(),
            in_flight: BTreeMap::new(),
            health,
            was_synced: false,
            broken: BTreeMap::new(),
        }
    }

    /// Works until told to stop; then finishes what is under way.
    ///
    /// # Errors
    /// If a watch task ends: without it nothing that the provider knows can be trusted.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let (to, mut seen) = mpsc::channel(EVENTS);
        let mut watching = JoinSet::new();
        for watch in std::mem::take(&mut self.watches) {
            watching.spawn(watch.run(to.clone()));
        }
        self.report_health();
        loop {
            self.start_what_is_due();
            if self.running.is_empty() {
                self.index.forget_tombstones();
            }
            let due = self.queue.next_due();
            tokio::select! {
                () = stop.cancelled() => break,
                Some((scope, event)) = seen.recv() => self.observe(&scope, event),
                Some(finished) = self.running.join_next_with_id(), if !self.running.is_empty() => self.finish(finished),
                Some(ended) = watching.join_next() => {
                    let provider = &self.shared.provider;
                    anyhow::bail!("a watch of provider {provider} ended, which it never should: {ended:?}");
                }
                // With every slot taken, what is due waits for one of them, not for its time.
                () = sleep_until(due), if due.is_some() && self.running.len() < CONCURRENCY => {}
            }
        }
        watching.shutdown().await;
        while let Some(finished) = self.running.join_next_with_id().await {
            self.finish(finished);
        }
        Ok(())
    }

    fn observe(&mut self, scope: &Scope, seen: Seen) {
        let now = Instant::now();
        match seen {
            Seen::Relist => self.index.begin_relist(scope),
            Seen::Object(object) => self.observe_object(*object, now),
            Seen::Gone(object) => {
                let touched = self.index.delete(&object.key, &object.uid, &object.resource_version);
                self.touch(&touched, Priority::Child, now);
            }
            Seen::Listed => {
                let touched = self.index.finish_relist(scope);
                self.touch(&touched, Priority::Child, now);
                self.broken.remove(scope);
                self.report_health();
            }
            Seen::Broken(reason) => {
                self.broken.insert(scope.clone(), reason);
                self.report_health();
            }
        }
    }

    /// Takes an object as a watch or the answer to a write shows it. A parent that somebody made or edited goes first, even
    /// if its edit is first seen in the answer to the host's own status write.
    fn observe_object(&mut self, object: Observed, now: Instant) {
        let is_parent = self.parents.keys().any(|kind| object.key.is_of(kind));
        let edited = is_parent
            && match self.index.get(&object.key) {
                Some(known) => known.digest != object.digest,
                None => self.was_synced,
            };
        let touched = self.index.apply(object);
        self.touch(&touched, if edited { Priority::Edit } else { Priority::Child }, now);
    }

    fn touch(&mut self, touched: &Touched, priority: Priority, now: Instant) {
        for uid in touched {
            if self.index.parent(uid).is_some() {
                self.queue.touch(uid, priority, now);
            } else {
                self.queue.forget(uid);
                self.kept.remove(uid);
            }
        }
    }

    /// Ready means: every list is complete (before, absence means nothing, and nothing is decided) and no watch is broken.
    fn report_health(&mut self) {
        if let Some((scope, reason)) = self.broken.first_key_value() {
            self.health.broken(&self.shared.provider, &scope.kind, reason);
        } else if self.index.is_synced() {
            if !self.was_synced {
                self.was_synced = true;
                let parents = self.index.parent_uids().count();
                info!(provider = self.shared.provider, parents, objects = self.index.len(), "serving");
            }
            self.health.serving(&self.shared.provider);
        } else {
            let waiting: BTreeSet<String> = self.index.unsynced().map(|scope| scope.kind.to_string()).collect();
            let waiting: Vec<String> = waiting.into_iter().collect();
            self.health.waiting(&self.shared.provider, &format!("listing {}", waiting.join(", ")));
        }
    }

    fn start_what_is_due(&mut self) {
        if !self.index.is_synced() {
            return;
        }
        while self.running.len() < CONCURRENCY
            && let Some(uid) = self.queue.take(Instant::now())
        {
            match self.job(&uid) {
                Some(job) => {
                    let shared = self.shared.clone();
                    let handle = self.running.spawn(async move { reconcile(&shared, job).await });
                    self.in_flight.insert(handle.id(), uid);
                }
                None => self.queue.finish(&uid, Finished::Done { resync: None }, Instant::now(), 0.0),
            }
        }
    }

    /// The snapshot of one parent; `None` if it is gone or going: its children go with it by their owner references, and
    /// nothing is applied once a deletion timestamp is set.
    fn job(&mut self, uid: &ParentUid) -> Option<Job> {
        let parent = self.index.parent(uid).filter(|parent| !parent.deleting)?;
        let (kind, served) = self.parents.iter().find(|(kind, _)| parent.key.is_of(kind))?;
        let kept = self.kept.entry(uid.clone()).or_default();
        Some(Job {
            children: self.index.children(uid),
            kind: kind.clone(),
            has_status: served.has_status,
            parent,
            memory: std::mem::take(&mut kept.memory),
            settled: kept.settled,
            resync_at: kept.resync_at,
        })
    }

    fn finish(&mut self, finished: Result<(Id, Report), JoinError>) {
        let now = Instant::now();
        let (id, report) = match finished {
            Ok((id, report)) => (id, Some(report)),
            Err(error) => {
                // A panic is contained: this parent backs off, the others go on.
                error!(provider = self.shared.provider, "reconcile ended unexpectedly: {error}");
                (error.id(), None)
            }
        };
        let Some(uid) = self.in_flight.remove(&id) else { return };
        let Some(report) = report else {
            self.queue.finish(&uid, Finished::Retry { after: None }, now, fastrand::f64());
            return;
        };
        // What was written is part of the next request: the provider is asked until its answer no longer changes.
        for object in report.observed {
            self.observe_object(object, now);
        }
        for delete in report.deleted {
            let touched = self.deleted(&delete.key, &delete.uid, &delete.resource_version);
            self.touch(&touched, Priority::Child, now);
        }
        if self.index.parent(&uid).is_some() {
            let children: BTreeSet<ObjectKey> =
                self.index.children(&uid).iter().map(|child| child.key.clone()).collect();
            let mut memory = report.memory;
            memory.retain(&children);
            self.kept.insert(uid.clone(), Kept { memory, settled: report.settled, resync_at: report.resync_at });
        }
        self.queue.finish(&uid, report.finished, now, fastrand::f64());
    }

    /// A deleted child without finalizers is gone; one with finalizers stays until its watch says so.
    fn deleted(&mut self, key: &ObjectKey, uid: &str, resource_version: &str) -> Touched {
        let has_finalizers = |child: &Arc<Observed>| child.value().pointer("/metadata/finalizers").is_some();
        if self.index.get(key).is_some_and(has_finalizers) {
            return Touched::new();
        }
        self.index.delete(key, uid, resource_version)
    }
}

/// The namespaces to watch a kind in: each of the given ones, or all at once.
fn scopes(resource: &Resource, namespaces: &[String]) -> Vec<Option<String>> {
    if resource.namespaced && !namespaces.is_empty() {
        let namespaces: BTreeSet<&String> = namespaces.iter().collect();
        namespaces.into_iter().cloned().map(Some).collect()
    } else {
        vec![None]
    }
}

async fn sleep_until(due: Option<Instant>) {
    // Without a timer the branch is off; the duration is never waited for.
    let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
    tokio::time::sleep_until(due.into()).await;
}
