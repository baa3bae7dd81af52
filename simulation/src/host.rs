//! A host on the API server in memory: an index that watch events feed, the state that is kept for each parent, and the engine's
//! reconcile, driven according to a schedule.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_contract::digest::sha256;
use bartizan_contract::{Kind, ReconcileResponse};
use bartizan_engine::decide::{DecideInput, Decision, decide};
use bartizan_engine::index::Kinds;
use bartizan_engine::plan::FinalizerStep;
use bartizan_engine::reconcile::{CallError, Clock, Effect, Next, Reconcile, Reply, Report, Ticket};
use bartizan_engine::snapshot::{Kept, Left, ProviderContext, Question, Snapshot, Supplied};
use bartizan_engine::{ApiError, Index, ObjectKey, Observed, ParentUid, Refusal};

use crate::api_server::{ApiServer, Caller, WatchEvent};
use crate::schedule::{Fault, Schedule};

/// A provider: a pure function from a request to its answer.
pub trait Provider {
    /// The answer, or why there is none.
    ///
    /// # Errors
    /// If there is no answer.
    fn answer(&self, request: &[u8]) -> Result<Result<ReconcileResponse, Refusal>, CallError>;
}

impl<F: Fn(&[u8]) -> ReconcileResponse> Provider for F {
    fn answer(&self, request: &[u8]) -> Result<Result<ReconcileResponse, Refusal>, CallError> {
        Ok(Ok(self(request)))
    }
}

/// A host that serves the parents of one kind for one provider.
#[derive(Clone, Debug)]
pub struct Host {
    context: Arc<ProviderContext>,
    manager: String,
    kind: Kind,
    /// Its cache of the cluster.
    pub index: Index,
    kept: BTreeMap<ParentUid, Kept>,
    unsure: BTreeMap<ParentUid, Vec<(Kind, ObjectKey)>>,
    /// How many events of the API server each of its watches has seen, by kind: watches of different kinds know nothing of one another.
    seen: BTreeMap<String, usize>,
    /// Set if its provider does not claim the parents any more.
    pub left: Option<Left>,
    /// The effects of the last reconcile in the order in which they were carried out, and whether each succeeded from the host's
    /// point of view.
    pub trace: Vec<(Effect, bool)>,
}

/// The result of a simulated reconcile.
#[derive(Debug)]
pub enum Outcome {
    /// The parent does not exist.
    NoParent,
    /// The host crashed: its state is lost, and it must be restarted.
    Crashed,
    /// It ended with this report.
    Ended(Box<Report>),
}

impl Host {
    /// A host with an empty cache, which receives all events from the first on.
    #[must_use]
    pub fn new(context: Arc<ProviderContext>, manager: &str, kind: Kind) -> Self {
        let kinds = Kinds { parents: vec![kind.clone()], grants: context.grants.clone(), ..Kinds::default() };
        Self {
            index: Index::new(&context.name, kinds, BTreeSet::new()),
            context,
            manager: manager.to_owned(),
            kind,
            kept: BTreeMap::new(),
            unsure: BTreeMap::new(),
            seen: BTreeMap::new(),
            left: None,
            trace: Vec::new(),
        }
    }

    /// The same host after a restart: it has listed all objects, and remembers nothing.
    #[must_use]
    pub fn restarted(&self, server: &ApiServer) -> Self {
        self.restarted_at(server, server.events.len())
    }

    /// The same host after a restart, with lists that an API server answered which had seen so many events.
    #[must_use]
    pub fn restarted_at(&self, server: &ApiServer, events: usize) -> Self {
        let mut host = Self::new(self.context.clone(), &self.manager, self.kind.clone());
        host.left = self.left.clone();
        let mut objects = BTreeMap::new();
        for event in server.events.iter().take(events) {
            let (WatchEvent::Applied(object) | WatchEvent::Deleted(object)) = event;
            let Some(key) = host.observe(object).map(|object| object.key) else { continue };
            match event {
                WatchEvent::Applied(object) => objects.insert(key, object),
                WatchEvent::Deleted(_) => objects.remove(&key),
            };
        }
        // Parents first, as the controller lists them.
        let is_parent = |key: &ObjectKey| key.is_of(&self.kind);
        for parents in [true, false] {
            for (_, object) in objects.iter().filter(|(key, _)| is_parent(key) == parents) {
                host.see(&WatchEvent::Applied(Arc::clone(object)));
            }
        }
        for event in &server.events {
            host.seen.insert(event.kind().to_owned(), events);
        }
        host
    }

    /// Another version of its provider takes over.
    pub fn swap(&mut self, version: Arc<ProviderContext>) {
        self.context = version;
    }

    /// The projection of an object by this host.
    #[must_use]
    pub fn observe(&self, object: &serde_json::Value) -> Option<Observed> {
        Observed::project(object.clone(), &self.manager).ok()
    }

    /// Delivers this many more events of its watches, in the order of all.
    pub fn deliver(&mut self, server: &ApiServer, events: usize) {
        for _ in 0..events {
            let next = self.kinds_behind(server).into_iter().filter_map(|kind| self.next_event(server, &kind));
            let Some(next) = next.min() else { return };
            self.deliver_event(server, next);
        }
    }

    /// Delivers the next event of the watch of this kind.
    pub fn deliver_of(&mut self, server: &ApiServer, kind: &str) {
        if let Some(next) = self.next_event(server, kind) {
            self.deliver_event(server, next);
        }
    }

    fn deliver_event(&mut self, server: &ApiServer, number: usize) {
        let Some(event) = server.events.get(number) else { return };
        self.seen.insert(event.kind().to_owned(), number + 1);
        self.see(event);
    }

    fn next_event(&self, server: &ApiServer, kind: &str) -> Option<usize> {
        let seen = self.seen.get(kind).copied().unwrap_or_default();
        let mut events = server.events.iter().enumerate().skip(seen);
        events.find(|(_, event)| event.kind() == kind).map(|(number, _)| number)
    }

    /// The kinds whose watches have events to deliver.
    #[must_use]
    pub fn kinds_behind(&self, server: &ApiServer) -> BTreeSet<String> {
        self.pending(server).map(|event| event.kind().to_owned()).collect()
    }

    /// The events that its watches have not delivered yet.
    pub fn pending<'a>(&self, server: &'a ApiServer) -> impl Iterator<Item = &'a WatchEvent> {
        let is_pending =
            |(number, event): &(usize, &WatchEvent)| self.seen.get(event.kind()).is_none_or(|seen| number >= seen);
        server.events.iter().enumerate().filter(is_pending).map(|(_, event)| event)
    }

    /// Handles one event, in any order.
    pub fn see(&mut self, event: &WatchEvent) {
        match event {
            WatchEvent::Applied(object) => {
                let Some(object) = self.observe(object) else { return };
                // Children are watched by their label: one that lost it is reported as deleted.
                let is_watched =
                    object.key.is_of(&self.kind) || object.provider.as_deref() == Some(&*self.context.name);
                if is_watched {
                    self.index.apply(object);
                } else {
                    self.index.delete(&object.key, &object.uid, &object.resource_version);
                }
            }
            WatchEvent::Deleted(object) => {
                if let Some(object) = self.observe(object) {
                    self.index.delete(&object.key, &object.uid, &object.resource_version);
                }
            }
        }
    }

    /// The snapshot on which a decision on a parent would be based.
    #[must_use]
    pub fn snapshot(&self, uid: &ParentUid, mut supplied: Supplied) -> Option<Snapshot> {
        let parent = self.index.parent(uid)?;
        supplied.objects = self.index.related(&supplied.references);
        let children = self.index.children(uid);
        Some(Snapshot {
            descendants: self.index.descendants(&children),
            kind: self.kind.clone(),
            status: Arc::default(),
            optional_kinds: BTreeMap::new(),
            left: self.left.clone(),
            unread: None,
            parent,
            children,
            supplied,
        })
    }

    /// How many events of its watches it has not received yet.
    #[must_use]
    pub fn backlog(&self, server: &ApiServer) -> usize {
        self.pending(server).count()
    }

    /// What it remembers of a parent and one of its children, without what differs between runs that came to the same state: of a hash,
    /// whether it is that of what is known now.
    #[must_use]
    pub fn remembers(&self, uid: &ParentUid, key: &ObjectKey) -> String {
        let Some(kept) = self.kept.get(uid) else { return String::new() };
        let known = self.index.get(key).map(|child| child.digest).unwrap_or_default();
        let request = self.snapshot(uid, Supplied::default());
        let request = request.map(|snapshot| snapshot.request(&self.context, Question::Serve(FinalizerStep::Keep)));
        let is_settled =
            request.map(|request| sha256(&request)) == kept.settled.as_ref().map(|settled| settled.request);
        let unsure = self.unsure.get(uid).is_some_and(|unsure| unsure.iter().any(|(_, unsure)| unsure == key));
        format!("{:?} {is_settled} {unsure}", kept.memory.last(key, &known))
    }

    /// The decision on a parent now, if its provider gave this answer.
    #[must_use]
    pub fn decide(&self, uid: &ParentUid, answer: ReconcileResponse) -> Option<Decision> {
        let snapshot = self.snapshot(uid, Supplied::default())?;
        let (issued, kept) = (snapshot.issued(), self.kept.get(uid).cloned().unwrap_or_default());
        let input = DecideInput {
            context: &self.context,
            snapshot: &snapshot,
            question: Question::Serve(FinalizerStep::Keep),
            issued: &issued,
            memory: &kept.memory,
            unsure: &BTreeSet::new(),
            resting: &BTreeSet::new(),
        };
        Some(decide(&input, Ok(answer)))
    }

    /// Reconciles a parent once, as the host's controller does, including the rounds in which the provider requests related
    /// objects.
    pub fn reconcile(
        &mut self,
        server: &mut ApiServer,
        uid: &ParentUid,
        provider: &dyn Provider,
        schedule: &mut dyn Schedule,
    ) -> Outcome {
        let mut supplied = Supplied { references: self.index.references(uid), ..Supplied::default() };
        loop {
            let Some(snapshot) = self.snapshot(uid, supplied) else { return Outcome::NoParent };
            let (kept, unsure) = (self.kept.remove(uid), self.unsure.remove(uid));
            let (kept, unsure) = (kept.unwrap_or_default(), unsure.unwrap_or_default());
            let reconcile = Reconcile::new(self.context.clone(), snapshot, kept, unsure);
            let Some(report) = self.drive(reconcile, server, provider, schedule) else { return Outcome::Crashed };
            match self.take(uid, report) {
                Ok(report) => return Outcome::Ended(Box::new(report)),
                Err(more) => supplied = more,
            }
        }
    }

    /// Drives a reconcile to its end; `None` if the host crashed.
    fn drive(
        &mut self,
        mut reconcile: Reconcile,
        server: &mut ApiServer,
        provider: &dyn Provider,
        schedule: &mut dyn Schedule,
    ) -> Option<Report> {
        let parent = reconcile.snapshot().parent.clone();
        self.trace.clear();
        let caller = Caller { context: &self.context, manager: &self.manager, parent: &parent };
        let clock = FrozenClock { instant: Instant::now(), timestamp: server.now() };
        let mut pending: Vec<(Ticket, Effect)> = Vec::new();
        loop {
            pending.extend(reconcile.effects(&clock));
            if pending.is_empty() {
                return reconcile.into_report();
            }
            schedule.before(server);
            let picked = schedule.pick(pending.len()) % pending.len();
            let (ticket, effect) = pending.remove(picked);
            let reply = match &effect {
                Effect::Call(request) => Reply::Called(provider.answer(request)),
                _ => carry_out(server, caller, &effect, schedule.fault())?,
            };
            self.trace.push((effect, is_ok(&reply)));
            reconcile.reply(ticket, reply, &clock);
        }
    }

    /// Applies the report of a reconcile, as the controller does; an error holds the related objects that the provider requested.
    fn take(&mut self, uid: &ParentUid, report: Report) -> Result<Report, Supplied> {
        for object in &report.observed {
            self.index.apply(object.clone());
        }
        for delete in &report.deleted {
            self.index.deleted(delete);
        }
        self.index.want(uid, report.wanted.iter().cloned());
        if self.index.parent(uid).is_some() {
            let children: BTreeSet<ObjectKey> =
                self.index.children(uid).iter().map(|child| child.key.clone()).collect();
            let mut kept = report.kept.clone();
            kept.memory.retain(&children);
            self.kept.insert(uid.clone(), kept);
            self.index.refer(uid, report.references.clone());
            if !report.unsure.is_empty() {
                self.unsure.insert(uid.clone(), report.unsure.clone());
            }
        }
        match &report.next {
            Next::Supply(supplied) => Err(supplied.clone()),
            Next::Finish(_) => Ok(report),
        }
    }
}

/// Carries out an effect with a fault, if any; `None` if the host crashed.
fn carry_out(server: &mut ApiServer, caller: Caller<'_>, effect: &Effect, fault: Option<Fault>) -> Option<Reply> {
    let lost = || failed(effect, ApiError::transient("the API server did not answer".to_owned()));
    match fault {
        Some(Fault::Busy) => {
            let (message, retry_after) = ("too many requests".to_owned(), Some(Duration::from_secs(1)));
            Some(failed(effect, ApiError::Transient { message, retry_after, is_busy: true }))
        }
        Some(Fault::Conflict) => Some(failed(effect, ApiError::Conflict("the object has been modified".to_owned()))),
        Some(Fault::Forbidden) => Some(failed(effect, ApiError::Forbidden("exceeded quota".to_owned()))),
        Some(Fault::Invalid) => {
            let (message, fields) = ("it is invalid".to_owned(), Vec::new());
            Some(failed(effect, ApiError::Invalid { message, fields }))
        }
        Some(Fault::Lost) => Some(lost()),
        Some(Fault::Unanswered) => {
            server.handle(caller, effect);
            Some(lost())
        }
        Some(Fault::CrashBefore) => None,
        Some(Fault::CrashAfter) => {
            server.handle(caller, effect);
            None
        }
        None => server.handle(caller, effect).or_else(|| Some(lost())),
    }
}

fn is_ok(reply: &Reply) -> bool {
    match reply {
        Reply::Called(result) => result.is_ok(),
        Reply::Terminating(result) => result.is_ok(),
        Reply::Children(result) => result.is_ok(),
        Reply::Object(result) => result.is_ok(),
        Reply::Claimed(result) => result.is_ok(),
        Reply::Parent(result) => result.is_ok(),
        Reply::Address(result) => result.is_ok(),
        Reply::Done(result) => result.is_ok(),
    }
}

/// An error, as the reply that the effect expects.
fn failed(effect: &Effect, error: ApiError) -> Reply {
    match effect {
        Effect::ReadNamespace(_) => Reply::Terminating(Err(error)),
        Effect::ListChildren => Reply::Children(Err(error)),
        Effect::ClaimItems { .. } => Reply::Claimed(Err(error)),
        // Lost events are not reported as errors.
        Effect::SendEvent(_) => Reply::Done(Ok(())),
        Effect::FindParent(_) => Reply::Parent(Err(error)),
        Effect::ReadAddress(_) => Reply::Address(Err(error)),
        Effect::Delete { .. } | Effect::TryCreate { .. } => Reply::Done(Err(error)),
        Effect::Call(_)
        | Effect::Get { .. }
        | Effect::Apply { .. }
        | Effect::Patch(_)
        | Effect::Adopt(_)
        | Effect::ApplyStatus { .. } => Reply::Object(Err(error)),
    }
}

/// Time does not advance within a reconcile.
struct FrozenClock {
    instant: Instant,
    timestamp: String,
}

impl Clock for FrozenClock {
    fn instant(&self) -> Instant {
        self.instant
    }

    fn timestamp(&self) -> String {
        self.timestamp.clone()
    }
}
