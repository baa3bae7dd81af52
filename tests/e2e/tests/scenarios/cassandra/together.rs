//! Several clusters and stores in one host.

use anyhow::{Result, ensure};
use bartizan_e2e::{Provider, Stage, apply_text, cassandra, store};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{LONG, NS, annotate, edit, rack, set_racks, spec, wait_progressing, wait_ready};

const HOLD: &str = "test.bartizan.dev/hold-ready";

#[tokio::test]
async fn two_clusters_in_a_namespace_and_a_store_do_not_disturb_each_other() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio, Provider::Cassandra]).await?;
    let host = stage.host().await?;
    for (name, members) in [("first", 2), ("second", 1)] {
        apply_text(&stage, &cassandra(NS, name, &spec("4.1.7", &[rack("a", members)]))).await?;
    }
    apply_text(&stage, &store(NS, "files", &json!({"scope": {"nodeCount": 4}}))).await?;
    let first = wait_ready(&stage, NS, "first", "2/2").await?;
    wait_ready(&stage, NS, "second", "1/1").await?;
    stage.wait_ready(NS, "files").await?;

    // One cluster waits for a member; the other has a rack of the same name, and grows.
    annotate(&stage, "first-west-a-0", HOLD, "true").await?;
    edit(&stage, NS, "first", &json!({"version": "4.1.8"})).await?;
    wait_progressing(&stage, "first", "MembersNotReady", "waiting for first-west-a-0 to become ready").await?;
    let before = stage.children(&first).await?;
    let mark = stage.mark()?;
    set_racks(&stage, NS, "second", &[rack("a", 2)]).await?;
    wait_ready(&stage, NS, "second", "2/2").await?;
    ensure!(stage.children(&first).await? == before, "the first cluster's children changed");
    let strangers: Vec<String> = stage
        .writes_since(mark)?
        .into_iter()
        .filter(|write| !write.contains("/second") && !write.starts_with("create events "))
        .collect();
    ensure!(strangers.is_empty(), "the host wrote to others than the second cluster's: {strangers:?}");
    annotate(&stage, "first-west-a-0", HOLD, "false").await?;

    // Two clusters and a store change at the same time: one is upgraded, one grows, one gets another environment.
    set_racks(&stage, NS, "second", &[rack("a", 3)]).await?;
    let env = Patch::Merge(json!({"spec": {"env": [{"name": "MINIO_BROWSER", "value": "off"}]}}));
    stage.stores(NS).patch("files", &PatchParams::default(), &env).await?;
    wait_ready(&stage, NS, "first", "2/2").await?;
    wait_ready(&stage, NS, "second", "3/3").await?;
    wait_object(stage.api::<StatefulSet>(NS), "files", "the environment on four ready pods", LONG, |set| {
        let set = serde_json::to_value(set).unwrap_or(Value::Null);
        let env = set["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
        let status = &set["status"];
        env.is_some_and(|env| env.iter().any(|variable| variable["name"] == "MINIO_BROWSER"))
            && status["observedGeneration"] == set["metadata"]["generation"]
            && status["updatedReplicas"] == 4
            && status["readyReplicas"] == 4
    })
    .await?;
    host.stop().await?;
    stage.stop().await
}
