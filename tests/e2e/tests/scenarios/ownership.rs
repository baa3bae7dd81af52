//! A name that belongs to somebody else is left alone, and so are namespaces outside of the host's.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, condition, finalizing_script, greeting, message_of, store};
use bartizan_harness::AuditMark;
use bartizan_harness::wait::{wait_for, wait_gone, wait_object};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::api::ListParams;
use serde_json::json;

const NS: &str = "default";

#[tokio::test]
async fn a_taken_name_is_reported_left_untouched_and_used_once_it_is_free() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio]).await?;
    let host = stage.host().await?;
    let foreign = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "data-service", "namespace": NS},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "somebody-elses"}},
    });
    apply_text(&stage, &foreign.to_string()).await?;
    let before = stage.api::<Service>(NS).get("data-service").await?;

    apply_text(&stage, &store(NS, "data", &json!({"scope": {"nodeCount": 4}}))).await?;
    let message = message_of(stage.stores(NS), "data", "Synced", "False", "NameTaken").await?;
    let expected = "Service default/data-service exists and does not belong to this parent: it was created by another client. Delete or \
                    rename one of the two";
    ensure!(message == expected, "{message}");
    let parent = stage.stores(NS).get("data").await?;
    ensure!(condition(&parent, "Stalled").is_some_and(|stalled| stalled["message"] == expected), "{parent:?}");
    ensure!(stage.api::<Service>(NS).get("data-service").await? == before, "the foreign Service was touched");

    stage.kubectl(&["delete", "service", "data-service", "-n", NS], "").await?;
    let parent = stage.wait_ready(NS, "data").await?;
    ensure!(condition(&parent, "Stalled").is_none(), "{parent:?}");
    let uid = parent.metadata.uid.as_deref().context("a parent without UID")?;
    let ours = stage.api::<Service>(NS).get("data-service").await?;
    let owners = ours.metadata.owner_references.unwrap_or_default();
    ensure!(owners.iter().any(|owner| owner.uid == uid && owner.controller == Some(true)), "{owners:?}");

    another_stores_child_is_foreign_too(&stage, uid).await?;
    a_forged_child_is_foreign_too(&stage).await?;
    host.stop().await?;
    stage.stop().await
}

/// The client Service of `data` has the name of the headless one of a store `data-service`.
async fn another_stores_child_is_foreign_too(stage: &Stage, holder: &str) -> Result<()> {
    let before = stage.api::<Service>(NS).get("data-service").await?;
    apply_text(stage, &store(NS, "data-service", &json!({"scope": {"nodeCount": 4}}))).await?;
    let message = message_of(stage.stores(NS), "data-service", "Synced", "False", "NameTaken").await?;
    let expected = format!(
        "Service default/data-service exists and does not belong to this parent: it belongs to the parent with UID {holder} of \
         provider minio (if that no longer exists, annotate this one with bartizan.dev/adopt-from={holder}). Delete or rename one \
         of the two"
    );
    ensure!(message == expected, "{message}");
    ensure!(stage.api::<Service>(NS).get("data-service").await? == before, "another store's Service was touched");
    stage.kubectl(&["delete", "objectstore", "data-service", "-n", NS], "").await?;
    Ok(())
}

/// Labels are easily forged; managed fields are not written by accident.
async fn a_forged_child_is_foreign_too(stage: &Stage) -> Result<()> {
    apply_text(stage, &store(NS, "young", &json!({"scope": {"nodeCount": 3}}))).await?;
    message_of(stage.stores(NS), "young", "Valid", "False", "InvalidSpec").await?;
    let uid = stage.stores(NS).get("young").await?.metadata.uid.context("a parent without UID")?;
    let labels = json!({"bartizan.dev/provider": "minio", "bartizan.dev/owner-uid": uid});
    let forged = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "young-credentials", "namespace": NS, "labels": labels}, "stringData": {"username": "mine"},
    });
    apply_text(stage, &forged.to_string()).await?;
    let before = stage.api::<Secret>(NS).get("young-credentials").await?;
    apply_text(stage, &store(NS, "young", &json!({"scope": {"nodeCount": 4}}))).await?;
    let message = message_of(stage.stores(NS), "young", "Synced", "False", "NameTaken").await?;
    let expected = "Secret default/young-credentials exists and does not belong to this parent: it carries this parent's labels but \
                    was not applied by this host. Delete or rename one of the two";
    ensure!(message == expected, "{message}");
    ensure!(stage.api::<Secret>(NS).get("young-credentials").await? == before, "the forged Secret was touched");

    stage.kubectl(&["delete", "secret", "young-credentials", "-n", NS], "").await?;
    wait_object(stage.api::<Secret>(NS), "young-credentials", "one of the host's", SOON, |secret| {
        secret.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
    })
    .await?;
    stage.wait_ready(NS, "young").await?;
    Ok(())
}

#[tokio::test]
async fn a_host_limited_to_a_namespace_reads_no_other() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    for namespace in ["ours", "theirs"] {
        stage.kubectl(&["create", "namespace", namespace], "").await?;
        apply_text(&stage, &greeting("hello", "world").replace("\"default\"", &format!("\"{namespace}\""))).await?;
    }
    let mut command = stage.command();
    command.args(["--namespace", "ours"]);
    let mut host = stage.listening(command).await?;
    host.ready().await?;
    wait_object(stage.api::<ConfigMap>("ours"), "hello", "there", SOON, |_| true).await?;
    host.stop().await?;
    let requests = stage.requests_since(AuditMark::default())?;
    let objects: Vec<_> =
        requests.iter().filter(|request| ["greetings", "configmaps"].contains(&request.resource.as_str())).collect();
    ensure!(!objects.is_empty(), "nothing was asked for");
    ensure!(objects.iter().all(|request| request.namespace == "ours"), "{objects:#?}");
    stage.stop().await
}

/// Anybody who may create objects somewhere may label them as children of anybody, and call a field manager as the host does.
#[tokio::test]
async fn forged_labels_buy_nothing() -> Result<()> {
    let stage = Stage::start(&[Provider::ScriptedFinalizing]).await?;
    let mut host = stage.host().await?;
    stage.kubectl(&["create", "namespace", "attacker"], "").await?;
    let spec = |text: &str| {
        let child =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}, "data": {"text": text}});
        json!({"answers": [
            {"when": {"finalizing": true}, "answer": {"finalized": true}},
            {"answer": {"children": [{"object": child}]}}
        ]})
    };
    apply_text(&stage, &finalizing_script("victim", &spec("one"))).await?;
    message_of(stage.finalizing_scripts(NS), "victim", "Synced", "True", "Applied").await?;
    let uid = stage.finalizing_scripts(NS).get("victim").await?.metadata.uid.context("a parent without UID")?;
    let provider = Provider::ScriptedFinalizing.name();
    // Nine megabytes: more than a request may have.
    let text = "y".repeat(1_000_000);
    let forged = |name: &str, uid: &str| {
        let labels = json!({"bartizan.dev/provider": provider, "bartizan.dev/owner-uid": uid});
        let metadata = json!({"name": name, "namespace": "attacker", "labels": labels});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"x": text}}).to_string()
    };
    for number in 0..9 {
        stage.kubectl(&["create", "-f", "-"], &forged(&format!("created-{number}"), &uid)).await?;
        let manager = format!("--field-manager=bartizan/{provider}");
        let arguments = ["apply", "--server-side", &manager, "-f", "-"];
        stage.kubectl(&arguments, &forged(&format!("applied-{number}"), &uid)).await?;
        stage.kubectl(&arguments, &forged(&format!("invented-{number}"), &format!("nobody-{number}"))).await?;
    }
    let ignored = async || {
        let (_, metrics) = host.get("/metrics").await?;
        let counter = format!("bartizan_ignored_objects_total{{provider=\"{provider}\"}} 18\n");
        Ok(metrics.contains(&counter).then_some(()))
    };
    wait_for("the forged objects to be counted", SOON, ignored).await?;
    host.process.wait_for_line("is labelled as a child, and is left alone", SOON).await?;

    apply_text(&stage, &finalizing_script("victim", &spec("two"))).await?;
    let has_text = |child: &ConfigMap| child.data.as_ref().is_some_and(|data| data["text"] == "two");
    wait_object(stage.api::<ConfigMap>(NS), "mine", "the edit", SOON, has_text).await?;
    stage.kubectl(&["delete", "finalizingscript", "victim", "-n", NS, "--wait=false"], "").await?;
    wait_gone(stage.finalizing_scripts(NS), "victim", SOON).await?;
    wait_gone(stage.api::<ConfigMap>(NS), "mine", SOON).await?;
    let left = stage.api::<ConfigMap>("attacker").list(&ListParams::default()).await?;
    let left = left.iter().filter(|map| map.metadata.name.as_deref() != Some("kube-root-ca.crt")).count();
    ensure!(left == 27, "{left} of 27 forged objects are left");
    host.stop().await?;
    stage.stop().await
}
