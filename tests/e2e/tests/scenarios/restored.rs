//! The store of the API server is restored from a snapshot.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, message_of, script};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

const NS: &str = "default";
const PARENTS: usize = 10;

async fn edit(stage: &Stage, text: &str) -> Result<()> {
    for number in 0..PARENTS {
        let metadata = json!({"name": format!("child-{number}")});
        let child = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}});
        let spec = json!({"answers": [{"answer": {"children": [{"object": child}]}}]});
        apply_text(stage, &script(&format!("parent-{number}"), &spec)).await?;
    }
    for number in 0..PARENTS {
        let has_text = |map: &ConfigMap| map.data.as_ref().is_some_and(|data| data["text"] == text);
        wait_object(stage.api::<ConfigMap>(NS), &format!("child-{number}"), text, SOON, has_text).await?;
        message_of(stage.scripts(NS), &format!("parent-{number}"), "Synced", "True", "Applied").await?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cp: {status}");
    Ok(())
}

#[tokio::test]
async fn a_store_that_went_back_in_time_is_believed_and_served() -> Result<()> {
    let mut stage = Stage::start(&[Provider::Scripted]).await?;
    // One that elects nobody: an outage as long as its lease would have it start anew anyhow.
    let mut command = stage.command();
    command.arg("--leader-elect=false");
    let mut host = stage.listening(command).await?;
    host.ready().await?;
    edit(&stage, "before").await?;
    let saved = stage.path("saved");
    stage.cluster.with_store_stopped(|store| copy(store, &saved)).await.context("the snapshot")?;
    host.ready().await?;
    // Far enough that no new edit reaches the resource versions that were seen.
    for round in 0..5 {
        edit(&stage, &format!("lost {round}")).await?;
    }
    let mark = host.process.mark();
    stage
        .cluster
        .with_store_stopped(|store| {
            std::fs::remove_dir_all(store)?;
            copy(&saved, store)
        })
        .await
        .context("the restore")?;
    let line = host.process.wait_for_line_after(mark, "the store of the API server went back in time", SOON).await?;
    ensure!(line.contains("starting anew"), "{line}");
    edit(&stage, "after").await?;
    host.ready().await?;
    host.stop().await?;
    stage.stop().await
}
