//! The command line.

mod changes;
pub(crate) mod compile;
pub(crate) mod crds;
pub(crate) mod debug_key;
pub(crate) mod explain;
mod hand_over;
pub(crate) mod host_client;
mod lease;
mod names;
pub(crate) mod parent;
mod proof;
pub(crate) mod rbac;
pub(crate) mod registry;
pub(crate) mod replay;
pub(crate) mod status;
pub(crate) mod transfer;
pub(crate) mod tree;
pub(crate) mod uninstall;
pub(crate) mod upgrade;

use clap::{Parser, Subcommand};

use crate::cli::compile::CompileArgs;
use crate::cli::crds::CrdsArgs;
use crate::cli::debug_key::DebugKeyArgs;
use crate::cli::explain::ExplainArgs;
use crate::cli::rbac::RbacArgs;
use crate::cli::registry::{PullArgs, PushArgs};
use crate::cli::replay::ReplayArgs;
use crate::cli::status::StatusArgs;
use crate::cli::transfer::{LoadArgs, SaveArgs};
use crate::cli::tree::TreeArgs;
use crate::cli::uninstall::args::UninstallArgs;
use crate::cli::upgrade::{ApproveArgs, DiffArgs};
use crate::run::RunArgs;

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
    /// Compile a component from standard input to standard output, on behalf of a host that loads it.
    #[command(hide = true)]
    Compile(CompileArgs),
    /// Print a key with which the host of this container answers once, to whoever may run programs here.
    #[command(hide = true)]
    DebugKey(DebugKeyArgs),
    /// Print the CustomResourceDefinitions that a provider module owns, as YAML.
    Crds(CrdsArgs),
    /// Print the roles that a provider module needs, as YAML with the reason of each rule.
    Rbac(RbacArgs),
    /// Show Providers, parents by state, and what needs attention. Exit code 1 if anything does.
    Status(StatusArgs),
    /// Show a parent with its children and what is below them.
    Tree(TreeArgs),
    /// Explain the last decision of a host on a parent.
    Explain(ExplainArgs),
    /// Show what the next version of a provider would change, object by object, or a hand-over of a parent to it. Exit code 1 if anything
    /// would.
    Diff(DiffArgs),
    /// Approve the next version of a provider, so that it takes over.
    Approve(ApproveArgs),
    /// Show what removing Bartizan from the cluster would take with it, and with --yes remove it. Children stay.
    Uninstall(UninstallArgs),
    /// Push a provider module to an OCI registry.
    Push(PushArgs),
    /// Pull a provider module from an OCI registry.
    Pull(PullArgs),
    /// Save modules and images of registries, with their signatures, in one file.
    Save(SaveArgs),
    /// Push what is in such a file to a registry.
    Load(LoadArgs),
    /// Repeat a recorded call with a provider module, and compare the answers.
    Replay(ReplayArgs),
}
