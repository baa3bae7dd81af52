//! `bartizan run`: loads the providers, starts one controller for each, and stops in order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bartizan_contract::Kind;
use bartizan_contract::names::field_manager;
use bartizan_engine::Grants;
use bartizan_runtime::{Config as RuntimeConfig, Limits, Runtime};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::api::Writer;
use crate::catalog::{self, Catalog, Provider};
use crate::cli::RunArgs;
use crate::controller::Controller;
use crate::crds::{self, ServedParent};
use crate::health::{self, Health};
use crate::kinds::{self, Resource};
use crate::reconcile::Shared;

/// Time for work under way after SIGTERM; less than the 30 s that Kubernetes gives a pod.
const GRACE: Duration = Duration::from_secs(25);
/// Time between two tries of what a provider needs before it can start.
const START_RETRY: Duration = Duration::from_secs(5);
/// Longer than a watch lasts (the API server is asked to end it after 290 s), so that only a dead connection reaches it.
const READ_TIMEOUT: Duration = Duration::from_secs(310);

/// Runs the host until SIGTERM or Ctrl-C.
///
/// # Errors
/// If it cannot start: a flag that makes no sense, no API server to talk to, an address that is taken.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<()> {
    let files = catalog::list(&args.providers)?;
    if !args.trust_manifests {
        anyhow::bail!(
            "declared grants come in a later version: until then pass --trust-manifests, which grants every provider \
             what its manifest asks for"
        );
    }
    let stop = stop_on_signal()?;
    let listener = health::listen(args.listen).await?;
    let runtime = Runtime::new(RuntimeConfig { cache_dir: args.cache_dir.clone(), ..RuntimeConfig::default() })
        .context("the sandbox could not be started")?;
    let health = Health::default();
    let mut tasks = JoinSet::new();
    tasks.spawn(health::serve(listener, health.clone(), stop.clone()));
    let catalog = tokio::select! {
        catalog = load(&args, &runtime, files) => catalog?,
        () = stop.cancelled() => return Ok(()),
    };
    for name in catalog.providers.keys() {
        health.waiting(name, "starting");
    }
    health.loaded(catalog.providers.is_empty() && !catalog.bad.is_empty());
    if !catalog.providers.is_empty() {
        let client = connect(&args).await?;
        let calls = Arc::new(Semaphore::new(runtime.concurrent_calls()));
        for (name, provider) in catalog.providers {
            let start = Start {
                client: client.clone(),
                provider,
                health: health.clone(),
                calls: calls.clone(),
                install_crds: args.install_crds,
                namespaces: args.namespaces.clone(),
            };
            let stop = stop.clone();
            tasks.spawn(async move { start.serve(&name, stop).await });
        }
    }
    finish(tasks, stop).await
}

/// Waits for the signal, then for what is under way.
async fn finish(mut tasks: JoinSet<anyhow::Result<()>>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut deadline = None;
    loop {
        tokio::select! {
            // In this order: the end of idle tasks must not be seen before the signal that ends them.
            biased;
            () = stop.cancelled(), if deadline.is_none() => {
                info!("stopping: finishing what is under way");
                deadline = Some(tokio::time::Instant::now() + GRACE);
            }
            () = tokio::time::sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => {
                warn!("work was still under way after {} s", GRACE.as_secs());
                return Ok(());
            }
            ended = tasks.join_next() => match ended {
                None => return Ok(()),
                Some(Ok(result)) => result?,
                // A provider without its controller would look as if it served: start again from the beginning.
                Some(Err(panic)) => anyhow::bail!("a task ended unexpectedly: {panic}"),
            },
        }
    }
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        signalled.cancel();
    });
    Ok(stop)
}

async fn load(args: &RunArgs, runtime: &Runtime, files: Option<Vec<PathBuf>>) -> anyhow::Result<Catalog> {
    let folder = args.providers.display();
    let Some(files) = files else {
        warn!("--providers {folder}: no such folder; nothing is served. Make it, put modules in, and restart the host");
        return Ok(Catalog::default());
    };
    if files.is_empty() {
        warn!(
            "--providers {folder}: no modules (*.wasm) in it; nothing is served. Put modules in, and restart the host"
        );
    }
    let runtime = runtime.clone();
    let catalog = tokio::task::spawn_blocking(move || catalog::load(&runtime, &files)).await?;
    for bad in &catalog.bad {
        error!("{bad}");
    }
    for (name, provider) in &catalog.providers {
        let (version, module) = (&provider.manifest.version, &provider.module);
        info!(provider = name, version, digest = module.digest(), cached = module.from_cache(), "loaded");
    }
    Ok(catalog)
}

async fn connect(args: &RunArgs) -> anyhow::Result<Client> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let mut config = match &args.kubeconfig {
        Some(file) => {
            let kubeconfig = Kubeconfig::read_from(file).with_context(|| format!("--kubeconfig {}", file.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .with_context(|| format!("--kubeconfig {}", file.display()))?
        }
        None if args.context.is_some() => Config::from_kubeconfig(&options).await.context("kubeconfig")?,
        None => Config::infer().await.context("no kubeconfig and no service account; pass --kubeconfig")?,
    };
    // The queue retries, per parent and with backoff; a hidden retry of every verb below it would only hide the load.
    config.default_retry = false;
    config.read_timeout = Some(READ_TIMEOUT);
    Client::try_from(config).context("API client")
}

/// Everything that one provider needs to start.
struct Start {
    client: Client,
    provider: Provider,
    health: Health,
    calls: Arc<Semaphore>,
    install_crds: bool,
    namespaces: Vec<String>,
}

impl Start {
    /// Prepares until that succeeds, then serves until told to stop.
    async fn serve(self, name: &str, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            let prepared = tokio::select! {
                prepared = self.prepare(name) => prepared,
                () = stop.cancelled() => return Ok(()),
            };
            match prepared {
                Ok(controller) => return controller.run(stop).await,
                Err(error) => {
                    let reason = format!("{error:#}");
                    error!(provider = name, "cannot start yet: {reason}");
                    self.health.waiting(name, &reason);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(START_RETRY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn prepare(&self, name: &str) -> anyhow::Result<Controller> {
        let manifest = &self.provider.manifest;
        if self.install_crds {
            for crd in &manifest.crds {
                crds::install(&self.client, crd).await?;
            }
        }
        let mut parents: BTreeMap<Kind, ServedParent> = BTreeMap::new();
        for parent in &self.provider.parents {
            self.health.waiting(name, &format!("waiting for CustomResourceDefinition {}", parent.crd));
            info!(provider = name, crd = parent.crd, "waiting until it is Established");
            let served = crds::established(&self.client, parent).await?;
            if !served.has_status {
                warn!(
                    provider = name, kind = %parent.kind,
                    "no status is written: the CustomResourceDefinition needs a status subresource, and conditions that \
                     are a map by type (x-kubernetes-list-type)"
                );
            }
            parents.insert(parent.kind.clone(), served);
        }
        let mut children: BTreeMap<Kind, Resource> = BTreeMap::new();
        let mut optional_kinds = BTreeMap::new();
        for asked in &manifest.children {
            let kind = asked.kind();
            let found = kinds::discover(&self.client, &kind).await.with_context(|| format!("kind {kind}"))?;
            if asked.optional {
                optional_kinds.insert(format!("{}.{}", kind.kind, kind.group), found.is_some());
            }
            match found {
                Some(resource) => {
                    children.insert(kind, resource);
                }
                None if asked.optional => {}
                None => anyhow::bail!("kind {kind}, which the provider writes, is not served by this cluster"),
            }
        }
        let version = self.client.apiserver_version().await.context("version of the API server")?;
        let grants = children.iter().map(|(kind, resource)| (kind.clone(), resource.namespaced)).collect();
        let resources = parents.iter().map(|(kind, parent)| (kind.clone(), parent.resource.clone()));
        let resources = Arc::new(resources.chain(children.clone()).collect());
        let shared = Shared {
            provider: name.to_owned(),
            version: manifest.version.clone(),
            module: self.provider.module.clone(),
            limits: Limits::default(),
            grants: Grants { children: grants },
            child_kinds: children.keys().cloned().collect(),
            optional_kinds,
            cluster_version: version.git_version,
            writer: Writer::new(self.client.clone(), field_manager(name), resources),
            calls: self.calls.clone(),
        };
        Ok(Controller::new(&self.client, shared, parents, &children, &self.namespaces, self.health.clone()))
    }
}
