//! Children are adopted from parents that are gone, and never from one that lives.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, finalizing_script, message_of, script};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::core::DynamicObject;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

const NS: &str = "default";

fn spec(child: &str, text: &str) -> Value {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": child}, "data": {"text": text}});
    json!({"answers": [
        {"when": {"finalizing": true}, "answer": {"finalized": true}},
        {"answer": {"children": [{"object": object}]}},
    ]})
}

async fn uid_of(parents: &Api<DynamicObject>, name: &str) -> Result<String> {
    parents.get(name).await?.uid().context("a parent without UID")
}

#[tokio::test]
async fn adopt_from_never_takes_from_the_living() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted, Provider::ScriptedFinalizing]).await?;
    let host = stage.host().await?;
    for (name, child) in [("a", "referenced"), ("b", "referenced")] {
        apply_text(&stage, &script(name, &spec(child, name))).await?;
        let (status, reason) = if name == "a" { ("True", "Applied") } else { ("False", "NameTaken") };
        message_of(stage.scripts(NS), name, "Synced", status, reason).await?;
    }
    a_living_parent_keeps_its_child(&stage, stage.scripts(NS), "script", "referenced").await?;
    // Children of a provider that finalizes have no owner reference, but a record.
    for (name, child) in [("a", "recorded"), ("b", "recorded")] {
        apply_text(&stage, &finalizing_script(name, &spec(child, name))).await?;
        let (status, reason) = if name == "a" { ("True", "Applied") } else { ("False", "NameTaken") };
        message_of(stage.finalizing_scripts(NS), name, "Synced", status, reason).await?;
    }
    let recorded = stage.api::<ConfigMap>(NS).get("recorded").await?;
    let owner = recorded.annotations().get("bartizan.dev/owner").map(String::as_str);
    ensure!(owner == Some("FinalizingScript.test.bartizan.dev default/a"), "{recorded:?}");
    a_living_parent_keeps_its_child(&stage, stage.finalizing_scripts(NS), "finalizingscript", "recorded").await?;
    host.stop().await?;
    stage.stop().await
}

async fn a_living_parent_keeps_its_child(
    stage: &Stage,
    parents: Api<DynamicObject>,
    kind: &str,
    child: &str,
) -> Result<()> {
    let (first, before) = (uid_of(&parents, "a").await?, stage.api::<ConfigMap>(NS).get(child).await?);
    stage.kubectl(&["annotate", kind, "b", &format!("bartizan.dev/adopt-from={first}")], "").await?;
    let exists = format!("which exists (UID {first})");
    let told = |object: &DynamicObject| object.data.to_string().contains(&exists);
    wait_object(parents, "b", &exists, SOON, told).await?;
    ensure!(stage.api::<ConfigMap>(NS).get(child).await? == before, "it was taken from a parent that lives");
    Ok(())
}

/// As after a restore of parent and child by a tool that drops managed fields.
#[tokio::test]
async fn objects_restored_without_managed_fields_are_adopted() -> Result<()> {
    let stage = Stage::start(&[Provider::ScriptedFinalizing]).await?;
    let host = stage.host().await?;
    for (name, has_record) in [("recorded", true), ("unrecorded", false)] {
        apply_text(&stage, &finalizing_script(name, &spec(name, "one"))).await?;
        message_of(stage.finalizing_scripts(NS), name, "Synced", "True", "Applied").await?;
        let old = uid_of(&stage.finalizing_scripts(NS), name).await?;
        let mut saved = stage.api::<ConfigMap>(NS).get(name).await?;
        stage.kubectl(&["delete", "finalizingscript", name, "--timeout=60s"], "").await?;

        let metadata = &mut saved.metadata;
        (metadata.uid, metadata.resource_version, metadata.managed_fields) = (None, None, None);
        metadata.creation_timestamp = None;
        if !has_record {
            metadata.annotations.get_or_insert_default().remove("bartizan.dev/owner");
        }
        stage.api::<ConfigMap>(NS).create(&PostParams::default(), &saved).await?;
        let mut restored: Value = serde_json::from_str(&finalizing_script(name, &spec(name, "two")))?;
        restored["metadata"]["annotations"]["bartizan.dev/adopt-from"] = old.into();
        let before = stage.api::<ConfigMap>(NS).get(name).await?;
        apply_text(&stage, &restored.to_string()).await?;
        message_of(stage.finalizing_scripts(NS), name, "Synced", "True", "Applied").await?;
        let after = stage.api::<ConfigMap>(NS).get(name).await?;
        let uid = uid_of(&stage.finalizing_scripts(NS), name).await?;
        ensure!(after.uid() == before.uid() && after.labels()["bartizan.dev/owner-uid"] == uid, "{after:?}");
        ensure!(after.data.is_some_and(|data| data["text"] == "two"), "it was not applied");

        // It is a child in every respect: it goes with its parent.
        stage.kubectl(&["delete", "finalizingscript", name, "--timeout=60s"], "").await?;
        ensure!(stage.api::<ConfigMap>(NS).get_opt(name).await?.is_none(), "it outlived its parent");
    }
    host.stop().await?;
    stage.stop().await
}
