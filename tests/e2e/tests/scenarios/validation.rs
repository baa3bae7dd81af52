//! An invalid spec gets an exact message, changes nothing that runs, and is applied once it is corrected.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, Stage, apply_text, condition, message_of, store};
use kube::core::DynamicObject;
use serde_json::{Value, json};

const NS: &str = "default";

/// What a client-side and a server-side apply of a scope with this `nodeCount` print on stderr.
fn refused_by_the_schema() -> Vec<(Value, String, String)> {
    let invalid = |text: &str| format!("The ObjectStore \"data\" is invalid: {text}");
    let count = |value: &str| {
        invalid(&format!(
            "spec.scope.nodeCount: Invalid value: {value}: spec.scope.nodeCount in body should be greater than or equal to 1"
        ))
    };
    let null = |path: &str, type_: &str| {
        invalid(&format!("{path}: Invalid value: \"null\": {path} in body must be of type {type_}: \"null\""))
    };
    let both = |spec: Value, text: String| (spec, text.clone(), text);
    vec![
        both(json!({"scope": {"nodeCount": 0}}), count("0")),
        both(json!({"scope": {"nodeCount": -1}}), count("-1")),
        (
            json!({"scope": {"nodeCount": "four"}}),
            invalid(
                "spec.scope.nodeCount: Invalid value: \"string\": spec.scope.nodeCount in body must be of type integer: \
                 \"string\"",
            ),
            "Error from server: failed to create typed patch object (default/data; minio.rook.io/v1alpha1, \
             Kind=ObjectStore): .spec.scope.nodeCount: expected numeric (int or float), got string"
                .to_owned(),
        ),
        both(json!({"scope": {}}), invalid("spec.scope.nodeCount: Required value")),
        both(json!({}), invalid("spec.scope: Required value")),
        (
            json!({"scope": {"nodeCount": null}}),
            invalid("spec.scope.nodeCount: Required value"),
            null("spec.scope.nodeCount", "integer"),
        ),
        (json!({"scope": null}), invalid("spec.scope: Required value"), null("spec.scope", "object")),
        (Value::Null, invalid("spec: Required value"), null("spec", "object")),
    ]
}

#[tokio::test]
async fn what_the_schema_can_express_is_refused_by_the_api_server() -> Result<()> {
    // No host runs: the API server alone refuses it.
    let stage = Stage::start(&[Provider::Minio]).await?;
    for (spec, client_side, server_side) in refused_by_the_schema() {
        let document = store(NS, "data", &spec);
        let output = stage.kubectl_refused(&["apply", "-f", "-"], &document).await?;
        ensure!(output == client_side, "{spec}: {output}");
        let output = stage.kubectl_refused(&["apply", "--server-side", "-f", "-"], &document).await?;
        ensure!(output == server_side, "{spec}: {output}");
    }
    let mut document: Value = serde_json::from_str(&store(NS, "data", &json!({"scope": {"nodeCount": 4}})))?;
    document["metadata"]["name"] = "a".repeat(53).into();
    let output = stage.kubectl_refused(&["apply", "-f", "-"], &document.to_string()).await?;
    let expected = format!(
        "The ObjectStore \"{0}\" is invalid: metadata.name: Too long: may not be more than 52 bytes",
        "a".repeat(53)
    );
    ensure!(output == expected, "{output}");
    stage.stop().await
}

#[tokio::test]
async fn what_the_schema_cannot_express_is_a_condition_and_children_stay() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio]).await?;
    let host = stage.host().await?;
    an_invalid_store_creates_nothing_until_it_is_corrected(&stage).await?;

    let good = json!({"scope": {"nodeCount": 4}});
    apply_text(&stage, &store(NS, "data", &good)).await?;
    let parent = stage.wait_ready(NS, "data").await?;
    let before = stage.children(&parent).await?;
    ensure!(before.names().len() == 5, "{:?}", before.names());
    let mark = stage.mark()?;

    let even = |count: i32| format!("spec.scope.nodeCount: must be an even number of at least 4, but is {count}");
    let fixed = "the number of servers of a MinIO pool is fixed when it is created; adding a pool is not supported yet";
    for (spec, reason, expected) in [
        (json!({"scope": {"nodeCount": 3}}), "InvalidSpec", even(3)),
        (json!({"scope": {"nodeCount": 5}}), "InvalidSpec", even(5)),
        (
            json!({"scope": {"nodeCount": 6}}),
            "PermanentField",
            format!("spec.scope.nodeCount: cannot change from 4 to 6: {fixed}"),
        ),
        (
            json!({"scope": {"nodeCount": 4}, "credentials": {"accessKey": "only"}}),
            "InvalidSpec",
            "spec.credentials.secretKey: is required when accessKey is set".to_owned(),
        ),
        (
            json!({"scope": {"nodeCount": 3}, "credentials": {"accessKey": "only"}}),
            "InvalidSpec",
            format!("{}; spec.credentials.secretKey: is required when accessKey is set", even(3)),
        ),
    ] {
        apply_text(&stage, &store(NS, "data", &spec)).await?;
        let message = message_of(stage.stores(NS), "data", "Valid", "False", reason).await?;
        ensure!(message == expected, "{spec}: {message}");
        let message = message_of(stage.stores(NS), "data", "Synced", "False", "Held").await?;
        ensure!(
            message == "The provider set hold: nothing is applied or pruned until it answers without it",
            "{message}"
        );
        // The status reports what runs; that is not what this spec asks for, so that nobody who waits for it goes on.
        let message = message_of(stage.stores(NS), "data", "Ready", "Unknown", "Held").await?;
        let expected = "Synced is not True (Held); the provider reports: all 4 servers are ready";
        ensure!(message == expected, "{message}");
        ensure!(stage.children(&parent).await? == before, "{spec}: children changed");
    }
    refused_edits_change_nothing(&stage).await?;
    ensure!(stage.children(&parent).await? == before, "children changed");

    apply_text(&stage, &store(NS, "data", &good)).await?;
    stage.wait_ready(NS, "data").await?;
    ensure!(stage.children(&parent).await? == before, "correcting the spec changed children");
    unknown_fields_and_nulls(&stage).await?;
    ensure!(stage.children(&parent).await? == before, "unknown fields or nulls changed children");
    only_status_was_written(&stage.writes_since(mark)?)?;

    host.stop().await?;
    stage.stop().await
}

async fn an_invalid_store_creates_nothing_until_it_is_corrected(stage: &Stage) -> Result<()> {
    apply_text(stage, &store(NS, "young", &json!({"scope": {"nodeCount": 1}}))).await?;
    let message = message_of(stage.stores(NS), "young", "Valid", "False", "InvalidSpec").await?;
    let expected = "spec.scope.nodeCount: must be an even number of at least 4, but is 1; mode: standalone allows one \
                    server";
    ensure!(message == expected, "{message}");
    let message = message_of(stage.stores(NS), "young", "Ready", "False", "InvalidSpec").await?;
    ensure!(message == "nothing is created until the spec is valid", "{message}");
    let young = stage.stores(NS).get("young").await?;
    ensure!(stage.children(&young).await?.names().is_empty(), "children of a store that is not valid");
    apply_text(stage, &store(NS, "young", &json!({"scope": {"nodeCount": 4}}))).await?;
    stage.wait_ready(NS, "young").await?;
    Ok(())
}

/// Edits of a running store that the API server refuses.
async fn refused_edits_change_nothing(stage: &Stage) -> Result<()> {
    let before = stage.stores(NS).get("data").await?;
    for (spec, client_side, server_side) in refused_by_the_schema() {
        let document = store(NS, "data", &spec);
        let output = stage.kubectl_refused(&["replace", "-f", "-"], &document).await?;
        ensure!(output == client_side || output == server_side, "{spec}: {output}");
        // The message for a patch depends on what was applied before; the field is always named.
        let path = client_side.split(": ").nth(1).context("a message without a path")?;
        let output = stage.kubectl_refused(&["apply", "-f", "-"], &document).await?;
        ensure!(output.contains(path), "{spec}: {output}");
    }
    let after = stage.stores(NS).get("data").await?;
    ensure!(after.data["spec"] == before.data["spec"], "{}", after.data["spec"]);
    Ok(())
}

async fn unknown_fields_and_nulls(stage: &Stage) -> Result<()> {
    let spec = json!({
        "scope": {"nodeCount": 4, "bogus": 1, "volumeClaimTemplates": null}, "colour": "blue", "credentials": null,
        "placement": null, "resources": null, "network": null, "annotations": null, "clusterDomain": null, "env": null,
        "image": null, "mode": null, "imagePullSecrets": null, "serviceAnnotations": null,
    });
    for apply in [&["apply", "-f", "-"][..], &["apply", "--server-side", "--force-conflicts", "-f", "-"]] {
        stage.kubectl(apply, &store(NS, "data", &spec)).await?;
        let message = message_of(stage.stores(NS), "data", "UnknownFields", "True", "UnknownFields").await?;
        ensure!(message == "ignored: spec.colour, spec.scope.bogus", "{message}");
        let parent: DynamicObject = stage.wait_ready(NS, "data").await?;
        ensure!(condition(&parent, "Valid").is_some_and(|valid| valid["status"] == "True"), "{parent:?}");
    }
    Ok(())
}

/// The host wrote conditions, and nothing else.
fn only_status_was_written(writes: &[String]) -> Result<()> {
    let others: Vec<&String> = writes.iter().filter(|write| !write.starts_with("patch objectstores/status ")).collect();
    ensure!(others.is_empty(), "{others:?}");
    Ok(())
}
