//! Any CRD is served, whatever room it has for a status, and one that changes is noticed while the host runs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, message_of, script};
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};

const NS: &str = "default";
const CRD: &str = "scripts.test.bartizan.dev";
/// How long nothing may be written once all is as desired.
const QUIET: Duration = Duration::from_secs(5);

fn parent(name: &str, fails: bool) -> String {
    let condition = json!({"type": "Ready", "status": "True", "reason": "Fine", "message": ""});
    let status = json!({"ready": true, "unknown": 1, "observedGeneration": 1, "conditions": [condition]});
    parent_with(name, fails, &status)
}

/// A Script with this status that asks for a ConfigMap of its own name, or for one that cannot be.
pub(crate) fn parent_with(name: &str, fails: bool, status: &Value) -> String {
    let key = if fails { "not a key" } else { "text" };
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {key: "x"}});
    script(name, &json!({"answers": [{"answer": {"children": [{"object": object}], "status": status}}]}))
}

/// Gives the CRD this schema of the status, with or without the subresource.
async fn set_crd(stage: &Stage, status: &Value, is_subresource: bool) -> Result<()> {
    let subresources = if is_subresource { json!({"status": {}}) } else { json!({}) };
    let patch = json!([
        {"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/status", "value": status},
        {"op": "replace", "path": "/spec/versions/0/subresources", "value": subresources},
    ]);
    stage.kubectl(&["patch", "crd", CRD, "--type=json", "-p", &patch.to_string()], "").await?;
    Ok(())
}

fn conditions(items: &Value) -> Value {
    json!({"type": "array", "items": {"type": "object", "properties": items}})
}

fn types(parent: &DynamicObject) -> Vec<String> {
    let conditions = parent.data["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter_map(|condition| condition["type"].as_str().map(str::to_owned)).collect()
}

/// Waits until a parent's status is as wanted, and nothing is written after that.
async fn settles(stage: &Stage, name: &str, what: &str, is: impl Fn(&DynamicObject) -> bool) -> Result<DynamicObject> {
    wait_object(stage.api::<ConfigMap>(NS), name, "existence", SOON, |_| true).await?;
    wait_object(stage.scripts(NS), name, what, SOON, is).await?;
    tokio::time::sleep(QUIET).await;
    let mark = stage.mark()?;
    tokio::time::sleep(QUIET).await;
    let writes = stage.writes_since(mark)?;
    ensure!(writes.is_empty(), "{name}: {writes:?}");
    Ok(stage.scripts(NS).get(name).await?)
}

/// Whether `Synced` of a parent has this status. Not every kind has room for the generation, by which conditions are found elsewhere.
pub(crate) fn is_synced(parent: &DynamicObject, status: &str) -> bool {
    let conditions = parent.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|is| is["type"] == "Synced" && is["status"] == status)
}

/// Whether there is a warning about a parent.
pub(crate) async fn has_warning(stage: &Stage, name: &str, reason: &str) -> Result<bool> {
    let found = stage.api::<Event>(NS).list(&ListParams::default()).await?;
    let is_it =
        |event: &Event| event.involved_object.name.as_deref() == Some(name) && event.reason.as_deref() == Some(reason);
    Ok(found.items.iter().any(is_it))
}

/// Waits for a warning about a parent.
async fn is_warned(stage: &Stage, name: &str, reason: &str) -> Result<()> {
    let probe = async || Ok(has_warning(stage, name, reason).await?.then_some(()));
    wait_for(&format!("an event {reason} about {name}"), SOON, probe).await
}

#[tokio::test]
async fn any_crd_is_served_whatever_room_it_has_for_a_status() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let mut host = stage.host().await?;
    let ready = json!({"type": "boolean"});

    // No conditions: the rest is written, and a failure is an event that the Provider counts.
    let closed = json!({"type": "object", "properties": {"ready": ready, "observedGeneration": {"type": "integer"}}});
    set_crd(&stage, &closed, true).await?;
    apply_text(&stage, &parent("closed", false)).await?;
    let is_ready = |parent: &DynamicObject| parent.data["status"]["ready"] == true;
    let closed = settles(&stage, "closed", "ready", is_ready).await?;
    ensure!(closed.data["status"] == json!({"ready": true, "observedGeneration": 1}), "{}", closed.data["status"]);
    apply_text(&stage, &parent("closed-fails", true)).await?;
    is_warned(&stage, "closed-fails", "ApplyRefused").await?;
    let message = message_of(stage.provider_objects(), "scripted", "StatusBlocked", "True", "StatusRefused").await?;
    ensure!(message.contains("its kind has no room for conditions"), "{message}");
    stage.kubectl(&["delete", "script", "closed-fails"], "").await?;

    // One list for all writers: those of others stay.
    let items = json!({"type": {"type": "string"}, "status": {"type": "string"}, "reason": {"type": "string"}});
    let listed = json!({"type": "object", "properties": {"ready": ready, "conditions": conditions(&items)}});
    set_crd(&stage, &listed, true).await?;
    let patch = json!({"status": {"conditions": [{"type": "Theirs", "status": "True", "reason": "Theirs"}]}});
    apply_text(&stage, &parent("listed", false)).await?;
    let has = |types_wanted: &'static [&'static str]| {
        move |parent: &DynamicObject| types_wanted.iter().all(|type_| types(parent).iter().any(|is| is == type_))
    };
    settles(&stage, "listed", "conditions", has(&["Ready", "Synced"])).await?;
    let mut all = stage.scripts(NS).get("listed").await?.data["status"]["conditions"].clone();
    all.as_array_mut().context("no list")?.push(patch["status"]["conditions"][0].clone());
    let all = Patch::Merge(json!({"status": {"conditions": all}}));
    stage.scripts(NS).patch_status("listed", &PatchParams::default(), &all).await?;
    let child = Patch::Merge(json!({"spec": {"answers": []}}));
    stage.scripts(NS).patch("listed", &PatchParams::default(), &child).await?;
    wait_object(stage.scripts(NS), "listed", "a failure", SOON, |parent| is_synced(parent, "False")).await?;
    ensure!(has(&["Theirs"])(&stage.scripts(NS).get("listed").await?), "what others wrote is gone");
    stage.kubectl(&["delete", "script", "listed"], "").await?;

    // No schema at all.
    set_crd(&stage, &json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), true).await?;
    apply_text(&stage, &parent("open", false)).await?;
    let open = settles(&stage, "open", "conditions", has(&["Ready", "Synced"])).await?;
    ensure!(open.data["status"]["unknown"] == 1, "{}", open.data["status"]);

    // A required field: what is not there yet cannot be said, and the Provider names it.
    let mut required = listed.clone();
    required["required"] = json!(["ready"]);
    set_crd(&stage, &required, true).await?;
    let message = message_of(stage.provider_objects(), "scripted", "StatusBlocked", "True", "StatusRequired").await?;
    ensure!(message.starts_with("scripts.test.bartizan.dev requires status.ready"), "{message}");

    // No subresource: a write raises the generation, and is answered by none.
    set_crd(&stage, &listed, false).await?;
    apply_text(&stage, &parent("whole", false)).await?;
    let whole = settles(&stage, "whole", "conditions", has(&["Ready", "Synced"])).await?;
    ensure!(whole.metadata.generation <= Some(3), "generation {:?}", whole.metadata.generation);
    ensure!(whole.data["status"]["observedGeneration"] == Value::Null, "{}", whole.data["status"]);
    host.ready().await?;
    host.stop().await?;
    stage.stop().await
}
