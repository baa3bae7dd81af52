//! A store keeps its keys as long as the data that cannot be read without them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, message_of, store};
use bartizan_harness::wait::{wait_gone, wait_object};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::DeleteParams;
use serde_json::{Value, json};

const NS: &str = "default";

fn spec(credentials: &Value) -> Value {
    let claim = json!({"metadata": {"name": "d"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}});
    json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [claim]}, "credentials": credentials})
}

/// The keys in a Secret.
async fn keys(stage: &Stage, name: &str) -> Result<BTreeMap<String, ByteString>> {
    stage.api::<Secret>(NS).get(name).await?.data.with_context(|| format!("Secret {name} is empty"))
}

async fn user_secret(stage: &Stage, name: &str, data: &Value) -> Result<()> {
    let metadata = json!({"name": name, "namespace": NS});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data});
    apply_text(stage, &secret.to_string()).await
}

/// The generation of the servers: it changes with everything that restarts them.
async fn generation(stage: &Stage, name: &str) -> Result<Option<i64>> {
    Ok(stage.api::<StatefulSet>(NS).get(name).await?.metadata.generation)
}

#[tokio::test]
async fn keys_stay_with_the_volumes_and_lost_ones_are_never_replaced() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio]).await?;
    let host = stage.host().await?;
    let generated = store(NS, "kept", &spec(&Value::Null));
    apply_text(&stage, &generated).await?;
    stage.wait_ready(NS, "kept").await?;
    let first = keys(&stage, "kept-credentials").await?;
    ensure!(first.len() == 2, "{:?}", first.keys());

    stage.stores(NS).delete("kept", &DeleteParams::default()).await?;
    wait_gone(stage.api::<StatefulSet>(NS), "kept", SOON).await?;
    ensure!(keys(&stage, "kept-credentials").await? == first, "the keys went with the store");
    apply_text(&stage, &generated).await?;
    stage.wait_ready(NS, "kept").await?;
    message_of(stage.stores(NS), "kept", "CredentialsReady", "True", "CredentialsReady").await?;
    ensure!(keys(&stage, "kept-credentials").await? == first, "the store of the same name has other keys");

    // Somebody deletes the Secret while the store runs.
    let has_fingerprint = |set: &StatefulSet| {
        set.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("minio.rook.io/credentials-hash"))
    };
    wait_object(stage.api::<StatefulSet>(NS), "kept", "the fingerprint", SOON, has_fingerprint).await?;
    let before = generation(&stage, "kept").await?;
    stage.api::<Secret>(NS).delete("kept-credentials", &DeleteParams::default()).await?;
    let message = message_of(stage.stores(NS), "kept", "CredentialsReady", "False", "SecretMissing").await?;
    let expected = "Secret kept-credentials is gone, with the keys that the servers run with: nothing is put in their place, since new \
                    keys cannot read the store; create a Secret of another name with these keys, and name it in \
                    spec.credentials.name";
    ensure!(message == expected, "{message}");
    ensure!(stage.api::<Secret>(NS).get_opt("kept-credentials").await?.is_none(), "other keys took their place");
    // Keys that do not fit change nothing, and those that do are put back.
    user_secret(&stage, "backup", &json!({"username": "somebody", "password": "something"})).await?;
    apply_text(&stage, &store(NS, "kept", &spec(&json!({"name": "backup"})))).await?;
    message_of(stage.stores(NS), "kept", "CredentialsReady", "False", "SecretMissing").await?;
    let text = |key: &str| String::from_utf8_lossy(&first[key].0).into_owned();
    user_secret(&stage, "backup", &json!({"username": text("username"), "password": text("password")})).await?;
    message_of(stage.stores(NS), "kept", "CredentialsReady", "True", "CredentialsReady").await?;
    ensure!(keys(&stage, "kept-credentials").await? == first, "the keys were not put back");
    ensure!(generation(&stage, "kept").await? == before, "the servers were restarted");
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_store_waits_for_its_keys_and_never_rolls_them() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio]).await?;
    let host = stage.host().await?;
    apply_text(&stage, &store(NS, "given", &spec(&json!({"name": "keys"})))).await?;
    let message = message_of(stage.stores(NS), "given", "CredentialsReady", "False", "SecretNotFound").await?;
    let expected = "spec.credentials.name: Secret keys does not exist; create it with the keys username and password";
    ensure!(message == expected, "{message}");
    message_of(stage.stores(NS), "given", "Ready", "False", "CredentialsNotReady").await?;
    wait_object(stage.api::<Service>(NS), "given-service", "made", SOON, |_: &Service| true).await?;
    user_secret(&stage, "keys", &json!({"username": "admin"})).await?;
    let message = message_of(stage.stores(NS), "given", "CredentialsReady", "False", "SecretIncomplete").await?;
    ensure!(message == "spec.credentials.name: Secret keys has no value for password", "{message}");
    ensure!(stage.api::<StatefulSet>(NS).get_opt("given").await?.is_none(), "there are servers without keys");

    user_secret(&stage, "keys", &json!({"username": "admin", "password": "first-password"})).await?;
    stage.wait_ready(NS, "given").await?;
    let (first, before) = (keys(&stage, "given-credentials").await?, generation(&stage, "given").await?);
    user_secret(&stage, "keys", &json!({"username": "admin", "password": "second-password"})).await?;
    let message = message_of(stage.stores(NS), "given", "CredentialsReady", "False", "RotationPending").await?;
    ensure!(
        message.starts_with("the store keeps the keys that it was made with (Secret given-credentials)"),
        "{message}"
    );
    ensure!(keys(&stage, "given-credentials").await? == first, "the keys were rolled");
    ensure!(generation(&stage, "given").await? == before, "the servers were restarted");
    user_secret(&stage, "keys", &json!({"username": "admin", "password": "first-password"})).await?;
    message_of(stage.stores(NS), "given", "CredentialsReady", "True", "CredentialsReady").await?;
    host.stop().await?;
    stage.stop().await
}
