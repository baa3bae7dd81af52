//! One provider at work: an actor that owns its index and queue. Watches and finished reconciles come in as messages, so
//! that nothing is shared and nothing is locked.

mod breakers;
mod calls;
mod former_kinds;
mod former_namespaces;
mod hand_over;
mod lacking_crds;
mod look_back;
mod observe;
mod previewing;
mod previews;
mod reads;
pub(crate) mod reporter;
mod reports;
mod starts;
pub(crate) mod startup;
mod tally;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_contract::provider::ActiveModule;
use bartizan_contract::{Kind, Reason};
use bartizan_engine::breaker::Called;
use bartizan_engine::index::{Index, Kinds, Scope};
use bartizan_engine::provider::claims::{Claim, claims_alone};
use bartizan_engine::queue::{BACKOFF_MAX, Finished};
use bartizan_engine::reconcile::{Ended as ReconcileEnded, Next, Report};
use bartizan_engine::snapshot::{Kept, Supplied};
use bartizan_engine::status::Outcome;
use bartizan_engine::{ObjectKey, ParentUid, Priority, Queue};
use kube::Client;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::catalog::Runnable;
use crate::controller::breakers::{Breakers, Due};
use crate::controller::reporter::Reporter;
use crate::kubernetes::served::Served;
use crate::kubernetes::watch::{Broken, Watch};
use crate::reconcile;
use crate::reconcile::shared::Shared;
use crate::telemetry::explain::Board;
use crate::telemetry::observer::Observer;
use crate::telemetry::timestamp;
use look_back::LookBack;
use previewing::Previewing;
use reads::Reads;
use tally::Tally;
use watches::watches;

/// Most watch events that are queued for the actor; a full channel slows the watches down and loses nothing.
const EVENTS: usize = 64;

/// Delay until a parent is requeued for which objects are being read; usually the end of that requeues it first.
const LISTING: Duration = Duration::from_secs(5);

/// What a controller needs to know of its surroundings, and where it reports.
pub(crate) struct Surroundings {
    /// What each Provider claims.
    pub(crate) claims: Arc<[Claim]>,
    /// Reports to the Providers actor.
    pub(crate) reporter: Reporter,
    /// Takes the explanations of decisions.
    pub(crate) board: Board,
}

/// Why a controller ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was cancelled.
    Stopped,
    /// The served kinds may have changed: they are resolved anew before the next start.
    KindsChanged,
    /// It was started for a preview only, which is complete.
    Previewed,
    /// The store went back in time: nothing that is known holds.
    WentBack,
}

/// Inputs of a running controller.
pub(crate) struct Inputs {
    /// The version that serves.
    pub(crate) versions: tokio::sync::watch::Receiver<Runnable>,
    /// A candidate to preview.
    pub(crate) candidates: tokio::sync::watch::Receiver<Option<Runnable>>,
    /// The version that the status of the Provider names.
    pub(crate) recorded: tokio::sync::watch::Receiver<Option<ActiveModule>>,
}

/// A reconcile in flight.
struct InFlight {
    /// Its parent.
    uid: ParentUid,
    /// The call that it makes.
    call: Option<Due>,
    /// Whether it lets go of a parent that another provider claims.
    leaves: bool,
    /// When it began.
    since: Instant,
}

/// The actor of one provider.
pub(crate) struct Controller {
    shared: Arc<Shared>,
    served: Served,
    watches: Vec<Watch>,
    index: Index,
    queue: Queue<ParentUid>,
    kept: BTreeMap<ParentUid, Kept>,
    unsure: BTreeMap<ParentUid, Vec<(Kind, ObjectKey)>>,
    /// Rounds of decisions that wait for objects to be read.
    supplied: BTreeMap<ParentUid, Supplied>,
    running: JoinSet<Option<Report>>,
    in_flight: BTreeMap<Id, InFlight>,
    breakers: Breakers,
    reads: Reads,
    /// Lists that show whether the store went back in time, and of what.
    looking_back: LookBack,
    claims: Arc<[Claim]>,
    /// Whether nobody else claims any of its parents.
    serves_all: bool,
    reporter: Reporter,
    board: Board,
    observer: Observer,
    was_synced: bool,
    tally: Tally,
    /// Whether it was reported that no status is refused.
    told_status: bool,
    /// The number of parents in the last report.
    told_parents: Option<usize>,
    /// How many objects were reported that only look like children.
    told_ignored: u64,
    /// Watches that broke and have not relisted since: their objects may be stale.
    broken: BTreeMap<Scope, Broken>,
    /// No new reconcile is started.
    stopping: bool,
    /// The candidate that is being previewed.
    previewing: Option<Previewing>,
    /// Nothing is served: it only previews its own version.
    only_previews: bool,
    /// Whether that was reported.
    told_unrecorded: bool,
    /// Since when the status of the Provider has named another version than the one that serves.
    recorded_otherwise: Option<Instant>,
    /// Parents whose status could not be written the last time.
    status_blocked: BTreeSet<ParentUid>,
    /// Parents that need a right that the account lacks.
    denied: BTreeMap<ParentUid, String>,
    /// What was reported of them last.
    told_denied: Option<(usize, String)>,
}

impl Controller {
    /// A controller for the provider that `shared` names, over the given namespaces (none: all).
    pub(crate) fn new(
        client: &Client,
        shared: Shared,
        served: Served,
        namespaces: &[String],
        surroundings: Surroundings,
    ) -> Self {
        let Surroundings { claims, reporter, board } = surroundings;
        let observer = board.observer(shared.provider(), shared.writer.projection().tokenizer.is_some());
        let watches = watches(client, &shared, &served, namespaces);
        let serves_all = served.parents.keys().all(|kind| claims_alone(&claims, shared.provider(), &kind.into()));
        let expected: BTreeSet<Scope> = watches.iter().map(|watch| watch.scope.clone()).collect();
        let kinds = Kinds {
            parents: served.parents.keys().cloned().collect(),
            descendants: served.descendants.keys().cloned().collect(),
            related: served.related.keys().cloned().collect(),
            grants: shared.context.grants.clone(),
        };
        Self {
            index: Index::new(shared.provider(), kinds, expected),
            shared: Arc::new(shared),
            served,
            watches,
            queue: Queue::default(),
            kept: BTreeMap::new(),
            unsure: BTreeMap::new(),
            supplied: BTreeMap::new(),
            running: JoinSet::new(),
            in_flight: BTreeMap::new(),
            breakers: Breakers::default(),
            reads: Reads::default(),
            looking_back: LookBack::default(),
            serves_all,
            claims,
            reporter,
            board,
            observer,
            was_synced: false,
            tally: Tally::default(),
            told_status: false,
            told_parents: None,
            told_ignored: 0,
            broken: BTreeMap::new(),
            stopping: false,
            previewing: None,
            only_previews: false,
            recorded_otherwise: None,
            told_unrecorded: false,
            status_blocked: BTreeSet::new(),
            denied: BTreeMap::new(),
            told_denied: None,
        }
    }

    /// Only previews its own version, and ends.
    pub(crate) fn only_preview(mut self, version: &Runnable) -> Self {
        self.previewing = Some(Previewing::new(version.version.id(), self.shared.clone(), None));
        self.only_previews = true;
        self
    }

    /// Runs until it is cancelled, with the newest version of its inputs, or until `changed` says that the served kinds may have
    /// changed; then finishes the reconciles in flight.
    ///
    /// # Errors
    /// If a watch task ends: without it the index cannot be trusted.
    pub(crate) async fn run(
        mut self,
        stop: &CancellationToken,
        inputs: &mut Inputs,
        changed: impl Future<Output = ()>,
    ) -> anyhow::Result<Ended> {
        let (to, mut seen) = mpsc::channel(EVENTS);
        // Parents first: of what looks like a child of none, no more than its key is ever kept.
        let is_of_parents = |watch: &Watch| self.served.parents.contains_key(&watch.scope.kind);
        let (first, mut later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.watches).into_iter().partition(is_of_parents);
        let mut watching: JoinSet<()> = first.into_iter().map(|watch| watch.run(to.clone())).collect();
        self.report_health();
        self.report_breakers();
        let mut changed = std::pin::pin!(changed);
        if let Some(candidate) = &*inputs.candidates.borrow_and_update() {
            self.preview(Some(candidate));
        }
        let ended = loop {
            if self.index.knows_parents() {
                later.drain(..).for_each(|watch| {
                    watching.spawn(watch.run(to.clone()));
                });
            }
            self.list_what_is_new();
            let now = Instant::now();
            self.look_at_record(inputs, now);
            self.start_what_is_due(now);
            self.go_on_previewing();
            if self.only_previews && self.previewing.is_none() {
                break Ended::Previewed;
            }
            if self.running.is_empty() && self.reads.is_idle() {
                self.index.forget_tombstones();
            }
            self.count();
            let waits_for_time = self.may_decide() && self.running.len() < self.shared.concurrency;
            let due = match waits_for_time {
                true => [self.queue.next_due(), self.breakers.next_try(now)].into_iter().flatten().min(),
                false => self.record_due(now),
            };
            tokio::select! {
                () = stop.cancelled() => break Ended::Stopped,
                () = &mut changed => break Ended::KindsChanged,
                Ok(()) = inputs.versions.changed() => self.swap(&inputs.versions.borrow_and_update()),
                Ok(()) = inputs.candidates.changed() => self.preview(inputs.candidates.borrow_and_update().as_ref()),
                Ok(()) = inputs.recorded.changed() => {}
                looked = Previewing::next(&mut self.previewing) => self.looked(looked),
                Some((scope, event)) = seen.recv() => self.observe(&scope, event),
                Some(finished) = self.running.join_next_with_id(), if !self.running.is_empty() => self.finish(finished),
                Some(listed) = self.reads.next(), if !self.reads.is_idle() => self.listed(listed),
                Some(version) = self.looking_back.next() => {
                    if self.looked_back(version) {
                        break Ended::WentBack;
                    }
                }
                Some(ended) = watching.join_next() => {
                    let provider = self.shared.provider();
                    anyhow::bail!("a watch of provider {provider} ended, which it never should: {ended:?}");
                }
                // While every slot is taken, due parents wait for a slot, not for a timer; and not for one before anything may be decided.
                () = sleep_until(due), if due.is_some() => {}
            }
        };
        watching.shutdown().await;
        self.stopping = true;
        while let Some(finished) = self.running.join_next_with_id().await {
            self.finish(finished);
        }
        self.observer.metrics.no_parents();
        self.observer.metrics.waiting(0);
        self.breakers = Breakers::default();
        self.report_breakers();
        for kind in self.index.scopes().map(|scope| &scope.kind) {
            self.observer.metrics.watch_ended(kind);
        }
        Ok(ended)
    }

    /// Another version takes over: reconciles in flight finish with the previous one, later ones call this one. Every parent is
    /// requeued, failed ones first.
    fn swap(&mut self, next: &Runnable) {
        let (version, digest) = (next.version.number(), next.version.digest());
        info!(provider = self.shared.provider(), version, digest, "another version takes over");
        self.shared = Arc::new(self.shared.with(next));
        self.observer.metrics.swapped();
        // Faults of the previous version say nothing about this one.
        self.breakers = Breakers::default();
        self.report_breakers();
        let all = self.index.parent_uids().cloned();
        let (failed, others) = all.partition(|uid| self.queue.failures(uid) > 0);
        let now = Instant::now();
        self.touch(&failed, Priority::Edit, now);
        self.touch(&others, Priority::Resync, now);
    }

    /// Whether what is known of the parents is complete and current. Of one that was edited, paused or deleted meanwhile, nothing is
    /// written by what it was before; of other kinds that are not current, the preconditions of each write say so.
    fn may_decide(&self) -> bool {
        let is_of_parents = |scope: &Scope| self.served.parents.contains_key(&scope.kind);
        let may_serve = !self.only_previews && self.recorded_otherwise.is_none();
        self.index.is_synced() && may_serve && self.looking_back.is_done() && !self.broken.keys().any(is_of_parents)
    }

    fn finish(&mut self, finished: Result<(Id, Option<Report>), JoinError>) {
        let now = Instant::now();
        let (id, report) = match finished {
            Ok((id, report)) => (id, report),
            Err(error) => {
                // A panic is contained: this parent backs off, the others are not affected.
                error!(provider = self.shared.provider(), "reconcile ended unexpectedly: {error}");
                self.observer.metrics.reconciled("failed");
                (error.id(), None)
            }
        };
        let Some(InFlight { uid, call, leaves, since }) = self.in_flight.remove(&id) else { return };

        // A request for related objects is only half an answer: the next round decides.
        let called = report.as_ref().filter(|report| matches!(report.next, Next::Finish(_)));
        self.called(call.as_ref(), called.map_or(Called::No, |report| report.called.clone()), now);
        let Some(report) = report else {
            self.queue.finish(&uid, Finished::Retry { after: None, most: BACKOFF_MAX }, now, fastrand::f64());
            return;
        };
        // Writes are part of the next request: the provider is called until its answer no longer changes.
        for object in report.observed {
            self.observe_object(object, now);
        }
        for delete in &report.deleted {
            let touched = self.index.deleted(delete);
            self.touch(&touched, Priority::Child, now);
        }
        if let Some(result) = reconcile::explain::result(&report.ended) {
            self.observer.metrics.reconciled(result);
        }
        let parent = self.index.parent(&uid);
        if let ReconcileEnded::Decided(decided) = &report.ended {
            let blocked = parent.as_ref().zip(decided.status_error.as_ref());
            let untold = parent.as_ref().filter(|parent| self.has_no_room_for(parent, &decided.outcome));
            // A lost race writes none, and an error that may pass says nothing about the status.
            let is_raced = matches!(report.next, Next::Finish(Finished::Again { .. }));
            if let (Some(message), Some(parent)) = (&decided.denied, &parent) {
                self.report_denied(&uid, Some(format!("{}: {message}", parent.key)));
            } else if !is_raced && !matches!(decided.outcome, Outcome::Failed { reason: Reason::ApplyFailed, .. }) {
                // A failure that passes says nothing about the right.
                self.report_denied(&uid, None);
            }
            if !is_raced && !blocked.is_some_and(|(_, error)| error.may_pass()) {
                let untold = untold.map(|parent| {
                    format!("{}: {}; its kind has no room for conditions", parent.key, decided.outcome.message())
                });
                self.report_status(&uid, blocked.map(|(parent, error)| format!("{}: {error}", parent.key)).or(untold));
            }
        }
        if parent.is_some() {
            let children: BTreeSet<ObjectKey> =
                self.index.children(&uid).iter().map(|child| child.key.clone()).collect();
            let mut kept = report.kept;
            kept.memory.retain(&children);
            if let Some(outcome) = &kept.outcome {
                self.tally.decided(&uid, outcome.synced());
            }
            self.kept.insert(uid.clone(), kept);
            self.index.refer(
                &uid,
                match &report.next {
                    Next::Supply(supplied) => supplied.references.clone(),
                    Next::Finish(_) => report.references,
                },
            );
            self.index.want(&uid, report.wanted);
            if !report.unsure.is_empty() {
                self.unsure.insert(uid.clone(), report.unsure);
            }
        }
        let finished_at = match &report.next {
            Next::Finish(finished) => Some(*finished),
            Next::Supply(_) => None,
        };
        match report.next {
            Next::Supply(supplied) if !self.stopping => self.start(uid.clone(), supplied, Some(since)),
            Next::Supply(_) => {}
            Next::Finish(finished) => {
                self.observer.metrics.reconciled_in(now.saturating_duration_since(since));
                self.queue.finish(&uid, finished, now, fastrand::f64());
            }
        }
        if leaves && matches!(finished_at, Some(Finished::Done { .. })) {
            self.forget_if_left(&uid, now);
        }
        let parent = self.index.parent(&uid);
        if let (Some(parent), Some(mut explained)) = (parent, reconcile::explain::explained(&report.ended)) {
            explained.next = self.queue.due(&uid).map(|due| time_of(due, now));
            explained.failures = self.queue.failures(&uid);
            self.board.note(self.shared.provider(), &uid, &parent.key, explained);
        }
    }
}

/// The wall-clock time of a due instant, RFC 3339.
fn time_of(due: Instant, now: Instant) -> String {
    let after = due.saturating_duration_since(now);
    timestamp::in_future(after)
}

async fn sleep_until(due: Option<Instant>) {
    // Without a timer the branch is disabled; the duration is never slept.
    let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
    tokio::time::sleep_until(due.into()).await;
}
