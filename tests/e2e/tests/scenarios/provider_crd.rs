//! The CustomResourceDefinition of Provider changes or goes while the host runs.

use anyhow::{Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, crd_file, greeting, message_of};
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use serde_json::json;

const CRD: &str = "crd/providers.bartizan.dev";
const GONE: &str =
    "[-]providers: CustomResourceDefinition providers.bartizan.dev is gone or was replaced\nreadyz check failed\n";
const WAITS: &str = "[-]providers: waiting for CustomResourceDefinition providers.bartizan.dev\nreadyz check failed\n";

async fn greeted(stage: &Stage, whom: &str) -> Result<ConfigMap> {
    apply_text(stage, &greeting("a", whom)).await?;
    let expected = format!("Hello, {whom}!");
    let shows = |child: &ConfigMap| child.data.iter().flatten().any(|(_, value)| *value == expected);
    wait_object(stage.api::<ConfigMap>("default"), "a", &expected, SOON, shows).await
}

async fn apply_crd(stage: &Stage) -> Result<()> {
    let file = crd_file("providers.bartizan.dev");
    stage.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file.to_string_lossy()], "").await?;
    Ok(())
}

/// A host that serves a Greeting, and its child.
async fn serving() -> Result<(Stage, Host, ConfigMap)> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    apply_crd(&stage).await?;
    let host = stage.host().await?;
    let child = greeted(&stage, "world").await?;
    Ok((stage, host, child))
}

#[tokio::test]
async fn the_crd_of_provider_may_change_or_go_and_come_back() -> Result<()> {
    let (stage, mut host, child) = serving().await?;

    // Without its status subresource nothing can be said of a Provider; it serves on, and says so once it can.
    let without = r#"[{"op": "remove", "path": "/spec/versions/0/subresources/status"}]"#;
    stage.kubectl(&["patch", CRD, "--type=json", "-p", without], "").await?;
    stage.kubectl(&["patch", "provider", "hello", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#], "").await?;
    host.process.wait_for_line("(is it gone, or does its CustomResourceDefinition have no status?)", SOON).await?;
    apply_crd(&stage).await?;
    message_of(stage.provider_objects(), "hello", "Serving", "False", "Suspended").await?;
    stage.kubectl(&["patch", "provider", "hello", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#], "").await?;
    message_of(stage.provider_objects(), "hello", "Serving", "True", "Serving").await?;

    // It goes, with all Providers: parents and children stay as they are, and the host waits.
    stage.kubectl(&["delete", CRD, "--wait=false"], "").await?;
    let finalizers = r#"{"metadata":{"finalizers":null}}"#;
    stage.kubectl(&["patch", "provider", "hello", "--type=merge", "-p", finalizers], "").await?;
    wait_for("/readyz to say so", SOON, async || {
        let (code, text) = host.get("/readyz").await?;
        Ok((code == 503 && (text == GONE || text == WAITS)).then_some(()))
    })
    .await?;
    host.process.wait_for_line("is gone or was replaced: no Provider is served until it is there", SOON).await?;
    ensure!(stage.api::<ConfigMap>("default").get("a").await?.uid() == child.uid(), "the child was made again");
    ensure!(host.process.exited()?.is_none(), "the host ended");

    // It comes back, and the folder's Providers with it.
    apply_crd(&stage).await?;
    host.ready().await?;
    ensure!(greeted(&stage, "again").await?.uid() == child.uid(), "the child was made again");
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_provider_with_a_field_of_a_newer_host_is_not_served_and_keeps_its_claim() -> Result<()> {
    let (stage, host, _) = serving().await?;
    let newer = r#"[{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/futureRestriction", "value": {"type": "string"}}]"#;
    stage.kubectl(&["patch", CRD, "--type=json", "-p", newer], "").await?;
    let patch = |value: &str| format!(r#"{{"spec":{{"futureRestriction":{value}}}}}"#);
    // The new schema may take a moment to be served.
    wait_for("the field", SOON, async || {
        stage.kubectl(&["patch", "provider", "hello", "--type=merge", "-p", &patch("\"no\"")], "").await?;
        let found = stage.provider_objects().get("hello").await?;
        Ok(found.data["spec"]["futureRestriction"].is_string().then_some(()))
    })
    .await?;
    // A watch from before is served by the schema from before.
    host.stop().await?;
    let host = stage.listening(stage.command()).await?;
    let message = message_of(stage.provider_objects(), "hello", "Accepted", "False", "Invalid").await?;
    ensure!(message.contains("unknown field `futureRestriction`"), "{message}");
    // Nothing is written until it is gone.
    apply_text(&stage, &greeting("a", "nobody")).await?;
    stage.kubectl(&["patch", "provider", "hello", "--type=merge", "-p", &patch("null")], "").await?;
    message_of(stage.provider_objects(), "hello", "Accepted", "True", "Accepted").await?;
    greeted(&stage, "nobody").await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn what_a_backup_says_of_a_provider_is_taken_off_if_it_is_so_no_more() -> Result<()> {
    let (stage, host, _) = serving().await?;
    message_of(stage.provider_objects(), "hello", "Ready", "True", "Ready").await?;
    let condition = |type_: &str| {
        json!({
            "type": type_, "status": "True", "reason": "StatusRefused", "message": "as it was then",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let restored = json!([
        {"op": "add", "path": "/status/conditions/-", "value": condition("StatusBlocked")},
        {"op": "add", "path": "/status/conditions/-", "value": condition("Theirs")},
    ])
    .to_string();
    let patch = ["patch", "provider", "hello", "--subresource=status", "--type=json", "--field-manager=velero", "-p"];
    stage.kubectl(&[patch.as_slice(), &[restored.as_str()]].concat(), "").await?;
    wait_object(stage.provider_objects(), "hello", "no StatusBlocked", SOON, |provider| {
        let conditions = provider.data["status"]["conditions"].as_array();
        let has = |type_: &str| conditions.into_iter().flatten().any(|condition| condition["type"] == type_);
        has("Theirs") && has("Ready") && !has("StatusBlocked")
    })
    .await?;
    host.stop().await?;
    stage.stop().await
}
