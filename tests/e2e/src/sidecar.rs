//! A fake of the sidecar of Cassandra's members (docs/storage/cassandra-sidecar.md), one for a whole namespace: it has no
//! database, and reports after a while that the member has left the ring.

use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::stage::Stage;

/// The label through which the provider and the sidecar communicate.
const DECOMMISSIONED: &str = "cassandra.rook.io/decommissioned";

/// Answers until it is dropped. Without it nothing ever answers.
pub struct Sidecar {
    task: JoinHandle<()>,
}

impl Sidecar {
    /// Answers for the members of a namespace, each after a delay, with the rights of the members of one of its
    /// clusters.
    ///
    /// # Errors
    /// If the account of that cluster's members gets no token.
    pub async fn start(stage: &Stage, namespace: &str, cluster: &str, delay: Duration) -> Result<Self> {
        let account = format!("{cluster}-member");
        let kubeconfig = stage.cluster.kubeconfig_for_service_account(namespace, &account).await?;
        let services: Api<Service> = Api::namespaced(stage.cluster.client_for(&kubeconfig).await?, namespace);
        Ok(Self { task: tokio::spawn(answer(services, delay)) })
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(services: Api<Service>, delay: Duration) {
    let asked = watcher::Config::default().labels(&format!("{DECOMMISSIONED}=false"));
    let mut events = pin!(watcher(services.clone(), asked).default_backoff().applied_objects());
    while let Some(event) = events.next().await {
        let Ok(service) = event else { continue };
        tokio::time::sleep(delay).await;
        let patch = json!({"metadata": {"labels": {DECOMMISSIONED: "true"}}});
        let parameters = PatchParams { field_manager: Some("cassandra-sidecar".to_owned()), ..PatchParams::default() };
        if let Err(error) = services.patch(&service.name_any(), &parameters, &Patch::Merge(&patch)).await {
            eprintln!("the sidecar of {} could not answer: {error}", service.name_any());
        }
    }
}
