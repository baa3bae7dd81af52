//! A status that has lost its writer says so: nobody takes what was true once for what is true now.

use anyhow::{Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, message_of, script};
use bartizan_harness::wait::wait_object;
use serde_json::json;

const NS: &str = "default";

fn ready_with_child(name: &str) -> Result<String> {
    let child = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let ready = json!({"type": "Ready", "status": "True", "reason": "Ready", "message": "it runs"});
    let answer = json!({"children": [{"object": child}], "status": {"conditions": [ready]}});
    Ok(script(name, &json!({"answers": [{"answer": answer}]})))
}

async fn suspend(stage: &Stage, suspend: bool) -> Result<()> {
    let patch = json!({"spec": {"suspend": suspend}}).to_string();
    stage.kubectl(&["patch", "provider", "scripted", "--type=merge", "-p", &patch], "").await?;
    Ok(())
}

async fn are(stage: &Stage, names: &[&str], status: &str, reason: &str) -> Result<()> {
    for name in names {
        let message = message_of(stage.scripts(NS), name, "Synced", status, reason).await?;
        ensure!(status == "True" || message.contains("Provider scripted does not serve it now: "), "{message}");
        let is_ready = |parent: &kube::core::DynamicObject| {
            let conditions = parent.data["status"]["conditions"].as_array().into_iter().flatten();
            let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
            ready.any(|ready| ready["status"] == status)
        };
        wait_object(stage.scripts(NS), name, "its condition Ready", SOON, is_ready).await?;
    }
    Ok(())
}

#[tokio::test]
async fn parents_that_nobody_serves_say_so() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    for name in ["one", "two"] {
        apply_text(&stage, &ready_with_child(name)?).await?;
    }
    are(&stage, &["one", "two"], "True", "Applied").await?;
    suspend(&stage, true).await?;
    are(&stage, &["one", "two"], "Unknown", "Suspended").await?;
    // Nobody has said anything of one that was made since.
    apply_text(&stage, &ready_with_child("three")?).await?;
    suspend(&stage, false).await?;
    are(&stage, &["one", "two", "three"], "True", "Applied").await?;
    host.stop().await?;
    // While no host ran.
    suspend(&stage, true).await?;
    let host = stage.host().await?;
    are(&stage, &["one", "two", "three"], "Unknown", "Suspended").await?;
    suspend(&stage, false).await?;
    are(&stage, &["one", "two", "three"], "True", "Applied").await?;
    host.stop().await?;
    stage.stop().await
}
