//! The actor that serves Providers: it feeds what it observes to the fleet, which decides, and executes what the fleet returns.

mod folder;
pub(crate) mod object;
pub(crate) mod release;
mod requests;
mod runs;
mod unserved;

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bartizan_contract::Kind;
use bartizan_contract::names::{PROVIDER_API_VERSION, PROVIDER_KIND};
use bartizan_contract::provider::{self, Provider};
use bartizan_engine::provider::event::{Answer, ControllerEvent, Effect, Event, Now, Target};
use bartizan_engine::provider::fleet::Fleet;
use bartizan_engine::provider::module::Parent;
use bartizan_engine::provider::source::Wanted;
use bartizan_engine::provider::version::Version;
use bartizan_registry::parse_reference;
use bartizan_runtime::Module;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use kube::core::DynamicObject;
use kube::runtime::watcher;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::catalog::Runnable;
use crate::catalog::actor::Published;
use crate::catalog::snapshot::CatalogSnapshot;
use crate::controller::startup::Host;
use crate::kubernetes::error::{chain, text};
use crate::kubernetes::events::Events;
use crate::kubernetes::relisting::relisting;
use crate::kubernetes::watch_throttle::throttled;
use crate::kubernetes::{backoff, crds};
use crate::telemetry::health::Health;
use crate::telemetry::timestamp;

use runs::Runs;

/// Time until what failed at the start is tried again.
const RETRY: Duration = crate::kubernetes::backoff::PROVIDERS;

/// Why the actor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was stopped.
    Stopped,
    /// The API server knows no Providers any more.
    CrdGone,
}

/// The actor that serves Providers.
pub(crate) struct Providers {
    host: Host,
    health: Health,
    published: Published,
    wanted: watch::Sender<Wanted>,
    /// Whether the CRD of Provider is installed at the start.
    installs_crd: bool,
    fleet: Fleet,
    /// Code of the modules that the fleet may decide on, by digest.
    modules: BTreeMap<Arc<str>, Module>,
    runs: Runs,
    /// What controllers report.
    reports: mpsc::UnboundedReceiver<Event>,
    /// Requests to the API server; each ends with its answer.
    requests: JoinSet<Event>,
    /// Ends the telling of parents that nobody serves, by Provider.
    ends_of_telling: BTreeMap<String, CancellationToken>,
    /// Events that are being published.
    telling: JoinSet<()>,
    events: Events,
    /// Providers of a list that is not complete yet.
    listing: Vec<Provider>,
    /// Whether the watch of Providers is broken.
    is_deaf: bool,
    /// Whether all Providers were judged once.
    has_judged: bool,
    /// Whether the fleet has requested modules.
    has_requested: bool,
}

impl Providers {
    /// Serves the modules that are published as Providers declare it, among them those that the folder declares.
    pub(crate) fn new(host: Host, health: Health, published: Published, wanted: watch::Sender<Wanted>) -> Self {
        let (reporting, reports) = mpsc::unbounded_channel();
        Self {
            runs: Runs::new(host.clone(), reporting),
            installs_crd: host.install_crds,
            health,
            published,
            wanted,
            fleet: Fleet::new(check_reference),
            modules: BTreeMap::new(),
            reports,
            requests: JoinSet::new(),
            ends_of_telling: BTreeMap::new(),
            telling: JoinSet::new(),
            events: Events::new(host.client.clone(), object::MANAGER),
            listing: Vec::new(),
            is_deaf: false,
            has_judged: false,
            has_requested: false,
            host,
        }
    }

    /// Whether the CRD of Provider is installed if it is not there: not after somebody deleted it while this host ran.
    pub(crate) fn installing_crd(mut self, installs: bool) -> Self {
        self.installs_crd &= installs;
        self
    }

    /// Has the modules of all Providers fetched and compiled, so that this host can take over at once. Writes and serves nothing, and
    /// never ends.
    pub(crate) async fn stand_by(&mut self) {
        // What it decides beside that is dropped with it.
        let mut fleet = Fleet::new(check_reference);
        let mut providers = self.watch();
        loop {
            let mut events = VecDeque::new();
            tokio::select! {
                Some(observed) = providers.next() => match observed {
                    Ok(observed) => events.extend(self.event(observed)),
                    Err(error) => debug!("watch of Providers broke; listing again: {}", chain(&error)),
                },
                Ok(()) = self.published.changed() => {
                    let catalog = self.published.borrow_and_update().clone().unwrap_or_default();
                    events.push_back(Event::Catalog(catalog.facts(), folder::modules(&catalog)));
                }
            }
            while let Some(event) = events.pop_front() {
                for effect in fleet.on(event, &now()) {
                    match effect {
                        Effect::Request(wanted) => {
                            self.wanted.send_replace(wanted);
                        }
                        // The host that leads has written it, or will.
                        Effect::Declare(declaration) => {
                            events.push_back(Event::Declared { file: declaration.file, result: Ok(None), note: None });
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn watch(&self) -> BoxStream<'static, watcher::Result<watcher::Event<DynamicObject>>> {
        let api = object::api(&throttled(self.host.client.clone()));
        relisting(api, watcher::Config::default())
    }

    /// Works until `stop` is cancelled or the CRD of Provider is gone, then waits for what is under way.
    ///
    /// # Errors
    /// If a provider's watch ends, which it never should.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<Ended> {
        loop {
            let prepared = tokio::select! {
                prepared = self.prepare() => prepared,
                () = stop.cancelled() => return Ok(Ended::Stopped),
            };
            let Err(error) = prepared else { break };
            self.health.providers_wait(&text(&error));
            error!("Providers cannot be served yet: {}", text(&error));
            tokio::select! {
                () = tokio::time::sleep(backoff::after(RETRY, &error)) => {}
                () = stop.cancelled() => return Ok(Ended::Stopped),
            }
        }
        let (client, parent, changes) = (self.host.client.clone(), definition(), self.host.changes.clone());
        let mut gone = pin!(crds::until_gone(client, parent, changes));
        let mut events = self.watch();
        let ended = loop {
            let due = self.fleet.next_due().map(Instant::from_std);
            tokio::select! {
                () = stop.cancelled() => break Ended::Stopped,
                () = &mut gone => break Ended::CrdGone,
                Some(event) = events.next() => match event {
                    Ok(observed) => {
                        if let Some(event) = self.event(observed) {
                            self.take(event);
                        }
                    }
                    Err(error) => {
                        let reason = format!("the watch of Providers broke: {}", chain(&error));
                        warn!("{reason}; listing again");
                        // Until then, what an administrator says is not heard.
                        self.health.providers_wait(&reason);
                        self.is_deaf = true;
                    }
                },
                Ok(()) = self.published.changed() => self.take_catalogue(),
                Some(event) = self.reports.recv() => self.take(event),
                Some(answered) = self.requests.join_next() => {
                    self.take(answered.context("a request ended unexpectedly")?);
                }
                Some(_) = self.telling.join_next() => {}
                ended = self.runs.next_end() => ended?,
                () = sleep_until(due), if due.is_some() => self.take(Event::Tick),
            }
        };
        if ended == Ended::CrdGone {
            let reason = format!("CustomResourceDefinition {} is gone or was replaced", definition().crd);
            // What is offered and requested for them ends with them.
            self.take(Event::Listed(Vec::new()));
            self.health.providers_wait(&reason);
            error!("{reason}: no Provider is served until it is there as deploy/crds has it");
        }
        self.requests.shutdown().await;
        self.telling.shutdown().await;
        let metrics = self.host.board.metrics().clone();
        self.runs.end().await?;
        if ended == Ended::CrdGone {
            // What controllers counted until their end.
            metrics.retain(|_| false);
        }
        Ok(ended)
    }

    /// Waits until the API server knows Providers and the folder was read, and writes those that the folder declares.
    async fn prepare(&mut self) -> anyhow::Result<()> {
        self.published.wait_for(Option::is_some).await.context("the catalog ended")?;
        if self.installs_crd {
            crds::install(&self.host.client, &provider::crd()).await?;
        }
        let definition = definition();
        self.health.providers_wait(&format!("waiting for CustomResourceDefinition {}", definition.crd));
        crds::established(&self.host.client, &definition).await?;
        self.take_catalogue();
        // What could not be written is tried again beside the work: it stops no other Provider.
        while let Some(answered) = self.requests.join_next().await {
            self.take(answered.context("a request ended unexpectedly")?);
        }
        self.health.providers_wait("listing Providers");
        Ok(())
    }

    fn take_catalogue(&mut self) {
        let catalog: Arc<CatalogSnapshot> = self.published.borrow_and_update().clone().unwrap_or_default();
        self.modules.extend(catalog.modules().map(|(digest, module)| (digest, module.clone())));
        self.take(Event::Catalog(catalog.facts(), folder::modules(&catalog)));
        let mut needed = self.fleet.modules();
        needed.extend(catalog.modules().map(|(digest, _)| digest));
        self.modules.retain(|digest, _| needed.contains(digest));
    }

    /// What the watch observed, as an event of the fleet; none before a list is complete.
    fn event(&mut self, observed: watcher::Event<DynamicObject>) -> Option<Event> {
        match observed {
            watcher::Event::Init => self.listing.clear(),
            watcher::Event::InitApply(object) => self.listing.extend(understood(object)),
            watcher::Event::InitDone => {
                // One that broke before the first judgement leaves the word to that.
                if std::mem::take(&mut self.is_deaf) && self.has_judged {
                    self.health.providers_known();
                }
                return Some(Event::Listed(std::mem::take(&mut self.listing)));
            }
            watcher::Event::Apply(object) => {
                return understood(object).map(|provider| Event::Applied(Box::new(provider)));
            }
            watcher::Event::Delete(object) => return Some(Event::Deleted(object.metadata.name.unwrap_or_default())),
        }
        None
    }

    fn take(&mut self, event: Event) {
        self.count(&event);
        if let Event::Answered { target, answer: Answer::Unserved(_) } = &event {
            self.ends_of_telling.remove(&target.name);
        }
        let ended = match &event {
            Event::Controller { provider, event: ControllerEvent::Ended, .. } => Some(provider.clone()),
            _ => None,
        };
        for effect in self.fleet.on(event, &now()) {
            self.execute(effect);
        }
        // What it counted until its end.
        if let Some(provider) = ended.filter(|ended| self.fleet.names().all(|name| name != ended)) {
            self.host.board.metrics().forget(&provider);
        }
    }

    /// Shows in the metrics what was observed.
    fn count(&self, event: &Event) {
        let metrics = self.host.board.metrics();
        match event {
            Event::Listed(all) => {
                metrics.retain(|name| all.iter().any(|provider| provider.metadata.name == name));
                all.iter().for_each(|provider| metrics.provider(provider));
            }
            Event::Applied(provider) => metrics.provider(provider),
            Event::Deleted(name) => metrics.forget(name),
            _ => {}
        }
    }

    fn execute(&mut self, effect: Effect) {
        let client = self.host.client.clone();
        match effect {
            Effect::Declare(declaration) => {
                self.requests.spawn(async move { folder::declare(&client, *declaration).await });
            }
            Effect::AddFinalizer(target) => self.request(target.clone(), async move {
                Answer::FinalizerAdded(requests::add_finalizer(&client, &target).await)
            }),
            Effect::WriteStatus(target, status) => self.request(target.clone(), async move {
                Answer::StatusWritten(requests::write_status(&client, &target, status).await)
            }),
            Effect::Tell(target, events) => {
                let told = self.events.clone();
                self.telling.spawn(async move { told.publish_on_provider(&target, &events).await });
            }
            Effect::RemoveApproval(target) => self.request(target.clone(), async move {
                Answer::ApprovalRemoved(requests::remove_approval(&client, &target).await)
            }),
            Effect::Remove(remove) => {
                let (host, run) = (self.host.clone(), remove.run.and_then(|run| self.runs.predecessor(run)));
                self.request(Target::of(&remove.provider), async move {
                    Answer::Removal(release::remove(&host, *remove, run).await)
                });
            }
            Effect::TellUnserved(tell) => {
                let (host, run) = (self.host.clone(), tell.run.and_then(|run| self.runs.predecessor(run)));
                let (target, ends) = (Target::of(&tell.provider), CancellationToken::new());
                self.ends_of_telling.insert(target.name.clone(), ends.clone());
                self.request(target, async move { Answer::Unserved(unserved::tell(&host, *tell, run, ends).await) });
            }
            Effect::EndTelling { provider } => {
                if let Some(ends) = self.ends_of_telling.remove(&provider) {
                    ends.cancel();
                }
            }
            Effect::Start(start) => match self.runnable(&start.version) {
                Ok(runnable) => self.runs.start(*start, runnable),
                Err(error) => error!(provider = start.provider.metadata.name, "cannot start: {}", text(&error)),
            },
            Effect::Stop { provider, run } => {
                self.runs.stop(run);
                info!(provider, "stopped");
            }
            Effect::StopPreview(run) => self.runs.stop(run),
            Effect::Swap(run, version) => match self.runnable(&version) {
                Ok(runnable) => self.runs.swap(run, runnable),
                Err(error) => error!(
                    "version {} of module {} cannot take over: {}",
                    version.number(),
                    version.digest(),
                    text(&error)
                ),
            },
            Effect::Recorded { provider, active } => self.runs.recorded(&provider, active.map(|active| *active)),
            Effect::Preview(run, version) => match version.map(|version| self.runnable(&version)).transpose() {
                Ok(runnable) => self.runs.preview(run, runnable),
                Err(error) => error!("a version cannot be previewed: {}", text(&error)),
            },
            Effect::PublishPlan { provider, plan } => self.host.board.plan_upgrade(&provider, plan.map(|plan| *plan)),
            Effect::Report { provider, readiness } => self.health.report(&provider, readiness),
            Effect::Known => {
                // What an earlier term of this host requested may be nobody's any more.
                if !self.has_requested {
                    self.wanted.send_replace(Wanted::default());
                }
                self.has_judged = true;
                self.health.providers_known();
            }
            Effect::Request(wanted) => {
                self.has_requested = true;
                self.wanted.send_replace(wanted);
            }
        }
    }

    fn request(&mut self, target: Target, answer: impl Future<Output = Answer> + Send + 'static) {
        self.requests.spawn(async move { Event::Answered { target, answer: answer.await } });
    }

    /// A version with its code, which is kept as long as the fleet may decide on it.
    fn runnable(&self, version: &Version) -> anyhow::Result<Runnable> {
        let module = self.modules.get(&version.module.digest).cloned();
        let module = module.with_context(|| format!("module {} is not at hand", version.digest()))?;
        Ok(Runnable { version: version.clone(), module })
    }
}

/// Provider as a parent: its kind and its CRD.
fn definition() -> Parent {
    let kind = Kind::from_api_version(PROVIDER_API_VERSION, PROVIDER_KIND);
    Parent { kind, crd: crds::name(&provider::crd()).to_owned() }
}

fn now() -> Now {
    Now { instant: Instant::now().into_std(), time: timestamp::now() }
}

fn check_reference(text: &str) -> Result<(), String> {
    parse_reference(text).map(|_| ()).map_err(|error| error.to_string())
}

/// A Provider as the API server holds it; none if this host does not understand it.
fn understood(object: DynamicObject) -> Option<Provider> {
    object::parse(object).inspect_err(|error| error!("{}", text(error))).ok()
}

async fn sleep_until(at: Option<Instant>) {
    // Without a time the branch is off; the moment is never waited for.
    tokio::time::sleep_until(at.unwrap_or_else(Instant::now)).await;
}

#[cfg(test)]
mod tests {
    use bartizan_contract::provider::ModuleSource;
    use bartizan_engine::provider::source::Origin;

    use super::*;

    #[test]
    fn a_reference_to_nothing_in_a_registry_is_refused_with_its_field() {
        let source = |reference: &str| -> ModuleSource {
            serde_json::from_value(serde_json::json!({"oci": {"reference": reference}})).unwrap()
        };
        assert!(Origin::of(&source("example.com/a:1"), check_reference).is_ok());
        let error = Origin::of(&source("example.com/A"), check_reference).unwrap_err();
        assert!(error.starts_with("spec.module.oci.reference: \"example.com/A\" is not a reference"), "{error}");
    }
}
