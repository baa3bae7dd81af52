//! `bartizan run`: starts what the host is made of, and stops it in order.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bartizan_engine::share::Room;
use bartizan_runtime::{Config as RuntimeConfig, Runtime};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::calls::Calls;
use crate::catalog::Wanted;
use crate::catalog::actor::{self as catalog, Catalog, Settings};
use crate::cli::RunArgs;
use crate::explain::Board;
use crate::health::{self, Health};
use crate::kinds;
use crate::providers::Providers;
use crate::registry::Authorities;
use crate::start::Host;

/// Time for work under way after SIGTERM; less than the 30 s that Kubernetes gives a pod.
const GRACE: Duration = Duration::from_secs(25);
/// Longer than a watch lasts (the API server is asked to end it after 290 s), so that only a dead connection reaches it.
const READ_TIMEOUT: Duration = Duration::from_secs(310);

/// Runs the host until SIGTERM or Ctrl-C.
///
/// # Errors
/// If it cannot start: a flag that makes no sense, no API server to talk to, an address that is taken.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<()> {
    catalog::check(&args.providers)?;
    let authorities = Authorities::read(args.registry_ca.as_deref())?;
    let client = args.cluster.connect().await?;
    let stop = stop_on_signal()?;
    let listener = health::listen(args.listen).await?;
    // This very program, even if its file was replaced since.
    let compiler = Some(vec!["/proc/self/exe".into(), "compile".into()]);
    let config = RuntimeConfig { cache_dir: args.cache_dir.clone(), compiler, ..RuntimeConfig::default() };
    let runtime = Runtime::new(config).context("the sandbox could not be started")?;
    let (health, board) = (Health::default(), Board::new(args.record.open()?));
    let mut tasks = JoinSet::new();
    tasks.spawn(health::serve(listener, health.clone(), board.clone(), stop.clone()));
    let (changes, watching) = kinds::watch_changes(&client, stop.clone());
    tasks.spawn(async move {
        watching.await;
        Ok(())
    });
    let (wanted, wants) = watch::channel(Wanted::default());
    let settings = Settings {
        folder: args.providers.clone(),
        trust_manifests: args.trust_manifests,
        namespace: args.system_namespace.clone(),
        cache: args.cache_dir.clone(),
        authorities,
    };
    let metrics = board.metrics().clone();
    let (catalog, published) = Catalog::new(settings, &client, runtime.clone(), health.clone(), metrics, wants);
    tasks.spawn(catalog.run(stop.clone()));
    let host = Host {
        client,
        health,
        board,
        changes,
        calls: Calls::new(Room { calls: runtime.concurrent_calls(), bytes: args.call_memory }),
        install_crds: args.install_crds,
        system_namespace: args.system_namespace,
        provider_namespace: args.provider_namespace,
        namespaces: args.namespaces,
    };
    let providers = Providers::new(host, published, wanted);
    let stopping = stop.clone();
    tasks.spawn(async move { providers.run(stopping).await });
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

/// Which cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Kubeconfig file; default: $KUBECONFIG, ~/.kube/config, or the pod's own account.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to use; default: its current one.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

impl ClusterArgs {
    /// A client of the cluster that the kubeconfig and context name, or else of the one that it runs in.
    ///
    /// # Errors
    /// If there is no usable configuration.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match &self.kubeconfig {
            Some(file) => {
                let kubeconfig =
                    Kubeconfig::read_from(file).with_context(|| format!("--kubeconfig {}", file.display()))?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .with_context(|| format!("--kubeconfig {}", file.display()))?
            }
            None if self.context.is_some() => Config::from_kubeconfig(&options).await.context("kubeconfig")?,
            None => Config::infer().await.context("no kubeconfig and no service account; pass --kubeconfig")?,
        };
        // The queue retries, per parent and with backoff; a hidden retry of every verb below it would only hide the load.
        config.default_retry = false;
        config.read_timeout = Some(READ_TIMEOUT);
        Client::try_from(config).context("API client")
    }
}
