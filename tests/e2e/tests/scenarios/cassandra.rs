//! A ring is created, scaled up and down, upgraded and removed, one member at a time.

mod grow;
mod samples;
mod shrink;
mod together;
mod upgrade;

use std::time::Duration;

use anyhow::Result;
use bartizan_e2e::{Stage, condition, message_of};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};

const NS: &str = "default";
/// For operations of several steps, each of which takes a moment.
const LONG: Duration = Duration::from_secs(180);
/// How long the fake sidecar takes to answer.
const DECOMMISSION: Duration = Duration::from_millis(200);
/// Annotation that delays the start of pods; the provider copies it to them.
const START_DELAY: &str = "test.bartizan.dev/start-delay";

/// A rack with a volume claim for each member.
fn rack(name: &str, members: i32) -> Value {
    let claim = json!({"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}});
    json!({"name": name, "members": members, "storage": {"volumeClaimTemplates": [claim]}})
}

/// A cluster of these racks in the datacenter `west`.
fn spec(version: &str, racks: &[Value]) -> Value {
    json!({"version": version, "datacenter": {"name": "west", "racks": racks}})
}

/// The same cluster, with pods that take this long to start.
fn slow(mut spec: Value, delay: &str) -> Value {
    spec["annotations"] = json!({START_DELAY: delay});
    spec
}

/// Patches the spec of a cluster through the API, which is faster than kubectl; returns the resource version of the
/// result.
async fn edit(stage: &Stage, namespace: &str, name: &str, spec: &Value) -> Result<u64> {
    let patch = Patch::Merge(json!({"spec": spec}));
    let cluster = stage.clusters(namespace).patch(name, &PatchParams::default(), &patch).await?;
    Ok(cluster.resource_version().unwrap_or_default().parse()?)
}

/// Replaces the racks.
async fn set_racks(stage: &Stage, namespace: &str, name: &str, racks: &[Value]) -> Result<u64> {
    edit(stage, namespace, name, &json!({"datacenter": {"racks": racks}})).await
}

/// Annotates a pod, for the simulated nodes.
async fn annotate(stage: &Stage, pod: &str, annotation: &str, value: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {annotation: value}}}));
    stage.api::<Pod>(NS).patch(pod, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until a cluster has these ready members, as `3/3`, and is Ready.
async fn wait_ready(stage: &Stage, namespace: &str, name: &str, ready: &str) -> Result<DynamicObject> {
    wait_object(stage.clusters(namespace), name, &format!("Ready with {ready}"), LONG, |cluster| {
        let is = |type_: &str, status: &str| condition(cluster, type_).is_some_and(|found| found["status"] == status);
        cluster.data["status"]["ready"] == ready
            && is("Ready", "True")
            && is("Valid", "True")
            && is("Synced", "True")
            && is("Progressing", "False")
            && is("Degraded", "False")
    })
    .await
}

/// Waits until the condition Progressing has this reason and message.
async fn wait_progressing(stage: &Stage, name: &str, reason: &str, message: &str) -> Result<()> {
    wait_object(stage.clusters(NS), name, &format!("{reason}: {message}"), LONG, |cluster| {
        condition(cluster, "Progressing").is_some_and(|found| found["reason"] == reason && found["message"] == message)
    })
    .await?;
    Ok(())
}

/// The message of `Valid=False`.
async fn fault(stage: &Stage, name: &str, reason: &str) -> Result<String> {
    message_of(stage.clusters(NS), name, "Valid", "False", reason).await
}

/// The pods of a cluster by name.
async fn pods(stage: &Stage, namespace: &str, cluster: &str) -> Result<Vec<Pod>> {
    let selector = ListParams::default().labels(&format!("cassandra.rook.io/cluster={cluster}"));
    let mut pods = stage.api::<Pod>(namespace).list(&selector).await?.items;
    pods.sort_by_key(kube::ResourceExt::name_any);
    Ok(pods)
}
