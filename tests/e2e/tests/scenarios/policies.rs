//! The admission policies of deploy/optional/policies: who may approve a version, and who writes the marks of children.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, message_of, script};
use bartizan_harness::build::workspace_root;
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use serde_json::{Value, json};

const NS: &str = "default";
const TENANT: &str = "--as=tenant";

fn parent(text: &str) -> String {
    let child = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child"}, "data": {"text": text}});
    script("parent", &json!({"answers": [{"answer": {"children": [{"object": child}]}}]}))
}

/// A stage with both policies, a host that serves a parent, and a tenant who may edit its namespace and Providers.
async fn guarded() -> Result<(Stage, bartizan_e2e::Host)> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    for policy in ["approve", "children"] {
        let file = workspace_root().join(format!("deploy/optional/policies/{policy}.yaml"));
        stage.kubectl(&["apply", "-f", &file.to_string_lossy()], "").await?;
    }
    stage.kubectl(&["create", "rolebinding", "tenant", "--clusterrole=admin", "--user=tenant"], "").await?;
    let rules =
        ["--verb=get,list,watch,create,patch,update", "--resource=providers.bartizan.dev,scripts.test.bartizan.dev"];
    stage.kubectl(&[&["create", "clusterrole", "editor"][..], &rules].concat(), "").await?;
    stage.kubectl(&["create", "clusterrolebinding", "editor", "--clusterrole=editor", "--user=tenant"], "").await?;
    let host = stage.host().await?;
    apply_text(&stage, &parent("one")).await?;
    message_of(stage.scripts(NS), "parent", "Synced", "True", "Applied").await?;
    // A policy is in force some time after it was made.
    wait_for("the policies to be in force", SOON, async || {
        let label =
            ["label", "configmap", "child", "bartizan.dev/owner-uid=x", "--overwrite", "--dry-run=server", TENANT];
        let approve = ["annotate", "provider", "scripted", "bartizan.dev/approve=x", "--dry-run=server", TENANT];
        let of_label = stage.cluster.kubectl_output(&label, None).await?.code;
        let of_approval = stage.cluster.kubectl_output(&approve, None).await?.code;
        Ok((of_label == Some(1) && of_approval == Some(1)).then_some(()))
    })
    .await?;
    Ok((stage, host))
}

#[tokio::test]
async fn the_marks_of_children_are_written_by_providers_alone() -> Result<()> {
    let (stage, host) = guarded().await?;
    let labels = "the labels bartizan.dev/owner-uid and bartizan.dev/provider are written by Bartizan alone";
    let annotation = "the annotation bartizan.dev/intent is written by Bartizan alone";
    for (arguments, expected) in [
        (&["label", "configmap", "child", "bartizan.dev/provider-"][..], labels),
        (&["label", "configmap", "child", "--overwrite", "bartizan.dev/owner-uid=x"], labels),
        (&["annotate", "configmap", "child", "bartizan.dev/intent-"], annotation),
    ] {
        let error = stage.kubectl_refused(&[arguments, &[TENANT]].concat(), "").await?;
        ensure!(error.contains(expected), "{error}");
    }
    let forged = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "forged", "labels": {"bartizan.dev/owner-uid": "x"}}});
    let error = stage.kubectl_refused(&["apply", "-f", "-", TENANT], &forged.to_string()).await?;
    ensure!(error.contains(labels), "{error}");

    // What is theirs stays theirs, and the host writes, repairs and prunes.
    stage.kubectl(&["annotate", "script", "parent", "bartizan.dev/reconcile=now", TENANT], "").await?;
    stage
        .kubectl(&["patch", "configmap", "child", "--type=merge", "-p", r#"{"data":{"text":"edited"}}"#, TENANT], "")
        .await?;
    let has =
        |text: &'static str| move |child: &ConfigMap| child.data.as_ref().is_some_and(|data| data["text"] == text);
    wait_object(stage.api::<ConfigMap>(NS), "child", "repaired", SOON, has("one")).await?;
    apply_text(&stage, &parent("two")).await?;
    wait_object(stage.api::<ConfigMap>(NS), "child", "updated", SOON, has("two")).await?;
    apply_text(&stage, &script("parent", &json!({"answers": [{"answer": {"children": []}}]}))).await?;
    bartizan_harness::wait::wait_gone(stage.api::<ConfigMap>(NS), "child", SOON).await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn who_approves_a_version_needs_the_verb() -> Result<()> {
    let (stage, host) = guarded().await?;
    let expected = "to approve a version, or to hold less, needs the verb approve on providers.bartizan.dev scripted";
    let in_spec = |approved: &Value| json!({"spec": {"upgrade": {"approved": approved}}}).to_string();
    let digest = json!(format!("sha256:{}", "0a".repeat(32)));
    let approve = in_spec(&digest);
    let patch = ["patch", "provider", "scripted", "--type=merge", "-p", &approve, TENANT];
    let annotate = ["annotate", "provider", "scripted", "bartizan.dev/approve=sha256:0a", TENANT];
    let hold_less =
        ["patch", "provider", "scripted", "--type=merge", "-p", r#"{"spec":{"upgrade":{"holdOn":[]}}}"#, TENANT];
    let trust = ["annotate", "provider", "scripted", "--overwrite", "bartizan.dev/file=x.wasm", TENANT];
    for arguments in [&patch[..], &annotate, &hold_less, &trust] {
        let error = stage.kubectl_refused(arguments, "").await?;
        ensure!(error.contains(expected), "{error}");
    }
    // Whoever may not approve may edit the rest, and hold more.
    let suspend = r#"{"spec":{"upgrade":{"policy":"Manual"}}}"#;
    stage.kubectl(&["patch", "provider", "scripted", "--type=merge", "-p", suspend, TENANT], "").await?;

    let bind = ["create", "clusterrolebinding", "approver", "--clusterrole=bartizan-approver", "--user=tenant"];
    stage.kubectl(&bind, "").await?;
    wait_for("the right to be known", SOON, async || {
        Ok((stage.cluster.kubectl_output(&patch, None).await?.code == Some(0)).then_some(()))
    })
    .await?;
    stage.kubectl(&annotate, "").await?;
    stage.kubectl(&["delete", "clusterrolebinding", "approver"], "").await?;
    // To take it back needs no right.
    let taken_back = in_spec(&Value::Null);
    stage.kubectl(&["patch", "provider", "scripted", "--type=merge", "-p", &taken_back, TENANT], "").await?;
    let provider = stage.provider_objects().get("scripted").await?;
    ensure!(provider.data["spec"]["upgrade"].get("approved").is_none(), "{:?}", provider.data);
    let annotated = provider.annotations().get("bartizan.dev/approve").map(String::as_str);
    annotated.filter(|approved| *approved == "sha256:0a").context("the host took off an approval that was not used")?;
    host.stop().await?;
    stage.stop().await
}
