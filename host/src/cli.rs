//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use bartizan_contract::provider::parse_bytes;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::explain_cli::ExplainArgs;
use crate::rbac::RbacArgs;
use crate::recorder::RecordArgs;
use crate::registry::{PullArgs, PushArgs};
use crate::replay::ReplayArgs;
use crate::run::ClusterArgs;
use crate::upgrade_cli::{ApproveArgs, DiffArgs};

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
    /// Print the roles that a provider module needs, as YAML with the reason of each rule.
    Rbac(RbacArgs),
    /// Say what a host last decided on a parent, and why.
    Explain(ExplainArgs),
    /// Show what the next version of a provider would change, object by object. Exit code 1 if something would.
    Diff(DiffArgs),
    /// Let the next version of a provider take over, which waits for an approval.
    Approve(ApproveArgs),
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
    /// Grant every provider what its manifest asks for, but for kinds that give rights to others.
    #[arg(long)]
    pub(crate) trust_manifests: bool,
    /// Install or update the CustomResourceDefinitions of the providers; needs the rights for it.
    #[arg(long)]
    pub(crate) install_crds: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Memory that all calls of modules may take together; what does not fit waits. No provider has more than half of it, but
    /// for a single call.
    #[arg(long, value_name = "BYTES", default_value = "512Mi", value_parser = parse_bytes, env = "BARTIZAN_CALL_MEMORY")]
    pub(crate) call_memory: u64,
    /// Namespace of the host itself, where it keeps the key of the tokens that stand for secret values.
    #[arg(long, value_name = "NAMESPACE", default_value = "bartizan-system", env = "BARTIZAN_SYSTEM_NAMESPACE")]
    pub(crate) system_namespace: String,
    /// Namespace of the ServiceAccounts that providers act as; it should hold nothing else.
    #[arg(long, value_name = "NAMESPACE", default_value = "bartizan-providers", env = "BARTIZAN_PROVIDER_NAMESPACE")]
    pub(crate) provider_namespace: String,
    /// Serve only this namespace (may be repeated); default: all.
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    pub(crate) namespaces: Vec<String>,
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// Address of /livez, /readyz, /metrics, /debug/explain and /debug/upgrade; port 0 takes any free port and prints it.
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
