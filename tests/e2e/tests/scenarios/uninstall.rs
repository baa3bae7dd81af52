//! Bartizan is taken out of a cluster, in any order, and nothing that it made is lost.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{
    Host, NAMESPACE, Provider, SOON, Stage, apply_text, bartizan, code_and_output, finalizing_script, message_of,
    script,
};
use bartizan_harness::build::workspace_root;
use bartizan_harness::wait::{wait_gone, wait_object};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

const NS: &str = "default";

/// Runs a command as an administrator.
fn run(stage: &Stage, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let kubeconfig = stage.cluster.admin_kubeconfig().to_str().context("a path that is not UTF-8")?;
    let output = bartizan(stage, &[&["uninstall", "--kubeconfig", kubeconfig], arguments].concat())?;
    let (code, text, errors) = code_and_output(&output);
    Ok((code, text + &errors))
}

fn answers(child: &str) -> Value {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": child}});
    json!({"answers": [
        {"when": {"finalizing": true}, "answer": {"finalized": true}},
        {"answer": {"children": [{"object": object}]}},
    ]})
}

async fn label_crd(stage: &Stage, crd: &str) -> Result<()> {
    stage.kubectl(&["label", "crd", crd, "app.kubernetes.io/part-of=bartizan"], "").await?;
    Ok(())
}

/// A host that serves a kind which finalizes, and which came with Bartizan.
async fn finalizing() -> Result<(Stage, Host)> {
    let stage = Stage::start(&[Provider::ScriptedFinalizing]).await?;
    label_crd(&stage, "finalizingscripts.test.bartizan.dev").await?;
    let host = stage.host().await?;
    Ok((stage, host))
}

/// Makes an object that the garbage collector deletes since its owner is gone, and waits for that: then it has looked at what the owner
/// was known to own before.
async fn wait_for_collection(stage: &Stage, uid: &str) -> Result<()> {
    let owner =
        json!({"apiVersion": "test.bartizan.dev/v1alpha1", "kind": "FinalizingScript", "name": "gone", "uid": uid});
    let sentinel = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sentinel", "ownerReferences": [owner]},
    });
    apply_text(stage, &sentinel.to_string()).await?;
    wait_gone(stage.api::<ConfigMap>(NS), "sentinel", SOON).await
}

fn is_free(child: &ConfigMap) -> bool {
    child.owner_references().is_empty()
        && !child.labels().contains_key("bartizan.dev/provider")
        && child.annotations().contains_key("bartizan.dev/retained-for")
}

#[tokio::test]
async fn an_uninstall_says_what_would_be_lost_and_leaves_every_child() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted, Provider::ScriptedFinalizing]).await?;
    label_crd(&stage, "scripts.test.bartizan.dev").await?;
    let host = stage.host().await?;
    apply_text(&stage, &script("lost", &answers("of-lost"))).await?;
    apply_text(&stage, &finalizing_script("kept", &answers("of-kept"))).await?;
    message_of(stage.scripts(NS), "lost", "Synced", "True", "Applied").await?;
    message_of(stage.finalizing_scripts(NS), "kept", "Synced", "True", "Applied").await?;
    let configs = stage.api::<ConfigMap>(NS);
    let before = (configs.get("of-lost").await?, configs.get("of-kept").await?);

    let (code, text) = run(&stage, &[])?;
    for part in [
        "Lease: held by test, renewed",
        "and nobody serves them):\n  Script.test.bartizan.dev default/lost (1 child)\n",
        "Would be let go of:\n  FinalizingScript.test.bartizan.dev default/kept (1 child)\n",
        "  Provider scripted\n  Provider scripted-finalizing\n",
        "  CustomResourceDefinition scripts.test.bartizan.dev\n",
        "  ClusterRole.rbac.authorization.k8s.io bartizan\n",
        "  CustomResourceDefinition finalizingscripts.test.bartizan.dev: it was not installed with Bartizan",
        "  Secret bartizan-system/bartizan-token-key: with it a later installation",
        "Nothing was changed.",
    ] {
        ensure!(code == Some(0) && text.contains(part), "{part}\n{text}");
    }
    let (code, text) = run(&stage, &["--yes"])?;
    ensure!(
        code == Some(2) && text.contains("a host works (held by test") && text.contains("stop it first (waited"),
        "{text}"
    );
    stage.scripts(NS).get("lost").await?;

    host.stop().await?;
    let (code, text) = run(&stage, &["--yes"])?;
    ensure!(code == Some(0) && text.contains("2 children released: they stay as they are"), "{text}");
    let crds = stage.kubectl(&["get", "crd", "-o", "name"], "").await?;
    ensure!(!crds.contains("providers.bartizan.dev") && !crds.contains("/scripts.test.bartizan.dev"), "{crds}");
    let roles =
        stage.kubectl(&["get", "clusterroles,clusterrolebindings,roles,rolebindings", "-A", "-o", "name"], "").await?;
    // Those of the tests' providers are not labelled.
    ensure!(!roles.lines().any(|role| role.ends_with("/bartizan")), "{roles}");
    let kept = stage.finalizing_scripts(NS).get("kept").await?;
    let status = kept.data.get("status").and_then(Value::as_object);
    ensure!(kept.finalizers().is_empty() && status.is_none_or(serde_json::Map::is_empty), "{kept:?}");
    let uid = before.0.owner_references().first().context("it had no owner")?.uid.clone();
    wait_for_collection(&stage, &uid).await?;
    for (name, before) in [("of-lost", &before.0), ("of-kept", &before.1)] {
        let after = configs.get(name).await?;
        ensure!(after.uid() == before.uid() && is_free(&after), "{after:?}");
    }
    it_is_installed_again(&stage, &before.0).await?;
    stage.stop().await
}

/// Parents of the same names take up again what stayed.
async fn it_is_installed_again(stage: &Stage, before: &ConfigMap) -> Result<()> {
    wait_gone(Api::<Namespace>::all(stage.cluster.client()), "bartizan-providers", SOON).await?;
    for folder in ["deploy/crds", "deploy/access"] {
        let folder = workspace_root().join(folder);
        stage.kubectl(&["apply", "-k", folder.to_str().context("a path that is not UTF-8")?], "").await?;
    }
    for provider in [Provider::Scripted, Provider::ScriptedFinalizing] {
        stage.deploy(provider).await?;
    }
    wait_object(stage.api::<ServiceAccount>(NAMESPACE), "bartizan", "the host's account", SOON, |_| true).await?;
    let kubeconfig = stage.cluster.kubeconfig_for_service_account(NAMESPACE, "bartizan").await?;
    let mut host = stage.listening(stage.command_with(&kubeconfig)).await?;
    host.ready().await?;
    apply_text(stage, &script("lost", &answers("of-lost"))).await?;
    message_of(stage.scripts(NS), "lost", "Synced", "True", "Applied").await?;
    let after = stage.api::<ConfigMap>(NS).get("of-lost").await?;
    ensure!(after.uid() == before.uid() && after.labels().contains_key("bartizan.dev/provider"), "{after:?}");
    host.stop().await
}

#[tokio::test]
async fn whatever_was_deleted_first_an_uninstall_frees_what_hangs() -> Result<()> {
    let (stage, host) = finalizing().await?;
    for name in ["one", "two"] {
        apply_text(&stage, &finalizing_script(name, &answers(name))).await?;
        message_of(stage.finalizing_scripts(NS), name, "Synced", "True", "Applied").await?;
    }
    let before = stage.api::<ConfigMap>(NS).get("one").await?;
    host.stop().await?;
    // In the worst order: everything hangs, and nobody is there who knows the kinds of the children.
    for crd in ["providers.bartizan.dev", "finalizingscripts.test.bartizan.dev"] {
        stage.kubectl(&["delete", "crd", crd, "--wait=false"], "").await?;
    }
    let is_deleted = |parent: &DynamicObject| parent.metadata.deletion_timestamp.is_some();
    wait_object(stage.finalizing_scripts(NS), "one", "its deletion", SOON, is_deleted).await?;
    let (code, text) = run(&stage, &["--yes"])?;
    ensure!(code == Some(0) && text.contains("2 children released"), "{text}");
    let crds = stage.kubectl(&["get", "crd", "-o", "name"], "").await?;
    ensure!(!crds.contains("bartizan"), "{crds}");
    for name in ["one", "two"] {
        let after = stage.api::<ConfigMap>(NS).get(name).await?;
        ensure!(is_free(&after), "{after:?}");
    }
    let after = stage.api::<ConfigMap>(NS).get("one").await?;
    ensure!(after.uid() == before.uid(), "it was made anew: {after:?}");
    // Nothing is left to do, which is said.
    wait_gone(Api::<Namespace>::all(stage.cluster.client()), "bartizan-providers", SOON).await?;
    let (code, text) = run(&stage, &[])?;
    ensure!(code == Some(0) && text.contains("There is nothing of Bartizan in this cluster."), "{text}");
    stage.stop().await
}

#[tokio::test]
async fn an_uninstall_leaves_what_waits_for_another_controller() -> Result<()> {
    let (stage, host) = finalizing().await?;
    let mut parent: Value = serde_json::from_str(&finalizing_script("theirs", &answers("theirs")))?;
    parent["metadata"]["finalizers"] = json!(["example.com/theirs"]);
    apply_text(&stage, &parent.to_string()).await?;
    message_of(stage.finalizing_scripts(NS), "theirs", "Synced", "True", "Applied").await?;
    host.stop().await?;
    let (code, text) = run(&stage, &[])?;
    let hangs = "FinalizingScript.test.bartizan.dev default/theirs: finalizer example.com/theirs of another controller";
    ensure!(code == Some(1) && text.contains(hangs), "{text}");
    let (code, text) = run(&stage, &["--yes"])?;
    let left = "left: CustomResourceDefinition finalizingscripts.test.bartizan.dev: objects of it have finalizers of other controllers";
    ensure!(code == Some(1) && text.contains(left), "{text}");
    let parent = stage.finalizing_scripts(NS).get("theirs").await?;
    ensure!(
        parent.finalizers() == ["example.com/theirs"] && parent.metadata.deletion_timestamp.is_none(),
        "{parent:?}"
    );
    let status = parent.data.get("status").and_then(Value::as_object);
    ensure!(status.is_none_or(serde_json::Map::is_empty), "nobody serves it: {parent:?}");
    ensure!(is_free(&stage.api::<ConfigMap>(NS).get("theirs").await?), "its child has an owner");
    stage.stop().await
}
