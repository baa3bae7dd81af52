//! A parent that leaves the claim of its Provider is handed over to the next one, or let go.

use anyhow::{Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, bartizan, code_and_output, finalizing_script, message_of};
use bartizan_harness::wait::{wait_gone, wait_object};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use serde_json::{Value, json};

const NS: &str = "default";

/// A Provider of FinalizingScripts with this label.
fn document(name: &str, more: &Value) -> String {
    let selector = json!({"matchLabels": {"who": name}});
    let mut document = json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": name},
        "spec": {
            "module": {"file": format!("{name}.wasm")},
            "serviceAccountName": "provider-scripted-finalizing",
            "allowHostSecrets": true,
            "parents": [{"group": "test.bartizan.dev", "kind": "FinalizingScript", "selector": selector}],
            "grants": {"children": [
                {"group": "", "kinds": ["ConfigMap", "Service"]}, {"group": "apps", "kinds": ["StatefulSet"]},
            ]},
        },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        document["spec"][field] = value.clone();
    }
    document.to_string()
}

/// A stage with the Providers `one` and `two`.
async fn stage() -> Result<Stage> {
    let stage = Stage::bare().await?;
    stage.deploy(Provider::ScriptedFinalizing).await?;
    for name in ["one", "two"] {
        std::fs::write(stage.providers().join(format!("{name}.yaml")), document(name, &json!({})))?;
        let module = stage.module(Provider::ScriptedFinalizing)?;
        std::fs::copy(module, stage.providers().join(format!("{name}.wasm")))?;
    }
    Ok(stage)
}

fn parent(name: &str, who: &str) -> Result<String> {
    let child = name.rsplit('/').next().unwrap_or_default();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": child}, "data": {"x": "1"}});
    let spec = json!({"answers": [
        {"when": {"finalizing": true}, "answer": {"finalized": true}},
        {"answer": {"children": [{"object": object}]}},
    ]});
    let mut parent: Value = serde_json::from_str(&finalizing_script(name, &spec))?;
    parent["metadata"]["labels"]["who"] = who.into();
    Ok(parent.to_string())
}

fn is_let_go(parent: &DynamicObject) -> bool {
    let status = parent.data.get("status").and_then(Value::as_object);
    parent.finalizers().is_empty() && status.is_none_or(serde_json::Map::is_empty)
}

fn is_released(child: &ConfigMap) -> bool {
    !child.labels().contains_key("bartizan.dev/provider")
        && child.annotations().contains_key("bartizan.dev/retained-for")
}

#[tokio::test]
async fn a_parent_that_leaves_a_claim_is_handed_over_or_let_go() -> Result<()> {
    let stage = stage().await?;
    let host = stage.host().await?;
    a_label_hands_it_over(&stage).await?;
    without_a_successor_it_is_let_go(&stage).await?;
    other_namespaces_let_it_go(&stage).await?;
    host.stop().await?;
    stage.stop().await
}

async fn a_label_hands_it_over(stage: &Stage) -> Result<()> {
    apply_text(stage, &parent("moved", "one")?).await?;
    message_of(stage.finalizing_scripts(NS), "moved", "Synced", "True", "Applied").await?;
    let before = stage.api::<ConfigMap>(NS).get("moved").await?;
    ensure!(before.labels()["bartizan.dev/provider"] == "one", "{before:?}");
    stage.kubectl(&["label", "finalizingscript", "moved", "--overwrite", "who=two"], "").await?;
    let is_two = |child: &ConfigMap| child.labels().get("bartizan.dev/provider").is_some_and(|name| name == "two");
    let after = wait_object(stage.api::<ConfigMap>(NS), "moved", "provider two's", SOON, is_two).await?;
    ensure!(after.uid() == before.uid(), "it was recreated");
    let has_two = |parent: &DynamicObject| parent.finalizers() == ["finalizer.bartizan.dev/two"];
    wait_object(stage.finalizing_scripts(NS), "moved", "the finalizer of two alone", SOON, has_two).await?;
    message_of(stage.finalizing_scripts(NS), "moved", "Synced", "True", "Applied").await?;
    let parent = stage.finalizing_scripts(NS).get("moved").await?;
    ensure!(!parent.data["status"].to_string().contains("Stalled"), "{parent:?}");
    // Fields that the earlier one applied belong to its successor.
    let managers = |child: &ConfigMap| -> Vec<String> {
        child.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect()
    };
    let alone = |child: &ConfigMap| !managers(child).contains(&"bartizan/one".to_owned());
    wait_object(stage.api::<ConfigMap>(NS), "moved", "without the earlier field manager", SOON, alone).await?;
    stage.kubectl(&["delete", "finalizingscript", "moved", "--timeout=60s"], "").await?;
    wait_gone(stage.api::<ConfigMap>(NS), "moved", SOON).await
}

async fn without_a_successor_it_is_let_go(stage: &Stage) -> Result<()> {
    apply_text(stage, &parent("free", "one")?).await?;
    message_of(stage.finalizing_scripts(NS), "free", "Synced", "True", "Applied").await?;
    let before = stage.api::<ConfigMap>(NS).get("free").await?;
    stage.kubectl(&["label", "finalizingscript", "free", "--overwrite", "who=nobody"], "").await?;
    wait_object(stage.finalizing_scripts(NS), "free", "let go", SOON, is_let_go).await?;
    let after = wait_object(stage.api::<ConfigMap>(NS), "free", "released", SOON, is_released).await?;
    ensure!(after.uid() == before.uid(), "it was recreated");
    // It is told, nobody keeps it from being deleted, and what it had stays.
    let events = stage.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"], "").await?;
    ensure!(events.contains("Released"), "{events}");
    stage.kubectl(&["delete", "finalizingscript", "free", "--timeout=60s"], "").await?;
    stage.api::<ConfigMap>(NS).get("free").await?;
    Ok(())
}

async fn other_namespaces_let_it_go(stage: &Stage) -> Result<()> {
    stage.kubectl(&["create", "namespace", "other"], "").await?;
    apply_text(stage, &parent("other/away", "one")?).await?;
    message_of(stage.finalizing_scripts("other"), "away", "Synced", "True", "Applied").await?;
    apply_text(stage, &document("one", &json!({"namespaces": ["default"]}))).await?;
    wait_object(stage.finalizing_scripts("other"), "away", "let go", SOON, is_let_go).await?;
    wait_object(stage.api::<ConfigMap>("other"), "away", "released", SOON, is_released).await?;
    stage.kubectl(&["delete", "finalizingscript", "away", "-n", "other", "--timeout=60s"], "").await?;
    Ok(())
}

fn config_map(name: &str, x: &str) -> Value {
    json!({"object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"x": x}}})
}

/// A parent of the Provider `one` with these children.
fn parent_with(name: &str, children: &[Value], paused: bool) -> Result<String> {
    let spec = json!({"answers": [
        {"when": {"finalizing": true}, "answer": {"finalized": true}},
        {"answer": {"children": children}},
    ]});
    let mut parent: Value = serde_json::from_str(&finalizing_script(name, &spec))?;
    parent["metadata"]["labels"]["who"] = "one".into();
    parent["metadata"]["annotations"] = json!({"bartizan.dev/paused": paused.to_string()});
    Ok(parent.to_string())
}

#[tokio::test]
async fn a_hand_over_can_be_looked_at_before_it_is_made() -> Result<()> {
    let stage = stage().await?;
    let host = stage.host().await?;
    let server = format!("http://{}", host.address);
    let diff = |provider: &str, parent: &str| {
        let arguments = ["diff", provider, "--parent", parent, "--server", &server];
        Ok::<_, anyhow::Error>(code_and_output(&bartizan(&stage, &arguments)?))
    };
    let mut same = config_map("same", "1");
    same["object"]["data"]["left-out"] = "1".into();
    apply_text(&stage, &parent_with("seen", &[same, config_map("left", "1")], false)?).await?;
    message_of(stage.finalizing_scripts(NS), "seen", "Synced", "True", "Applied").await?;
    let (code, text, errors) = diff("two", "finalizingscript/seen")?;
    ensure!(code == Some(0) && text.contains("0 to create, 0 to update, 0 to release, 0 to refuse"), "{text}{errors}");
    // Of another spec, which nobody has acted on yet.
    stage.kubectl(&["create", "configmap", "foreign"], "").await?;
    let wanted = [config_map("same", "2"), config_map("new", "1"), config_map("foreign", "1")];
    apply_text(&stage, &parent_with("seen", &wanted, true)?).await?;
    message_of(stage.finalizing_scripts(NS), "seen", "Synced", "False", "Paused").await?;
    let before = stage.api::<ConfigMap>(NS).get("same").await?;
    let (code, text, errors) = diff("provider/two", "finalizingscripts.test.bartizan.dev/seen")?;
    let expected = "FinalizingScript.test.bartizan.dev default/seen\n\
                    \x20 update ConfigMap default/same\n\
                    \x20   - /data/x: \"1\"\n\
                    \x20   + /data/x: \"2\"\n\
                    \x20   - /data/left-out: \"1\"\n\
                    \x20 create ConfigMap default/new\n\
                    \x20 refuse ConfigMap default/foreign\n\
                    \x20 release ConfigMap default/left\n\
                    \n\
                    If it were handed over to provider/two: 1 to create, 1 to update, 1 to release, 1 to refuse";
    ensure!(code == Some(1) && text == expected, "{text}{errors}");
    let after = stage.api::<ConfigMap>(NS).get("same").await?;
    ensure!(after.resource_version() == before.resource_version(), "to look writes nothing: {after:?}");
    for (provider, parent, why) in [
        ("one", "finalizingscript/seen", "provider one serves FinalizingScript.test.bartizan.dev default/seen already"),
        ("two", "finalizingscript/gone", "there is no FinalizingScript.test.bartizan.dev default/gone"),
        ("two", "configmap/same", "provider two serves no kind configmap"),
        (
            "three",
            "finalizingscript/seen",
            "provider three does not serve in this host: see kubectl get provider three",
        ),
    ] {
        let (code, text, errors) = diff(provider, parent)?;
        ensure!(code == Some(2) && errors.contains(why), "{text}{errors}");
    }
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_deleted_provider_hands_its_parents_over() -> Result<()> {
    let stage = stage().await?;
    let host = stage.host().await?;
    apply_text(&stage, &parent("kept", "one")?).await?;
    message_of(stage.finalizing_scripts(NS), "kept", "Synced", "True", "Applied").await?;
    let before = stage.api::<ConfigMap>(NS).get("kept").await?;
    std::fs::remove_file(stage.providers().join("one.wasm"))?;
    std::fs::remove_file(stage.providers().join("one.yaml"))?;
    let release = r#"{"spec":{"onRemoval":"Release"}}"#;
    stage.kubectl(&["patch", "provider", "one", "--type=merge", "-p", release], "").await?;
    stage.kubectl(&["delete", "provider", "one", "--timeout=60s"], "").await?;
    let parent = stage.finalizing_scripts(NS).get("kept").await?;
    ensure!(is_let_go(&parent), "{parent:?}");
    let child = stage.api::<ConfigMap>(NS).get("kept").await?;
    ensure!(is_released(&child), "{child:?}");
    stage.kubectl(&["label", "finalizingscript", "kept", "--overwrite", "who=two"], "").await?;
    message_of(stage.finalizing_scripts(NS), "kept", "Synced", "True", "Applied").await?;
    let after = stage.api::<ConfigMap>(NS).get("kept").await?;
    ensure!(after.uid() == before.uid() && after.labels()["bartizan.dev/provider"] == "two", "{after:?}");
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_parent_that_left_while_its_provider_was_suspended_is_let_go_of_when_that_is_deleted() -> Result<()> {
    let stage = stage().await?;
    let host = stage.host().await?;
    apply_text(&stage, &parent("left", "one")?).await?;
    message_of(stage.finalizing_scripts(NS), "left", "Synced", "True", "Applied").await?;
    let before = stage.api::<ConfigMap>(NS).get("left").await?;
    std::fs::remove_file(stage.providers().join("one.wasm"))?;
    std::fs::remove_file(stage.providers().join("one.yaml"))?;
    stage.kubectl(&["patch", "provider", "one", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#], "").await?;
    message_of(stage.provider_objects(), "one", "Serving", "False", "Suspended").await?;
    stage.kubectl(&["label", "finalizingscript", "left", "--overwrite", "who=two"], "").await?;
    // Without a finalizer of that Provider on it, which would block.
    let theirs = r#"{"metadata":{"finalizers":["finalizer.bartizan.dev/two"]}}"#;
    stage.kubectl(&["patch", "finalizingscript", "left", "--type=merge", "-p", theirs], "").await?;
    stage.kubectl(&["delete", "provider", "one", "--timeout=60s"], "").await?;
    message_of(stage.finalizing_scripts(NS), "left", "Synced", "True", "Applied").await?;
    let after = stage.api::<ConfigMap>(NS).get("left").await?;
    ensure!(after.uid() == before.uid() && after.labels()["bartizan.dev/provider"] == "two", "{after:?}");
    host.stop().await?;
    stage.stop().await
}
