//! A name that belongs to somebody else is left alone, and so are namespaces outside of the host's.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, condition, greeting, message_of, store};
use bartizan_harness::AuditMark;
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
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
