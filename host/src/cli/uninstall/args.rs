//! The command line of `bartizan uninstall`.

use bartizan_contract::names::{ACCOUNT_NAMESPACE, SYSTEM_NAMESPACE};

use crate::cli::host_client::Output;
use crate::kubernetes::connect::ClusterArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct UninstallArgs {
    /// Do it. Without, nothing is changed.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Keep the kinds (CustomResourceDefinitions), except Provider, and with them all parents.
    #[arg(long)]
    pub(crate) keep_crds: bool,
    /// Print what would be done as JSON or YAML.
    #[arg(short, long, value_enum, conflicts_with = "yes")]
    pub(crate) output: Option<Output>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Namespace of the host.
    #[arg(long, value_name = "NAMESPACE", default_value = SYSTEM_NAMESPACE, env = "BARTIZAN_SYSTEM_NAMESPACE")]
    pub(crate) system_namespace: String,
    /// Namespace of the ServiceAccounts that providers act as.
    #[arg(long, value_name = "NAMESPACE", default_value = ACCOUNT_NAMESPACE, env = "BARTIZAN_PROVIDER_NAMESPACE")]
    pub(crate) provider_namespace: String,
}
