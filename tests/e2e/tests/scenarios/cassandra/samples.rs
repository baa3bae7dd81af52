//! Existing manifests become a Ready ring.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use bartizan_contract::names::OWNER_UID_LABEL;
use bartizan_e2e::{Provider, Stage, condition};
use bartizan_harness::build::workspace_root;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt as _;
use serde_json::json;

use super::{NS, pods, wait_progressing, wait_ready};

/// The folder with published examples of other projects, which we may not copy.
const UPSTREAM: &str = "BARTIZAN_UPSTREAM_SAMPLES";

#[tokio::test]
async fn every_sample_becomes_a_ready_ring_and_uses_the_account_it_names() -> Result<()> {
    let stage = Stage::start(&[Provider::Cassandra]).await?;
    let host = stage.host().await?;
    match std::env::var_os(UPSTREAM) {
        Some(folder) => the_sample_of_rook(&stage, &PathBuf::from(folder).join("rook/cassandra-cluster.yaml")).await?,
        None => eprintln!("skipped: Rook's own sample, since {UPSTREAM} does not name the folder of upstream samples"),
    }
    let examples = workspace_root().join("examples/cassandra");
    apply(&stage, &examples.join("cluster.yaml")).await?;
    wait_ready(&stage, NS, "orders", "6/6").await?;

    // Its rack names a ConfigMap and a storage class that do not exist.
    apply(&stage, &examples.join("scylla.yaml")).await?;
    wait_progressing(&stage, "events", "ConfigMapMissing", "waiting for ConfigMap events-scylla").await?;
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local-ssd"},
        "provisioner": "kwok.x-k8s.io/volume",
    });
    stage.kubectl(&["apply", "-f", "-"], &class.to_string()).await?;
    let file = "--from-literal=scylla.yaml=compaction_throughput_mb_per_sec: 64";
    stage.kubectl(&["create", "configmap", "events-scylla", file], "").await?;
    wait_ready(&stage, NS, "events", "3/3").await?;
    host.stop().await?;
    stage.stop().await
}

async fn apply(stage: &Stage, file: &Path) -> Result<()> {
    stage.kubectl(&["apply", "-f", file.to_str().context("a path that is not UTF-8")?], "").await?;
    Ok(())
}

async fn the_sample_of_rook(stage: &Stage, file: &Path) -> Result<()> {
    let (namespace, member) = ("rook-cassandra", "rook-cassandra-member");
    ensure!(file.is_file(), "{UPSTREAM} names a folder without {}", file.display());
    apply(stage, file).await?;
    let cluster = wait_ready(stage, namespace, "rook-cassandra", "3/3").await?;
    ensure!(condition(&cluster, "UnknownFields").is_none(), "{:?}", cluster.data["status"]);
    for pod in pods(stage, namespace, "rook-cassandra").await? {
        let account = pod.spec.and_then(|spec| spec.service_account_name);
        ensure!(account.as_deref() == Some(member), "a pod runs as {account:?}");
    }
    // Objects that come with the sample keep their owner.
    let account = stage.api::<ServiceAccount>(namespace).get(member).await?.metadata;
    let role = stage.api::<Role>(namespace).get(member).await?.metadata;
    let binding = stage.api::<RoleBinding>(namespace).get(member).await?.metadata;
    for metadata in [account, role, binding] {
        let ours = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(OWNER_UID_LABEL));
        ensure!(!ours && metadata.owner_references.is_none(), "taken over: {metadata:?}");
    }
    let children = stage.children(&cluster).await?;
    ensure!(children.names().contains(&"StatefulSet/rook-cassandra-us-east-1-us-east-1a"), "{children:?}");
    let set = cluster.name_any();
    ensure!(!children.get(&format!("PodDisruptionBudget/{set}")).is_null(), "{children:?}");
    Ok(())
}
