//! A deleted Provider: its parents block it or are released, as its spec says; also across a restart of the host.

use anyhow::{Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, finalizing_script, message_of};
use bartizan_harness::wait::{wait_gone, wait_object};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::core::DynamicObject;
use serde_json::{Value, json};

const NS: &str = "default";
const PARENTS: usize = 20;
const FINALIZER: &str = "finalizer.bartizan.dev/parents";

/// A child of the same name, and a provider whose finalizing has nothing to do.
fn spec(name: &str) -> Value {
    let child = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    json!({"answers": [
        {"when": {"finalizing": true}, "answer": {"finalized": true}},
        {"answer": {"children": [{"object": child}]}},
    ]})
}

async fn with_parents(names: &[String]) -> Result<Stage> {
    let stage = Stage::start(&[Provider::ScriptedFinalizing]).await?;
    let documents: Vec<String> = names.iter().map(|name| finalizing_script(name, &spec(name))).collect();
    apply_text(&stage, &documents.join("\n---\n")).await?;
    Ok(stage)
}

async fn are_applied(stage: &Stage, names: &[String]) -> Result<()> {
    for name in names {
        message_of(stage.finalizing_scripts(NS), name, "Synced", "True", "Applied").await?;
    }
    Ok(())
}

async fn delete_provider(stage: &Stage) -> Result<()> {
    stage.kubectl(&["delete", "provider", "scripted-finalizing", "--wait=false"], "").await?;
    Ok(())
}

#[tokio::test]
async fn a_provider_that_blocks_removal_serves_until_its_last_parent_is_gone() -> Result<()> {
    let names = ["a".to_owned(), "b".to_owned()];
    let stage = with_parents(&names).await?;
    let host = stage.host().await?;
    are_applied(&stage, &names).await?;
    let object = stage.provider_objects().get("scripted-finalizing").await?;
    ensure!(object.finalizers() == [FINALIZER], "{object:?}");
    let counted = |object: &DynamicObject| object.data["status"]["parents"] == 2;
    wait_object(stage.provider_objects(), "scripted-finalizing", "2 parents", SOON, counted).await?;

    delete_provider(&stage).await?;
    let message =
        message_of(stage.provider_objects(), "scripted-finalizing", "RemovalBlocked", "True", "ParentsExist").await?;
    let expected =
        "2 parents exist: delete them first, or set spec.onRemoval to Release, which leaves them without an operator";
    ensure!(message == expected, "{message}");
    message_of(stage.provider_objects(), "scripted-finalizing", "Serving", "True", "Serving").await?;
    // It still serves: a deleted child is recreated.
    stage.kubectl(&["delete", "configmap", "a"], "").await?;
    wait_object(stage.api::<ConfigMap>(NS), "a", "there again", SOON, |_| true).await?;

    // A host that starts now does the same, also while the Provider is suspended and parents are not counted.
    host.kill().await?;
    let host = stage.host().await?;
    let suspend = |on: bool| format!("{{\"spec\":{{\"suspend\":{on}}}}}");
    stage.kubectl(&["patch", "provider", "scripted-finalizing", "--type=merge", "-p", &suspend(true)], "").await?;
    message_of(stage.provider_objects(), "scripted-finalizing", "Serving", "False", "Suspended").await?;
    let message =
        message_of(stage.provider_objects(), "scripted-finalizing", "RemovalBlocked", "True", "ParentsExist").await?;
    ensure!(message == expected, "{message}");
    stage.kubectl(&["patch", "provider", "scripted-finalizing", "--type=merge", "-p", &suspend(false)], "").await?;

    stage.kubectl(&["delete", "finalizingscript", "a"], "").await?;
    let one = "1 parent exists: delete it first";
    let shows = |object: &DynamicObject| object.data["status"]["conditions"].to_string().contains(one);
    wait_object(stage.provider_objects(), "scripted-finalizing", one, SOON, shows).await?;
    stage.kubectl(&["delete", "finalizingscript", "b"], "").await?;
    wait_gone(stage.provider_objects(), "scripted-finalizing", SOON).await?;
    for name in &names {
        wait_gone(stage.api::<ConfigMap>(NS), name, SOON).await?;
    }
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn removal_with_release_frees_all_parents_even_if_the_host_is_killed() -> Result<()> {
    let names: Vec<String> = (0..PARENTS).map(|number| format!("k-{number}")).collect();
    let stage = with_parents(&names).await?;
    let mut host = stage.host().await?;
    are_applied(&stage, &names).await?;
    // The policy changes while it is blocked.
    delete_provider(&stage).await?;
    message_of(stage.provider_objects(), "scripted-finalizing", "RemovalBlocked", "True", "ParentsExist").await?;
    let release = r#"{"spec":{"onRemoval":"Release"}}"#;
    stage.kubectl(&["patch", "provider", "scripted-finalizing", "--type=merge", "-p", release], "").await?;
    host.process.wait_for_line("released", SOON).await?;
    host.kill().await?;
    let host = stage.host().await?;
    wait_gone(stage.provider_objects(), "scripted-finalizing", SOON).await?;
    for parent in stage.finalizing_scripts(NS).list(&ListParams::default()).await? {
        ensure!(parent.finalizers().is_empty() && parent.metadata.deletion_timestamp.is_none(), "{parent:?}");
    }
    for name in &names {
        ensure!(stage.api::<ConfigMap>(NS).get_opt(name).await?.is_some(), "the child of {name} is gone");
    }
    // No finalizer is left on them.
    stage.kubectl(&["delete", "finalizingscript", "--all", "--timeout=60s"], "").await?;
    host.stop().await?;
    stage.stop().await
}
