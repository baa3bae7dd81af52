//! Provider objects: what the folder wants is written, what is there is served by the modules of the catalogue, and each says how
//! it is.

mod folder;
pub(crate) mod release;
mod removal;
mod serve;
mod status;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bartizan_contract::Kind;
use bartizan_contract::names::{PROVIDER_API_VERSION, PROVIDER_FINALIZER, PROVIDER_KIND, PROVIDER_PLURAL};
use bartizan_contract::provider::{self, Provider, ProviderSpec};
use futures::StreamExt as _;
use kube::Api;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::catalog::actor::Published;
use crate::catalog::snapshot::CatalogSnapshot;
use crate::catalog::wanted::Wanted;
use crate::catalog::{Loaded, Origin, Parent};
use crate::controller::startup::{Began, Host};
use crate::declared::claims::Claim;
use crate::declared::judge::{self, Judged, Last};
use crate::kubernetes::crds;
use crate::providers::release::Ended;
use crate::reconcile::dry_run::Previewed;
use crate::version::Version;
use removal::Removal;
use upgrade::{Candidate, Turn};

/// Field manager of what the host writes for itself.
const MANAGER: &str = bartizan_contract::names::HOST_FIELD_MANAGER;
/// How long a provider may take to start before its status says that it does not serve.
const STARTING: Duration = Duration::from_secs(10);
/// Time until what failed is tried again.
const RETRY: Duration = crate::kubernetes::backoff::PROVIDERS;
/// Numbers of parents are not written more often: with many parents they change all the time.
const COUNTED: Duration = Duration::from_secs(2);

/// What decides whether a provider must start anew, beside its module.
#[derive(Clone, PartialEq)]
struct Key {
    uid: Option<String>,
    spec: ProviderSpec,
    /// What others claim of the kinds that it claims.
    others: Vec<Claim>,
}

/// A provider that was started.
struct Runner {
    key: Key,
    since: Instant,
    stop: CancellationToken,
    /// The version that it serves with as soon as it can.
    versions: watch::Sender<Version>,
    /// Another one, to look at what it would change.
    candidates: watch::Sender<Option<Version>>,
}

/// The actor that serves Providers.
pub(crate) struct Providers {
    host: Host,
    published: Published,
    catalogue: Arc<CatalogSnapshot>,
    wanted: watch::Sender<Wanted>,
    /// What the folder wants, as it was written last, by name.
    written: BTreeMap<String, Provider>,
    objects: BTreeMap<String, Provider>,
    relisted: BTreeMap<String, Provider>,
    runners: BTreeMap<String, Runner>,
    /// The version that served each Provider last, by its UID: it goes on if the next one cannot.
    active: BTreeMap<String, Version>,
    /// The modules that served before those, by UID: the way back needs no cache.
    previous: BTreeMap<String, Loaded>,
    /// Versions that may not serve yet, by name.
    candidates: BTreeMap<String, Candidate>,
    /// What each Provider claims, by its UID: it holds while its spec or module is broken.
    claims: BTreeMap<String, Claim>,
    /// The end of the runner that was started last for each name, whether or not it was stopped since.
    ends: BTreeMap<String, CancellationToken>,
    removals: BTreeMap<String, Removal>,
    tasks: JoinSet<(String, anyhow::Result<()>)>,
    ending: JoinSet<(String, Ended)>,
    /// Who begins to serve says so. One message for each start, and a host that ends does not wait for room.
    began: (mpsc::UnboundedSender<Began>, mpsc::UnboundedReceiver<Began>),
    /// Who looked at what a version would change says so.
    previewed: (mpsc::UnboundedSender<Previewed>, mpsc::UnboundedReceiver<Previewed>),
    /// Something could not be done, and nothing else will say when it can.
    retry_at: Option<Instant>,
    /// Numbers of parents changed.
    count_at: Option<Instant>,
}

impl Providers {
    /// Serves the modules that are published as Providers say, among them those that the folder wants.
    pub(crate) fn new(host: Host, published: Published, wanted: watch::Sender<Wanted>) -> Self {
        Self {
            host,
            published,
            catalogue: Arc::default(),
            wanted,
            written: BTreeMap::new(),
            objects: BTreeMap::new(),
            relisted: BTreeMap::new(),
            runners: BTreeMap::new(),
            active: BTreeMap::new(),
            previous: BTreeMap::new(),
            candidates: BTreeMap::new(),
            claims: BTreeMap::new(),
            ends: BTreeMap::new(),
            removals: BTreeMap::new(),
            tasks: JoinSet::new(),
            ending: JoinSet::new(),
            began: mpsc::unbounded_channel(),
            previewed: mpsc::unbounded_channel(),
            retry_at: None,
            count_at: None,
        }
    }

    /// Works until told to stop, then waits for what is under way.
    ///
    /// # Errors
    /// If a provider's watch ends, which it never should.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let prepared = tokio::select! {
                prepared = self.prepare() => prepared,
                () = stop.cancelled() => return Ok(()),
            };
            let Err(error) = prepared else { break };
            self.host.health.providers_wait(&format!("{error:#}"));
            error!("Providers cannot be served yet: {error:#}");
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
        let mut events = watcher(self.api(), watcher::Config::default()).default_backoff().boxed();
        loop {
            // While a provider starts, the time passes after which its status says so.
            let look_again = self.runners.values().any(|runner| runner.since.elapsed() <= STARTING);
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = events.next() => match event {
                    Ok(event) => self.observe(event).await,
                    Err(error) => warn!("watch of Providers broke; listing again: {error}"),
                },
                Ok(()) = self.published.changed() => self.take_catalogue().await,
                Some((name, version)) = self.began.1.recv() => self.take_beginning(&name, version).await,
                Some(previewed) = self.previewed.1.recv() => self.take_preview(previewed).await,
                Some(ended) = self.ending.join_next() => {
                    let (name, ended) = ended.context("a removal ended unexpectedly")?;
                    self.take_end(&name, ended).await;
                }
                () = self.host.health.changed() => self.report().await,
                () = self.host.health.counted() => self.count_at = self.count_at.or(Some(Instant::now() + COUNTED)),
                () = sleep_until(self.count_at), if self.count_at.is_some() => {
                    self.count_at = None;
                    // Whether a Provider may go depends on it.
                    if self.removals.is_empty() { self.report().await } else { self.settle().await }
                }
                () = tokio::time::sleep(STARTING), if look_again => self.report().await,
                () = sleep_until(self.retry_at), if self.retry_at.is_some() => self.settle().await,
                Some(ended) = self.tasks.join_next() => {
                    let (name, result) = ended.context("a provider ended unexpectedly")?;
                    result?;
                    // What it said last is no longer about anything.
                    if !self.runners.contains_key(&name) {
                        self.host.health.forget(&name);
                        // Of a version that waits while none serves, that is said again.
                        if self.candidates.contains_key(&name) {
                            self.settle().await;
                        }
                    }
                }
            }
        }
        self.ending.shutdown().await;
        for runner in self.runners.values() {
            runner.stop.cancel();
        }
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a provider ended unexpectedly")?.1?;
        }
        Ok(())
    }

    fn api(&self) -> Api<DynamicObject> {
        Api::all_with(self.host.client.clone(), &resource())
    }

    /// Waits until the API server knows Providers and the folder was read, and writes those that the folder wants.
    async fn prepare(&mut self) -> anyhow::Result<()> {
        let published = self.published.wait_for(Option::is_some).await.context("the catalogue ended")?.clone();
        self.catalogue = published.unwrap_or_default();
        let crd = provider::crd();
        let name = crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        if self.host.install_crds {
            crds::install(&self.host.client, &crd).await?;
        }
        self.host.health.providers_wait(&format!("waiting for CustomResourceDefinition {name}"));
        let kind = Kind::from_api_version(PROVIDER_API_VERSION, PROVIDER_KIND);
        crds::established(&self.host.client, &Parent { kind, crd: name.to_owned() }).await?;
        self.write_what_the_folder_wants().await?;
        self.host.health.providers_wait("listing Providers");
        Ok(())
    }

    async fn take_catalogue(&mut self) {
        let published = self.published.borrow_and_update().clone();
        self.catalogue = published.unwrap_or_default();
        self.settle().await;
    }

    async fn take_beginning(&mut self, name: &str, version: Version) {
        let uid = self.objects.get(name).and_then(|provider| provider.metadata.uid.clone());
        // One that was stopped meanwhile says nothing any more; one that was told another version goes on to that at once.
        if let (Some(uid), Some(runner)) = (uid, self.runners.get(name)) {
            let told = runner.versions.borrow().clone();
            let version = if told.loaded.has_shape_of(&version.loaded) { told } else { version };
            self.serves(uid, version);
            self.settle().await;
        }
    }

    async fn observe(&mut self, event: Event<DynamicObject>) {
        let parsed = |object: DynamicObject| match parse(object) {
            Ok(provider) => Some(provider),
            Err(error) => {
                error!("{error:#}");
                None
            }
        };
        match event {
            Event::Init => self.relisted.clear(),
            Event::InitApply(object) => {
                self.relisted.extend(parsed(object).map(|provider| (provider.metadata.name.clone(), provider)));
            }
            Event::InitDone => {
                self.objects = std::mem::take(&mut self.relisted);
                self.settle().await;
                // Not sooner: by now each of them says for itself whether it serves.
                self.host.health.providers_known();
            }
            Event::Apply(object) => {
                if let Some(provider) = parsed(object) {
                    self.objects.insert(provider.metadata.name.clone(), provider);
                    self.settle().await;
                }
            }
            Event::Delete(object) => {
                self.objects.remove(&object.metadata.name.unwrap_or_default());
                self.settle().await;
            }
        }
    }

    /// Judges every Provider, takes note of what each claims, and asks the catalogue for what they need.
    fn judge(&mut self) -> BTreeMap<String, Judged> {
        let living: BTreeSet<String> = self.objects.values().map(uid_of).collect();
        self.claims.retain(|uid, _| living.contains(uid));
        self.active.retain(|uid, _| living.contains(uid));
        self.previous.retain(|uid, _| living.contains(uid));
        let (mut judged, mut wanted) = (BTreeMap::new(), Wanted::default());
        for (name, provider) in &self.objects {
            let last = Last::of(provider, self.active.get(&uid_of(provider)), &self.catalogue);
            let origin = Origin::of(&provider.spec.module).ok();
            match &origin {
                Some(Origin::ConfigMap { name, key }) => {
                    wanted.config_maps.entry(name.clone()).or_default().insert(key.clone());
                }
                Some(Origin::Oci(origin)) => {
                    wanted.oci.insert(origin.clone());
                }
                Some(Origin::File(_)) | None => {}
            }
            let verdict = judge::judge(provider, &self.catalogue, last, self.previous.get(&uid_of(provider)));
            // What served before this host began goes on until the next version may take over.
            if let (Some(active), false) = (&provider.status.active, self.active.contains_key(&uid_of(provider)))
                && (verdict.loaded.is_err()
                    || verdict.accepted.is_err()
                    || !verdict.version.as_ref().is_some_and(|version| version.is(active)))
            {
                wanted.digests.insert(active.digest.clone());
            }
            let back = origin.and_then(|origin| judge::wants_back(provider, &origin, &self.catalogue));
            wanted.digests.extend(back);
            // As long as the module before serves, its parents are claimed.
            let active = self.active.get(&uid_of(provider)).filter(|_| self.runners.contains_key(name));
            let claim = active.and_then(|active| Claim::new(provider, &active.loaded.owned()).ok());
            if let Some(claim) = claim.or_else(|| verdict.claim.clone()) {
                self.claims.insert(uid_of(provider), claim);
            }
            judged.insert(name.clone(), verdict);
        }
        self.wanted.send_if_modified(|before| {
            let is_new = *before != wanted;
            *before = wanted;
            is_new
        });
        judged
    }

    /// Starts what should run, stops what should not, and says how everything is.
    async fn settle(&mut self) {
        self.retry_at = None;
        if let Err(error) = self.write_what_the_folder_wants().await {
            error!("{error:#}");
            self.retry();
        }
        let judged = self.judge();
        let claims: Arc<[Claim]> = self.claims.values().cloned().collect();
        let shadowed = judge::shadowed(&claims);
        self.settle_removals(&claims);
        let gone: Vec<String> = self.runners.keys().filter(|name| !self.objects.contains_key(*name)).cloned().collect();
        for name in gone {
            self.stop(&name);
        }
        for (name, judged) in &judged {
            let Some(provider) = self.objects.get(name).cloned() else { continue };
            let rests = provider.spec.suspend || shadowed.contains_key(name) || self.is_going(&provider);
            if rests || self.is_ending(name) {
                // Nothing is called, not even to look.
                self.candidates.remove(name);
            }
            if self.is_ending(name) {
                continue;
            }
            let turn = match &judged.accepted {
                Ok(limits) if !rests => (self.turn(&provider, judged), Some(*limits)),
                // What it serves with is still looked for, and nothing was stopped for that.
                _ if judged.is_pending() && !rests => (Turn::Later, None),
                _ => (Turn::Nothing, None),
            };
            match turn {
                (Turn::Serve(version), Some(limits)) => {
                    if let Err(error) = self.serve(&provider, judged, &version, limits, &claims).await {
                        self.host.health.waiting(name, &format!("{error:#}"));
                        error!(provider = name, "cannot start yet: {error:#}");
                        self.retry();
                    }
                }
                (Turn::Later, _) => {}
                _ => self.stop(name),
            }
            self.look_at_candidate(&provider, judged, &claims);
            self.forget_approval(&provider).await;
        }
        let gone: Vec<String> = self.candidates.keys().filter(|name| !judged.contains_key(*name)).cloned().collect();
        for name in gone {
            self.candidates.remove(&name);
            self.host.board.plan_upgrade(&name, None);
            self.host.health.forget(&name);
        }
        self.report_all(&judged, &shadowed).await;
    }

    /// Something failed that is to be tried again.
    fn retry(&mut self) {
        self.retry_at(Instant::now() + RETRY);
    }

    fn retry_at(&mut self, at: Instant) {
        self.retry_at = Some(self.retry_at.map_or(at, |other| other.min(at)));
    }
}

fn uid_of(provider: &Provider) -> String {
    provider.metadata.uid.clone().unwrap_or_default()
}

fn has_finalizer(provider: &Provider) -> bool {
    provider.metadata.finalizers.iter().any(|name| name == PROVIDER_FINALIZER)
}

async fn sleep_until(at: Option<Instant>) {
    // Without a time the branch is off; the moment is never waited for.
    tokio::time::sleep_until(at.unwrap_or_else(Instant::now)).await;
}

/// The kind `Provider`, for requests.
pub(crate) fn resource() -> ApiResource {
    let (group, version) = PROVIDER_API_VERSION.split_once('/').unwrap_or_default();
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: PROVIDER_API_VERSION.to_owned(),
        kind: PROVIDER_KIND.to_owned(),
        plural: PROVIDER_PLURAL.to_owned(),
    }
}

/// Reads a Provider as the API server holds it.
fn parse(mut object: DynamicObject) -> anyhow::Result<Provider> {
    let name = object.metadata.name.clone().unwrap_or_default();
    object.metadata.managed_fields = None;
    // Items of a list have no type of their own.
    object.types =
        Some(kube::core::TypeMeta { api_version: PROVIDER_API_VERSION.to_owned(), kind: PROVIDER_KIND.to_owned() });
    let value = serde_json::to_value(object).with_context(|| format!("Provider {name}"))?;
    serde_json::from_value(value).with_context(|| format!("Provider {name} is not one that this host understands"))
}
