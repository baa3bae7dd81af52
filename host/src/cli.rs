//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::explain_cli::ExplainArgs;
use crate::recorder::RecordArgs;
use crate::registry::{PullArgs, PushArgs};
use crate::replay::ReplayArgs;

/// A generic operator host for Kubernetes whose providers are WebAssembly modules.
#[derive(Debug, Parser)]
#[command(name = "bartizan", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the host: load providers, watch their parents, apply what they answer.
    Run(RunArgs),
    /// Compile a component from standard input to standard output, for a host that loads it.
    #[command(hide = true)]
    Compile,
    /// Print the CustomResourceDefinitions that a provider module owns, as YAML.
    Crds(CrdsArgs),
    /// Say what a host last decided on a parent, and why.
    Explain(ExplainArgs),
    /// Push a provider module to an OCI registry.
    Push(PushArgs),
    /// Pull a provider module from an OCI registry.
    Pull(PullArgs),
    /// Repeat a recorded decision with a provider module, and compare the answers.
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Folder with provider modules (*.wasm).
    #[arg(long, value_name = "DIR", env = "BARTIZAN_PROVIDERS")]
    pub(crate) providers: PathBuf,
    /// Grant every provider what its manifest asks for.
    #[arg(long)]
    pub(crate) trust_manifests: bool,
    /// Install or update the CustomResourceDefinitions of the providers; needs the rights for it.
    #[arg(long)]
    pub(crate) install_crds: bool,
    /// Kubeconfig file; default: $KUBECONFIG, ~/.kube/config, or the pod's own account.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to use; default: its current one.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace of the host itself, where it keeps the key of the tokens that stand for secret values.
    #[arg(long, value_name = "NAMESPACE", default_value = "bartizan-system", env = "BARTIZAN_SYSTEM_NAMESPACE")]
    pub(crate) system_namespace: String,
    /// Serve only this namespace (may be repeated); default: all.
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    pub(crate) namespaces: Vec<String>,
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// Address of /livez, /readyz, /metrics and /debug/explain; port 0 takes any free port and prints it.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", env = "BARTIZAN_LISTEN")]
    pub(crate) listen: SocketAddr,
    /// Certificates (PEM) of authorities that registries may be signed by, beside those that this machine trusts.
    #[arg(long, value_name = "FILE", env = "BARTIZAN_REGISTRY_CA")]
    pub(crate) registry_ca: Option<PathBuf>,
    /// Folder for compiled modules and those of registries, so that a restart needs neither compiler nor registry; only the host may write it. Default: none.
    #[arg(long, value_name = "DIR", env = "BARTIZAN_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Logs for people (text) or for programs (json).
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "BARTIZAN_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Args)]
pub(crate) struct CrdsArgs {
    /// Provider module.
    #[arg(value_name = "FILE")]
    pub(crate) module: PathBuf,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
