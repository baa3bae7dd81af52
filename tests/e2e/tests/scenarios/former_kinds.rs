//! Kinds that only an earlier version of a module wrote.

use anyhow::Result;
use bartizan_e2e::{Provider, SOON, Stage, apply_text, message_of, patched, replace, script};
use bartizan_harness::wait::wait_object;
use kube::core::DynamicObject;
use serde_json::{Value, json};

const NS: &str = "default";
const GROUP: &str = "gizmos.test.bartizan.dev";

async fn install_gizmos(stage: &Stage) -> Result<()> {
    let spec = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = json!({
        "name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    });
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gizmos.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": {"kind": "Gizmo", "plural": "gizmos"}, "versions": [version],
        },
    });
    apply_text(stage, &crd.to_string()).await?;
    let crd = format!("crd/gizmos.{GROUP}");
    stage.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &crd], "").await?;
    Ok(())
}

/// A script with a ConfigMap of this text, and perhaps a Gizmo.
fn parent(name: &str, text: &str, has_gizmo: bool) -> String {
    let object = |api_version: &str, kind: &str, field: &str, value: Value| json!({"object": {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, field: value}});
    let mut children = vec![object("v1", "ConfigMap", "data", json!({"text": text}))];
    if has_gizmo {
        children.push(object(&format!("{GROUP}/v1"), "Gizmo", "spec", json!({"size": 1})));
    }
    script(name, &json!({"answers": [{"answer": {"children": children}}]}))
}

async fn has_kind(stage: &Stage, expected: bool) -> Result<()> {
    let wanted = |provider: &DynamicObject| {
        provider.data["status"]["kinds"].to_string().contains(&format!("Gizmo.{GROUP}")) == expected
    };
    wait_object(stage.provider_objects(), "scripted", &format!("Gizmos: {expected}"), SOON, wanted).await?;
    Ok(())
}

/// Waits until it serves with a message that contains this.
async fn serves(stage: &Stage, text: &str) -> Result<()> {
    let wanted = |provider: &DynamicObject| {
        let conditions = provider.data["status"]["conditions"].as_array();
        let mut serving = conditions.into_iter().flatten().filter(|condition| condition["type"] == "Serving");
        serving.any(|condition| {
            condition["status"] == "True" && condition["message"].as_str().is_some_and(|message| message.contains(text))
        })
    };
    wait_object(stage.provider_objects(), "scripted", text, SOON, wanted).await?;
    Ok(())
}

#[tokio::test]
async fn a_former_kind_is_forgotten_when_nothing_is_left_and_stops_nobody_when_it_goes() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    install_gizmos(&stage).await?;
    stage.grant(Provider::Scripted, "gizmos", GROUP).await?;
    let mut host = stage.host().await?;
    let careless = r#"{"spec":{"upgrade":{"holdOn":[]}}}"#;
    stage.kubectl(&["patch", "provider", "scripted", "--type=merge", "-p", careless], "").await?;
    apply_text(&stage, &parent("kept", "one", true)).await?;
    message_of(stage.scripts(NS), "kept", "Synced", "True", "Applied").await?;
    has_kind(&stage, true).await?;

    // The next version knows no Gizmos; one is left, since its parent is paused.
    stage.kubectl(&["annotate", "script", "kept", "bartizan.dev/paused=true"], "").await?;
    let module = std::fs::read(stage.module(Provider::Scripted)?)?;
    let module = patched(&module, "scripting-edition-1", "scripting-edition-2")?;
    let module = patched(&module, "gizmos.test.bartizan.dev/v1", "gizmos.test.bartizan.dex/v1")?;
    replace(&stage.providers().join("scripted.wasm"), &module)?;
    let is_second = |provider: &DynamicObject| provider.data["status"]["active"]["version"] == "0.2.0";
    wait_object(stage.provider_objects(), "scripted", "version 0.2.0", SOON, is_second).await?;
    has_kind(&stage, true).await?;

    // Its rights go, as `bartizan rbac` of the next version prints none.
    stage.kubectl(&["delete", "clusterrolebinding", "gizmos"], "").await?;
    host.stop().await?;
    host = stage.host().await?;
    serves(&stage, &format!("children that an earlier version wrote are left alone (Gizmo.{GROUP}: ")).await?;
    apply_text(&stage, &parent("other", "one", false)).await?;
    message_of(stage.scripts(NS), "other", "Synced", "True", "Applied").await?;

    // They come back, and then the kind itself goes while it is watched.
    let user = format!("--user={}", bartizan_e2e::account_of("scripted"));
    stage.kubectl(&["create", "clusterrolebinding", "gizmos", "--clusterrole=gizmos", &user], "").await?;
    host.stop().await?;
    host = stage.host().await?;
    has_kind(&stage, true).await?;
    stage.kubectl(&["delete", "crd", &format!("gizmos.{GROUP}"), "--timeout=60s"], "").await?;
    apply_text(&stage, &parent("other", "two", false)).await?;
    message_of(stage.scripts(NS), "other", "Synced", "True", "Applied").await?;
    stage.kubectl(&["delete", "script", "other", "--timeout=60s"], "").await?;
    host.ready().await?;
    message_of(stage.provider_objects(), "scripted", "Serving", "True", "Serving").await?;

    // Nothing is left of it: the next start forgets it.
    install_gizmos(&stage).await?;
    host.stop().await?;
    host = stage.host().await?;
    has_kind(&stage, false).await?;
    host.ready().await?;
    host.stop().await?;
    stage.stop().await
}
