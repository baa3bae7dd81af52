//! `bartizan run`: starts the tasks of the host, and stops them in order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bartizan_contract::names::{ACCOUNT_NAMESPACE, SYSTEM_NAMESPACE};
use bartizan_contract::provider::parse_bytes;
use bartizan_engine::call_scheduler::Capacity;
use bartizan_engine::provider::source::Wanted;
use bartizan_registry::Authorities;
use bartizan_runtime::{Config as RuntimeConfig, Runtime};
use clap::ArgAction;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::catalog::actor::{CatalogActor, CatalogSettings, Published, check_folder};
use crate::controller::startup::Host;
use crate::endpoints::server;
use crate::endpoints::viewer::Viewers;
use crate::kubernetes::connect::ClusterArgs;
use crate::kubernetes::discovery;
use crate::kubernetes::lease::{Leadership, Wait};
use crate::kubernetes::requests::counted;
use crate::providers::{Ended, Providers};
use crate::reconcile::call_pool::CallPool;
use crate::telemetry::explain::Board;
use crate::telemetry::health::Health;
use crate::telemetry::logging::LogFormat;
use crate::telemetry::recorder::RecordArgs;

/// Time for work under way after SIGTERM; less than the 30 s that Kubernetes gives a pod.
const GRACE: Duration = Duration::from_secs(25);

/// `bartizan run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Folder with provider modules (*.wasm).
    #[arg(long, value_name = "DIR", env = "BARTIZAN_PROVIDERS")]
    pub(crate) providers: PathBuf,
    /// Grant every provider in the folder what its manifest asks for, except kinds that grant rights to others.
    #[arg(long)]
    pub(crate) trust_manifests: bool,
    /// Install and update the CustomResourceDefinitions of the providers; needs the rights to do so.
    #[arg(long)]
    pub(crate) install_crds: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Memory for all calls of modules together; a call that does not fit waits. One provider gets at most half, unless a single
    /// call needs more.
    #[arg(long, value_name = "BYTES", default_value = "512Mi", value_parser = parse_bytes, env = "BARTIZAN_CALL_MEMORY")]
    pub(crate) call_memory: u64,
    /// Memory for the compiler of modules, which is a process of its own, one at a time. A module that needs more is refused.
    #[arg(long, value_name = "BYTES", default_value = "1Gi", value_parser = parse_bytes, env = "BARTIZAN_COMPILE_MEMORY")]
    pub(crate) compile_memory: u64,
    /// Namespace of the host itself, which holds the key of the tokens that replace secret values.
    #[arg(long, value_name = "NAMESPACE", default_value = SYSTEM_NAMESPACE, env = "BARTIZAN_SYSTEM_NAMESPACE")]
    pub(crate) system_namespace: String,
    /// Namespace of the ServiceAccounts that providers act as; nothing else should be in it.
    #[arg(long, value_name = "NAMESPACE", default_value = ACCOUNT_NAMESPACE, env = "BARTIZAN_PROVIDER_NAMESPACE")]
    pub(crate) provider_namespace: String,
    /// Work only while holding the Lease "bartizan" in the namespace of the host, so that of several replicas one works and the others
    /// stand by.
    #[arg(
        long, value_name = "BOOL", default_value_t = true, default_missing_value = "true", num_args = 0..=1,
        require_equals = true, action = ArgAction::Set, env = "BARTIZAN_LEADER_ELECT"
    )]
    pub(crate) leader_elect: bool,
    /// The holder of that Lease; no other live process may have the same. A process that starts under the identity of one that is gone
    /// need not wait until the Lease expires: in a Deployment, use the name of the pod. Default: the host name and a random number.
    #[arg(long, value_name = "NAME", env = "BARTIZAN_IDENTITY")]
    pub(crate) identity: Option<String>,
    /// Serve only this namespace (may be repeated); default: all.
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    pub(crate) namespaces: Vec<String>,
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// Address of /livez, /readyz, /metrics and what the command line asks for (/debug); port 0 takes any free port and prints it.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", env = "BARTIZAN_LISTEN")]
    pub(crate) listen: SocketAddr,
    /// File for the secret of one-time keys, with which /debug answers whoever may read it; only the host may be able to. Default: none, and
    /// only tokens for the audience bartizan count.
    #[arg(long, value_name = "FILE", env = "BARTIZAN_DEBUG_KEY_FILE")]
    pub(crate) debug_key_file: Option<PathBuf>,
    /// Certificate authorities (PEM) of registries, in addition to those that this machine trusts.
    #[arg(long, value_name = "FILE", env = "BARTIZAN_REGISTRY_CA")]
    pub(crate) registry_ca: Option<PathBuf>,
    /// Folder for compiled modules and those of registries, so that a restart needs neither compiler nor registry. Only the host may be
    /// able to write to it. Default: none.
    #[arg(long, value_name = "DIR", env = "BARTIZAN_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Logs for people (text) or for programs (json).
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "BARTIZAN_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// Runs the host until SIGTERM or Ctrl-C.
///
/// # Errors
/// If it cannot start: an invalid flag, no connection to the API server, an address in use.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<()> {
    check_folder(&args.providers)?;
    let authorities =
        Authorities::read(args.registry_ca.as_deref()).map_err(|error| anyhow::anyhow!("--registry-ca {error}"))?;
    let (health, board) = (Health::default(), Board::new(args.record.open()?));
    let client = counted(args.cluster.connect().await?, board.metrics().clone());
    let viewers = Viewers::new(client.clone(), args.debug_key_file.as_deref())?;
    let stop = stop_on_signal()?;
    let listener = server::listen(args.listen).await?;
    // This program itself, even if its file was replaced since it started.
    let compiler = Some(vec!["/proc/self/exe".into(), "compile".into()]);
    let config = RuntimeConfig {
        cache_dir: args.cache_dir.clone(),
        compiler,
        compiler_memory: args.compile_memory,
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(config).context("the sandbox could not be started")?;
    let mut tasks = JoinSet::new();
    tasks.spawn(server::serve(listener, health.clone(), board.clone(), viewers, stop.clone()));
    let (changes, watching) = discovery::watch_changes(&client, stop.clone());
    tasks.spawn(async move {
        watching.await;
        Ok(())
    });
    let (wanted, wants) = watch::channel(Wanted::default());
    let settings = CatalogSettings {
        folder: args.providers.clone(),
        trust_manifests: args.trust_manifests,
        namespace: args.system_namespace.clone(),
        cache: args.cache_dir.clone(),
        authorities,
    };
    let metrics = board.metrics().clone();
    let (catalog, published) = CatalogActor::new(settings, &client, runtime.clone(), health.clone(), metrics, wants);
    tasks.spawn(catalog.run(stop.clone()));
    let leadership = match args.leader_elect {
        true => Some(Leadership::new(client.clone(), &args.system_namespace, &identity(args.identity)?)),
        false => None,
    };
    let host = Host {
        client: leadership.as_ref().map_or_else(|| client.clone(), |leadership| leadership.guarded(client.clone())),
        board,
        changes,
        calls: CallPool::new(Capacity { calls: runtime.concurrent_calls(), bytes: args.call_memory }),
        install_crds: args.install_crds,
        system_namespace: args.system_namespace,
        provider_namespace: args.provider_namespace,
        namespaces: args.namespaces,
    };
    tasks.spawn(serve(host, health, published, wanted, leadership, stop.clone()));
    finish(tasks, stop).await
}

/// Serves Providers while this host leads, and stands by otherwise.
async fn serve(
    host: Host,
    health: Health,
    published: Published,
    wanted: watch::Sender<Wanted>,
    leadership: Option<Leadership>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let installs_crd = AtomicBool::new(true);
    let providers = || {
        let providers = Providers::new(host.clone(), health.clone(), published.clone(), wanted.clone());
        providers.installing_crd(installs_crd.load(Ordering::Relaxed))
    };
    let serving = async || {
        while providers().run(stop.clone()).await? == Ended::CrdGone {
            installs_crd.store(false, Ordering::Relaxed);
        }
        Ok(())
    };
    let Some(mut leadership) = leadership else { return serving().await };
    loop {
        host.board.leads(false);
        let mut standby = providers();
        tokio::select! {
            () = leadership.acquire(|wait| match wait {
                Wait::For(holder) => health.stands_by(&format!("{holder} leads"), true),
                Wait::Fault(error) => health.stands_by(error, false),
            }) => {}
            () = standby.stand_by() => {}
            () = stop.cancelled() => return Ok(()),
        }
        health.leads();
        host.board.leads(true);
        tokio::select! {
            served = serving() => {
                leadership.release().await;
                return served;
            }
            // What is under way is dropped at once: another host may begin in a moment.
            lost = leadership.keep() => {
                warn!("{lost}: standing by");
                health.stands_by(&lost, false);
            }
        }
    }
}

/// The identity that was given, or one that no other process has.
fn identity(given: Option<String>) -> anyhow::Result<String> {
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        return Ok(given);
    }
    let mut random = [0; 4];
    getrandom::fill(&mut random).context("no random numbers for the identity of this host")?;
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "bartizan".to_owned());
    Ok(format!("{}_{:08x}", name.trim(), u32::from_be_bytes(random)))
}

/// Waits for the signal, then for work under way.
async fn finish(mut tasks: JoinSet<anyhow::Result<()>>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut deadline = None;
    loop {
        tokio::select! {
            // In this order, so that the signal is seen before the end of the tasks that it stops.
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
                // A provider would seem to be served without its controller: exit, so that the pod is restarted.
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
