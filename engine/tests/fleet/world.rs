//! A fleet with an API server, a catalog and controllers that are no more than values, so that each step is the test's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bartizan_contract::ProviderManifest;
use bartizan_contract::names::PROVIDER_FINALIZER;
use bartizan_contract::provider::{CandidateChanges, Provider};
use bartizan_engine::provider::event::{
    Answer, ControllerEvent, Effect, Event, Now, Purpose, Readiness, RemovalAttempt, RemovalResult, RunId, Start,
    Target,
};
use bartizan_engine::provider::fleet::Fleet;
use bartizan_engine::provider::module::ModuleInfo;
use bartizan_engine::provider::source::{Origin, Snapshot, Trouble};
use bartizan_engine::provider::upgrade_plan::Preview;
use bartizan_engine::provider::version::Version;
use serde_json::{Value, json};

/// What a controller is.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) start: Start,
    /// The version that it serves with, or previews.
    pub(crate) version: Version,
    /// Another one that it is asked to preview.
    pub(crate) previews: Option<Version>,
    pub(crate) has_begun: bool,
    pub(crate) is_stopped: bool,
}

impl Run {
    pub(crate) fn name(&self) -> &str {
        &self.start.provider.metadata.name
    }

    pub(crate) fn serves(&self) -> bool {
        matches!(self.start.purpose, Purpose::Serve { .. })
    }

    /// The version that it is to preview now.
    fn previewed(&self) -> Option<&Version> {
        if self.serves() { self.previews.as_ref() } else { Some(&self.version) }
    }
}

/// Everything around a fleet.
#[derive(Debug)]
pub(crate) struct World {
    fleet: Fleet,
    now: Instant,
    /// The API server.
    pub(crate) server: BTreeMap<String, Provider>,
    pub(crate) runs: BTreeMap<RunId, Run>,
    /// Requests that were not answered yet.
    pub(crate) requests: VecDeque<Effect>,
    /// Digest of the module that served each Provider last.
    pub(crate) served: BTreeMap<String, String>,
    /// Digest of the module that the status of each Provider names, as far as controllers know.
    pub(crate) recorded: BTreeMap<String, Option<String>>,
    snapshot: Snapshot,
    /// All modules that were ever published: the catalog has them in its cache.
    cache: BTreeMap<String, ModuleInfo>,
    log: Vec<(String, String)>,
    /// The reasons of the events on Providers.
    pub(crate) told: Vec<String>,
    /// How often a status was written.
    pub(crate) status_writes: u32,
    /// Whether the CRD of Provider has no place for the kinds.
    pub(crate) drops_kinds: bool,
    /// Why parents were told that nobody serves them.
    pub(crate) unserved: Vec<String>,
}

/// Type of a condition that somebody else applies.
pub(crate) const FOREIGN: &str = "Tested";

/// A module that asks for these kinds of the core group beside `StatefulSet.apps`.
pub(crate) fn module(digest: &str, version: &str, asks: &[&str]) -> ModuleInfo {
    let asks = asks.iter().map(|kind| json!({"apiVersion": "v1", "kind": kind}));
    let children: Vec<Value> =
        [json!({"apiVersion": "apps/v1", "kind": "StatefulSet"})].into_iter().chain(asks).collect();
    let manifest: ProviderManifest = serde_json::from_value(json!({
        "apiVersion": "provider.bartizan.dev/v1alpha1", "kind": "ProviderManifest", "name": "minio", "version": version,
        "crds": [{
            "metadata": {"name": "objectstores.minio.rook.io"},
            "spec": {
                "group": "minio.rook.io", "names": {"kind": "ObjectStore"},
                "versions": [{"name": "v1", "storage": true, "served": true}],
            },
        }],
        "children": children,
    }))
    .unwrap();
    ModuleInfo::new(manifest, digest).unwrap()
}

/// A Provider that claims all stores. The older, the smaller `day`.
pub(crate) fn provider(name: &str, day: u8) -> Provider {
    serde_json::from_value(json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider",
        "metadata": {"name": name, "uid": format!("{name}-{day}"), "creationTimestamp": format!("2026-01-{day:02}T00:00:00Z")},
        "spec": {
            "module": {"file": format!("{name}.wasm")},
            "parents": [{"group": "minio.rook.io", "kind": "ObjectStore"}],
            "grants": {"children": [
                {"group": "apps", "kinds": ["StatefulSet"]}, {"group": "", "kinds": ["Service"]},
            ]},
        },
    }))
    .unwrap()
}

/// A preview that finds so many children to be deleted.
pub(crate) fn preview(delete: u32) -> Preview {
    let parents = u32::from(delete > 0);
    Preview { changes: CandidateChanges { parents, delete, ..CandidateChanges::default() }, ..Preview::default() }
}

impl World {
    /// One whose fleet has listed these Providers.
    pub(crate) fn new(providers: &[Provider]) -> Self {
        let server: BTreeMap<_, _> =
            providers.iter().map(|provider| (provider.metadata.name.clone(), provider.clone())).collect();
        let mut world = Self {
            fleet: Fleet::new(|_| Ok(())),
            now: Instant::now(),
            server,
            runs: BTreeMap::new(),
            requests: VecDeque::new(),
            served: BTreeMap::new(),
            recorded: BTreeMap::new(),
            snapshot: Snapshot::default(),
            cache: BTreeMap::new(),
            log: Vec::new(),
            told: Vec::new(),
            status_writes: 0,
            drops_kinds: false,
            unserved: Vec::new(),
        };
        world.on(Event::Listed(providers.to_vec()));
        world
    }

    fn now(&self) -> Now {
        Now { instant: self.now, time: "2026-02-01T00:00:00Z".to_owned() }
    }

    pub(crate) fn on(&mut self, event: Event) {
        let now = self.now();
        let mut recalls = None;
        for effect in self.fleet.on(event, &now) {
            if let Effect::Request(wanted) = &effect {
                recalls = Some(wanted.digests.clone());
            }
            self.execute(effect);
        }
        if let Some(digests) = recalls {
            let recalled = digests.into_iter().map(|digest| (digest.clone(), self.cache.get(&digest).cloned()));
            self.snapshot.recalled = recalled.collect();
            self.on(Event::Catalog(self.snapshot.clone(), Vec::new()));
        }
    }

    fn execute(&mut self, effect: Effect) {
        let name_of = |runs: &BTreeMap<RunId, Run>, run: &RunId| runs[run].name().to_owned();
        let (name, text) = match &effect {
            Effect::AddFinalizer(target) => (target.name.clone(), "add finalizer".to_owned()),
            Effect::RemoveApproval(target) => (target.name.clone(), "remove approval".to_owned()),
            Effect::Remove(remove) => (remove.provider.metadata.name.clone(), "remove".to_owned()),
            Effect::Start(start) => {
                let version = start.version.number();
                let text = match start.purpose {
                    Purpose::Serve { takes_over: true, .. } => format!("start {version} to take over"),
                    Purpose::Serve { .. } => format!("start {version}"),
                    Purpose::Preview { .. } => format!("preview {version} alone"),
                };
                (start.provider.metadata.name.clone(), text)
            }
            Effect::Stop { provider, .. } => (provider.clone(), "stop".to_owned()),
            Effect::StopPreview(run) => (name_of(&self.runs, run), "stop preview".to_owned()),
            Effect::Swap(run, version) => (name_of(&self.runs, run), format!("swap to {}", version.number())),
            Effect::Preview(run, Some(version)) => (name_of(&self.runs, run), format!("preview {}", version.number())),
            Effect::Preview(run, None) => (name_of(&self.runs, run), "preview nothing".to_owned()),
            Effect::PublishPlan { provider, plan } => {
                (provider.clone(), if plan.is_some() { "show plan" } else { "hide plan" }.to_owned())
            }
            Effect::Report { provider, readiness } => {
                let text = match readiness {
                    Some(Readiness::Ready) => "ready".to_owned(),
                    Some(Readiness::NotYet(reason) | Readiness::Forbidden(reason)) => format!("not ready: {reason}"),
                    None => "forget".to_owned(),
                };
                (provider.clone(), text)
            }
            Effect::Declare(_)
            | Effect::WriteStatus(..)
            | Effect::TellUnserved(_)
            | Effect::EndTelling { .. }
            | Effect::Tell(..)
            | Effect::Recorded { .. }
            | Effect::Known
            | Effect::Request(_) => Default::default(),
        };
        if !text.is_empty() {
            self.log.push((name, text));
        }
        match effect {
            Effect::Start(start) => {
                if let Purpose::Serve { after: Some(after), takes_over: false } = start.purpose {
                    self.end(after);
                }
                let (run, version) = (start.run, start.version.clone());
                let (previews, has_begun, is_stopped) = (None, false, false);
                self.runs.insert(run, Run { start: *start, version, previews, has_begun, is_stopped });
            }
            Effect::Stop { run, .. } | Effect::StopPreview(run) => self.end(run),
            Effect::Swap(run, version) => {
                let run = self.runs.get_mut(&run).unwrap();
                // One that replaces what served before its controller has begun is what served from then on.
                let serves = self.served.get(run.name()).is_some_and(|served| served == run.version.digest());
                if run.has_begun || serves {
                    self.served.insert(run.name().to_owned(), version.digest().to_owned());
                }
                run.version = *version;
            }
            Effect::Preview(run, version) => {
                self.runs.get_mut(&run).unwrap().previews = version.map(|version| *version);
            }
            Effect::Declare(_)
            | Effect::AddFinalizer(_)
            | Effect::WriteStatus(..)
            | Effect::RemoveApproval(_)
            | Effect::TellUnserved(_)
            | Effect::Remove(_) => self.requests.push_back(effect),
            // It ends whenever it is answered.
            Effect::EndTelling { .. } => {}
            Effect::Recorded { provider, active } => {
                self.recorded.insert(provider, active.map(|active| active.digest));
            }
            Effect::Tell(_, events) => self.told.extend(events.into_iter().map(|event| event.reason)),
            Effect::PublishPlan { .. } | Effect::Report { .. } | Effect::Known | Effect::Request(_) => {}
        }
    }

    /// The catalog finds this in a file of the folder; `None`: the file is gone.
    pub(crate) fn publish(&mut self, name: &str, found: Option<Result<ModuleInfo, Trouble>>) {
        let origin = Origin::File(format!("{name}.wasm"));
        if let Some(Ok(module)) = &found {
            self.cache.insert(module.digest.to_string(), module.clone());
        }
        match found {
            Some(found) => self.snapshot.library.insert(origin, found),
            None => self.snapshot.library.remove(&origin),
        };
        self.on(Event::Catalog(self.snapshot.clone(), Vec::new()));
    }

    /// The host ends, and another one starts with the same folder and cache.
    pub(crate) fn restart(&mut self) {
        self.fleet = Fleet::new(|_| Ok(()));
        self.runs.clear();
        self.requests.clear();
        self.snapshot.recalled.clear();
        self.on(Event::Catalog(self.snapshot.clone(), Vec::new()));
        self.on(Event::Listed(self.server.values().cloned().collect()));
    }

    /// Somebody changes a Provider.
    pub(crate) fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Provider)) {
        if let Some(provider) = self.server.get_mut(name) {
            edit(provider);
            let provider = provider.clone();
            self.on(Event::Applied(Box::new(provider)));
        }
    }

    pub(crate) fn create(&mut self, provider: Provider) {
        self.server.insert(provider.metadata.name.clone(), provider.clone());
        self.on(Event::Applied(Box::new(provider)));
    }

    pub(crate) fn delete(&mut self, name: &str) {
        self.server.remove(name);
        self.on(Event::Deleted(name.to_owned()));
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, request: usize, succeeds: bool) {
        let Some(request) = self.requests.remove(request) else { return };
        let error = || "the API server cannot be reached".to_owned();
        let target = match &request {
            Effect::AddFinalizer(target) | Effect::WriteStatus(target, _) | Effect::RemoveApproval(target) => {
                target.clone()
            }
            Effect::Remove(remove) => Target::of(&remove.provider),
            Effect::TellUnserved(tell) => Target::of(&tell.provider),
            other => panic!("{other:?} is no request"),
        };
        let live = self.server.get_mut(&target.name).filter(|live| live.metadata.uid == target.uid && succeeds);
        let answer = match request {
            Effect::AddFinalizer(_) => Answer::FinalizerAdded(live.ok_or_else(error).map(|live| {
                live.metadata.finalizers.push(PROVIDER_FINALIZER.to_owned());
                Box::new(live.clone())
            })),
            Effect::WriteStatus(_, status) => Answer::StatusWritten(live.ok_or_else(error).map(|live| {
                let before = std::mem::replace(&mut live.status, *status);
                // Applied by somebody else.
                live.status.conditions.extend(before.conditions.into_iter().filter(|found| found.type_ == FOREIGN));
                self.status_writes += 1;
                if self.drops_kinds {
                    live.status.kinds.clear();
                }
                Box::new(live.clone())
            })),
            Effect::RemoveApproval(_) => Answer::ApprovalRemoved(live.ok_or_else(error).map(|live| {
                live.metadata.annotations.clear();
                None
            })),
            Effect::TellUnserved(tell) => {
                if let Some(run) = tell.run {
                    self.end(run);
                }
                self.unserved.push(tell.reason.to_string());
                Answer::Unserved((!succeeds).then(|| (1, error())))
            }
            Effect::Remove(remove) => {
                let result = match live {
                    Some(_) => RemovalResult::Removed,
                    None => RemovalResult::Failed(error()),
                };
                if let Some(run) = remove.run.filter(|_| succeeds) {
                    self.end(run);
                }
                Answer::Removal(RemovalAttempt { stopped: succeeds && remove.run.is_some(), result })
            }
            other => panic!("{other:?} is no request"),
        };
        self.on(Event::Answered { target, answer });
    }

    /// The removal that is under way finds so many parents after it stopped the controller.
    pub(crate) fn find_parents(&mut self, parents: usize) {
        let Some(Effect::Remove(remove)) = self.requests.pop_front() else { panic!("nothing is being removed") };
        if let Some(run) = remove.run {
            self.end(run);
        }
        let answer =
            Answer::Removal(RemovalAttempt { stopped: remove.run.is_some(), result: RemovalResult::Parents(parents) });
        self.on(Event::Answered { target: Target::of(&remove.provider), answer });
    }

    /// Answers all requests but removals, as long as there are any.
    pub(crate) fn answer_all(&mut self) {
        while let Some(next) = self.requests.iter().position(|request| !matches!(request, Effect::Remove(_))) {
            self.answer(next, true);
        }
    }

    /// A controller reports.
    pub(crate) fn report(&mut self, run: RunId, event: ControllerEvent) {
        let provider = self.runs[&run].name().to_owned();
        self.on(Event::Controller { provider, run, event });
    }

    /// A controller ends, with all that it waited for.
    fn end(&mut self, run: RunId) {
        let Some(ended) = self.runs.get_mut(&run) else { return };
        let is_new = !ended.is_stopped;
        ended.is_stopped = true;
        if let (true, Purpose::Serve { after: Some(after), .. }) = (is_new, ended.start.purpose) {
            self.end(after);
        }
    }

    /// A controller that was not stopped takes over, and works.
    pub(crate) fn begin(&mut self, run: RunId) {
        let Some(begun) = self.runs.get_mut(&run).filter(|run| !run.is_stopped && run.serves()) else { return };
        begun.has_begun = true;
        let (name, digest) = (begun.name().to_owned(), begun.version.digest().to_owned());
        self.served.insert(name, digest);
        if let Purpose::Serve { after: Some(after), .. } = begun.start.purpose {
            self.end(after);
            self.report(after, ControllerEvent::Ended);
        }
        for event in [ControllerEvent::Began, ControllerEvent::Serving, ControllerEvent::Parents(0)] {
            self.report(run, event);
        }
    }

    /// A controller has found what the version that it was asked to preview would change.
    pub(crate) fn find(&mut self, run: RunId, delete: impl FnOnce(&Version) -> u32) {
        let previewed = self.runs.get(&run).and_then(Run::previewed).cloned();
        if let Some(version) = previewed {
            let preview = preview(delete(&version));
            self.report(run, ControllerEvent::Previewed { id: version.id(), preview });
        }
    }

    pub(crate) fn advance(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.on(Event::Tick);
    }

    pub(crate) fn next_due_in(&self) -> Option<Duration> {
        self.fleet.next_due().map(|due| due.saturating_duration_since(self.now))
    }

    /// The controllers that serve a Provider, or are about to.
    pub(crate) fn live(&self, name: &str) -> Vec<RunId> {
        let live = self.runs.iter().filter(|(_, run)| run.name() == name && run.serves() && !run.is_stopped);
        live.map(|(run, _)| *run).collect()
    }

    /// The number of the version that serves a Provider.
    pub(crate) fn serving(&self, name: &str) -> Option<&str> {
        let mut begun = self.live(name).into_iter().filter(|run| self.runs[run].has_begun);
        begun.next_back().map(|run| self.runs[&run].version.number())
    }

    /// The last controller that was started for a Provider.
    pub(crate) fn last_run(&self, name: &str) -> RunId {
        *self.runs.iter().rfind(|(_, run)| run.name() == name).unwrap().0
    }

    /// Status, reason and message of a condition, as the fleet would write it now.
    pub(crate) fn condition(&self, name: &str, type_: &str) -> Option<(String, String)> {
        let status = self.fleet.status(name, &self.now())?;
        let condition = status.conditions.into_iter().find(|condition| condition.type_ == type_)?;
        Some((condition.reason, condition.message))
    }

    /// What was done for a Provider since the last time this was asked, but for its status.
    pub(crate) fn done(&mut self, name: &str) -> Vec<String> {
        let log = std::mem::take(&mut self.log);
        log.into_iter().filter(|(provider, _)| provider == name).map(|(_, text)| text).collect()
    }

    /// Digests of the modules that the fleet may still need.
    pub(crate) fn modules(&self) -> BTreeSet<String> {
        self.fleet.modules().iter().map(|digest| digest.to_string()).collect()
    }
}
