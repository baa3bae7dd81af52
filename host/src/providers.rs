//! Provider objects: what the folder wants is written, what is there is served, and each says how it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bartizan_contract::Kind;
use bartizan_contract::names::{FILE_ANNOTATION, PROVIDER_API_VERSION, PROVIDER_KIND};
use bartizan_contract::provider::{self, Provider, ProviderStatus};
use futures::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::api::in_time;
use crate::catalog::{Library, Parent};
use crate::crds;
use crate::declared::Declared;
use crate::declared::claims::Claim;
use crate::declared::judge::{self, Judged, Serving};
use crate::start::{Host, Start};

/// Field manager of what the host writes for itself.
const MANAGER: &str = "bartizan";
/// How long a provider may take to start before its status says that it does not serve.
const STARTING: Duration = Duration::from_secs(10);
/// Time until what failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What decides whether a provider must start anew.
#[derive(Clone, PartialEq)]
struct Key {
    uid: Option<String>,
    spec: Value,
    claims: Arc<[Claim]>,
}

/// A provider that was started.
struct Runner {
    key: Key,
    since: Instant,
    stop: CancellationToken,
}

/// The actor that serves Providers.
pub(crate) struct Providers {
    host: Host,
    library: Library,
    declared: BTreeMap<String, Declared>,
    objects: BTreeMap<String, Provider>,
    relisted: BTreeMap<String, Provider>,
    runners: BTreeMap<String, Runner>,
    /// What each Provider claims, by its UID: it holds while its spec or module is broken.
    claims: BTreeMap<String, Claim>,
    /// The end of the runner that was started last for each name, whether or not it was stopped since.
    ends: BTreeMap<String, CancellationToken>,
    tasks: JoinSet<(String, anyhow::Result<()>)>,
    /// Something could not be started, and nothing else will say when it can.
    unsettled: bool,
}

impl Providers {
    /// Serves the modules of `library` as Providers say, among them those that the folder wants.
    pub(crate) fn new(host: Host, library: Library, declared: BTreeMap<String, Declared>) -> Self {
        Self {
            host,
            library,
            declared,
            objects: BTreeMap::new(),
            relisted: BTreeMap::new(),
            runners: BTreeMap::new(),
            ends: BTreeMap::new(),
            claims: BTreeMap::new(),
            tasks: JoinSet::new(),
            unsettled: false,
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
                () = self.host.health.changed() => self.report().await,
                () = tokio::time::sleep(STARTING), if look_again => self.report().await,
                () = tokio::time::sleep(RETRY), if self.unsettled => self.settle().await,
                Some(ended) = self.tasks.join_next() => {
                    let (name, result) = ended.context("a provider ended unexpectedly")?;
                    result?;
                    // What it said last is no longer about anything.
                    if !self.runners.contains_key(&name) {
                        self.host.health.forget(&name);
                    }
                }
            }
        }
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

    /// Waits until the API server knows Providers, and writes those that the folder wants.
    async fn prepare(&self) -> anyhow::Result<()> {
        let crd = provider::crd();
        let name = crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        if self.host.install_crds {
            crds::install(&self.host.client, &crd).await?;
        }
        self.host.health.providers_wait(&format!("waiting for CustomResourceDefinition {name}"));
        let kind = Kind::from_api_version(PROVIDER_API_VERSION, PROVIDER_KIND);
        crds::established(&self.host.client, &Parent { kind, crd: name.to_owned() }).await?;
        for (file, declared) in &self.declared {
            let wanted = match (declared, self.library.get(file)) {
                (Declared::Document(provider), _) => (**provider).clone(),
                (Declared::Manifest, Some(Ok(loaded))) => declared.clone().provider(&loaded.manifest, file),
                // Nothing is known of it, and that it is bad was said.
                (Declared::Manifest, _) => continue,
            };
            self.write(&wanted).await?;
        }
        self.host.health.providers_known();
        Ok(())
    }

    /// Writes a Provider that the folder wants, if it is not there yet. One that somebody else made wins.
    async fn write(&self, wanted: &Provider) -> anyhow::Result<()> {
        let name = wanted.metadata.name.as_str();
        let title = format!("Provider {name}");
        let existing = in_time(self.api().get_opt(name)).await.with_context(|| format!("{title} could not be read"))?;
        if let Some(existing) = existing.map(parse).transpose()? {
            let Some(from) = existing.metadata.annotations.get(FILE_ANNOTATION) else {
                info!(
                    provider = name,
                    "the Provider in the cluster was not made from the folder and wins over the file"
                );
                return Ok(());
            };
            let wants = wanted.metadata.annotations.get(FILE_ANNOTATION);
            if wants != Some(from) && self.is_here(from) {
                error!(
                    provider = name,
                    "declared by {from} and by {} in the same folder; rename one",
                    wants.map_or("", String::as_str)
                );
                return Ok(());
            }
            if existing.spec == wanted.spec && wants == Some(from) {
                return Ok(());
            }
        }
        let document = json!({
            "apiVersion": PROVIDER_API_VERSION,
            "kind": PROVIDER_KIND,
            "metadata": {
                "name": name, "labels": wanted.metadata.labels, "annotations": wanted.metadata.annotations,
            },
            "spec": wanted.spec,
        });
        let params = PatchParams::apply(MANAGER).force();
        let written = in_time(self.api().patch(name, &params, &Patch::Apply(&document))).await;
        written.with_context(|| format!("{title} could not be written"))?;
        Ok(())
    }

    /// Whether the folder declares anything from this file.
    fn is_here(&self, file: &str) -> bool {
        let stem = |name: &str| name.rsplit_once('.').map_or(name.to_owned(), |(stem, _)| stem.to_owned());
        self.declared.keys().any(|module| stem(module) == stem(file))
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

    /// Judges every Provider, and takes note of what each claims.
    fn judge(&mut self) -> BTreeMap<String, Judged> {
        let judged: BTreeMap<String, Judged> =
            self.objects.iter().map(|(name, provider)| (name.clone(), judge::judge(provider, &self.library))).collect();
        let uid = |provider: &Provider| provider.metadata.uid.clone().unwrap_or_default();
        let living: Vec<String> = self.objects.values().map(uid).collect();
        self.claims.retain(|uid, _| living.contains(uid));
        for (name, provider) in &self.objects {
            if let Some(claim) = judged.get(name).and_then(|judged| judged.claim.clone()) {
                self.claims.insert(uid(provider), claim);
            }
        }
        judged
    }

    /// Starts what should run, stops what should not, and says how everything is.
    async fn settle(&mut self) {
        self.unsettled = false;
        let judged = self.judge();
        let claims: Arc<[Claim]> = self.claims.values().cloned().collect();
        let shadowed = judge::shadowed(&claims);
        let gone: Vec<String> = self.runners.keys().filter(|name| !self.objects.contains_key(*name)).cloned().collect();
        for name in gone {
            self.stop(&name);
        }
        for (name, judged) in &judged {
            let Some(provider) = self.objects.get(name).cloned() else { continue };
            let wanted = match (&judged.loaded, &judged.accepted) {
                (Ok(loaded), Ok(limits)) if !provider.spec.suspend && !shadowed.contains_key(name) => {
                    Some((loaded.clone(), *limits))
                }
                _ => None,
            };
            let Some((loaded, limits)) = wanted else {
                self.stop(name);
                continue;
            };
            let spec = serde_json::to_value(&provider.spec).unwrap_or_default();
            let key = Key { uid: provider.metadata.uid.clone(), spec, claims: claims.clone() };
            if self.runners.get(name).is_some_and(|runner| runner.key == key) {
                continue;
            }
            // Before anything of a kind is written, the Provider says that it may be: what is written is found again.
            let kinds = judge::kinds(&provider, judged);
            if kinds != provider.status.kinds
                && let Err(error) = self.say(&provider, judged, None, Serving::Starting).await
            {
                self.host.health.waiting(name, &format!("{error:#}"));
                error!(provider = name, "cannot start yet: {error:#}");
                self.unsettled = true;
                continue;
            }
            let host = self.host.clone();
            self.start(name, key, Start { host, provider, loaded, limits, kinds, claims: claims.clone() });
        }
        self.report_all(&judged, &shadowed).await;
    }

    fn start(&mut self, name: &str, key: Key, start: Start) {
        self.host.health.waiting(name, "starting");
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let runner = Runner { key, since: Instant::now(), stop: stop.clone() };
        if let Some(before) = self.runners.insert(name.to_owned(), runner) {
            before.stop.cancel();
        }
        let before = self.ends.insert(name.to_owned(), ended.clone());
        let name = name.to_owned();
        self.tasks.spawn(async move {
            let _ended = ended.drop_guard();
            // One writer for each provider: the one before finishes first, also one that was stopped a while ago.
            if let Some(before) = before {
                before.cancelled().await;
            }
            let result = start.serve(stop).await;
            (name, result)
        });
    }

    fn stop(&mut self, name: &str) {
        if let Some(runner) = self.runners.remove(name) {
            runner.stop.cancel();
            info!(provider = name, "stopped");
        }
        self.host.health.forget(name);
    }

    async fn report(&mut self) {
        let judged = self.judge();
        let claims: Vec<Claim> = self.claims.values().cloned().collect();
        self.report_all(&judged, &judge::shadowed(&claims)).await;
    }

    async fn report_all(&mut self, judged: &BTreeMap<String, Judged>, shadowed: &BTreeMap<String, String>) {
        for (name, judged) in judged {
            let Some(provider) = self.objects.get(name).cloned() else { continue };
            let conflict = shadowed.get(name);
            let serving = self.serving(name, &provider, conflict);
            match self.say(&provider, judged, conflict, serving).await {
                Ok(Some(status)) => {
                    if let Some(known) = self.objects.get_mut(name) {
                        known.status = status;
                    }
                }
                Ok(None) => {}
                // The next event or change of health says it again.
                Err(error) => warn!(provider = name, "{error:#}"),
            }
        }
    }

    fn serving(&self, name: &str, provider: &Provider, conflict: Option<&String>) -> Serving {
        let Some(runner) = self.runners.get(name) else {
            return match (provider.spec.suspend, conflict) {
                (true, _) => Serving::No("Suspended", "spec.suspend: nothing is called or written".to_owned()),
                (false, Some(message)) => Serving::No("Conflict", message.clone()),
                (false, None) => {
                    Serving::No("NotStarted", "it is not accepted, or its module is not loaded".to_owned())
                }
            };
        };
        if let Some(message) = self.host.health.open_breaker(name) {
            return Serving::No("BreakerOpen", message);
        }
        match self.host.health.reason(name) {
            Some(None) => Serving::Yes,
            _ if runner.since.elapsed() < STARTING => Serving::Starting,
            Some(Some(reason)) => Serving::No("NotReady", reason),
            None => Serving::No("NotReady", "it is starting".to_owned()),
        }
    }

    /// Writes the status if it says something new.
    async fn say(
        &self,
        provider: &Provider,
        judged: &Judged,
        conflict: Option<&String>,
        serving: Serving,
    ) -> anyhow::Result<Option<ProviderStatus>> {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = judge::status(provider, judged, conflict, serving, &now);
        if status == provider.status {
            return Ok(None);
        }
        let name = provider.metadata.name.as_str();
        let document = json!({
            "apiVersion": PROVIDER_API_VERSION,
            "kind": PROVIDER_KIND,
            "metadata": {"name": name, "uid": provider.metadata.uid},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        in_time(self.api().patch_status(name, &params, &Patch::Apply(&document)))
            .await
            .with_context(|| format!("the status of Provider {name} could not be written"))?;
        Ok(Some(status))
    }
}

fn resource() -> ApiResource {
    let (group, version) = PROVIDER_API_VERSION.split_once('/').unwrap_or_default();
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: PROVIDER_API_VERSION.to_owned(),
        kind: PROVIDER_KIND.to_owned(),
        plural: "providers".to_owned(),
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
