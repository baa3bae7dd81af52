//! Connects to the cluster that the command line names.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::kubernetes::{retry_after, user_agent};

/// Longer than a watch, which the API server ends after 290 s on request, so that only a dead connection runs into it.
const READ_TIMEOUT: Duration = Duration::from_secs(310);

/// The cluster to connect to.
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
    /// Whether the command line names a cluster.
    pub(crate) fn is_named(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// A client of the cluster that the kubeconfig and context name, or else of the one that this process runs in.
    ///
    /// # Errors
    /// If there is no valid configuration.
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
        // The queue retries per parent, with a backoff. Retries of single requests beneath it would only hide load.
        config.default_retry = false;
        config.read_timeout = Some(READ_TIMEOUT);
        user_agent::set(retry_after::kept(Client::try_from(config).context("API client")?))
    }
}
