//! The manifests in `deploy/` and `examples/` work unchanged.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{NAMESPACE, Provider, SOON, Stage, apply_text, condition};
use bartizan_harness::build::workspace_root;
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use serde_json::Value;

/// A kustomization below deploy/.
fn deploy(part: &str) -> Result<String> {
    let folder = workspace_root().join("deploy").join(part);
    Ok(folder.to_str().context("a path that is not UTF-8")?.to_owned())
}

#[tokio::test]
async fn the_base_applies_and_its_pod_meets_the_restricted_security_level() -> Result<()> {
    let stage = Stage::bare().await?;
    for folder in [deploy("crds")?, deploy("base")?] {
        let output = stage.cluster.kubectl_output(&["apply", "-k", &folder], None).await?;
        ensure!(output.code == Some(0) && output.stderr.is_empty(), "kubectl failed or warned: {output:?}");
        let output = stage.kubectl(&["apply", "-k", &folder], "").await?;
        ensure!(output.lines().all(|line| line.ends_with(" unchanged")), "not the same the second time: {output}");
        stage.kubectl(&["apply", "-k", &folder, "--server-side", "--force-conflicts"], "").await?;
    }
    let namespace = stage.kubectl(&["get", "namespace", NAMESPACE, "-o", "jsonpath={.metadata.labels}"], "").await?;
    ensure!(namespace.contains(r#""pod-security.kubernetes.io/enforce":"restricted""#), "{namespace}");
    wait_object(stage.api::<Deployment>(NAMESPACE), "bartizan", "two available pods", SOON, |deployment| {
        deployment.status.as_ref().and_then(|status| status.available_replicas) == Some(2)
    })
    .await?;
    whoever_may_edit_a_namespace_may_create_stores(&stage).await?;
    deleting_the_base_deletes_no_store(&stage).await?;
    stage.stop().await
}

async fn whoever_may_edit_a_namespace_may_create_stores(stage: &Stage) -> Result<()> {
    for (user, role) in [("alice", "edit"), ("bob", "view")] {
        let (role, user) = (format!("--clusterrole={role}"), format!("--user={user}"));
        stage.kubectl(&["create", "rolebinding", &user[7..], &role, &user], "").await?;
    }
    for (user, verb, expected) in
        [("alice", "create", "yes"), ("alice", "list", "yes"), ("bob", "list", "no"), ("bob", "create", "no")]
    {
        let user = format!("--as={user}");
        wait_for(&format!("{user} {verb}: {expected}"), SOON, async || {
            let arguments = ["auth", "can-i", verb, "objectstores.minio.rook.io", "-n", "default", &user];
            let answer = stage.cluster.kubectl_output(&arguments, None).await?;
            Ok((answer.stdout.trim() == expected).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Somebody takes the host away; the stores of its tenants stay, and nothing hangs.
async fn deleting_the_base_deletes_no_store(stage: &Stage) -> Result<()> {
    stage.kubectl(&["create", "namespace", "rook-minio"], "").await?;
    let store = workspace_root().join("examples/minio/object-store-minimal.yaml");
    stage.kubectl(&["apply", "-f", &store.to_string_lossy()], "").await?;
    let provider = r#"{"apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "minio"},
        "spec": {"module": {"file": "minio.wasm"}}}"#;
    apply_text(stage, provider).await?;
    stage.kubectl(&["delete", "--timeout=60s", "-k", &deploy("base")?], "").await?;
    for kept in ["providers.bartizan.dev/minio", "-f"] {
        let file = store.to_string_lossy();
        let arguments = if kept == "-f" { vec!["get", kept, &file] } else { vec!["get", kept] };
        let deleted =
            stage.kubectl(&[&arguments[..], &["-o", "jsonpath={.metadata.deletionTimestamp}"]].concat(), "").await?;
        ensure!(deleted.is_empty(), "{kept} is being deleted since {deleted}");
    }
    Ok(())
}

#[tokio::test]
async fn every_object_says_that_it_is_part_of_bartizan() -> Result<()> {
    let stage = Stage::bare().await?;
    for part in ["crds", "base", "providers/cassandra"] {
        let list = stage.kubectl(&["create", "--dry-run=client", "-o", "json", "-k", &deploy(part)?], "").await?;
        let objects: Vec<Value> = serde_json::Deserializer::from_str(&list).into_iter().collect::<Result<_, _>>()?;
        ensure!(objects.len() > 2, "{part}: {list}");
        for object in objects {
            let (kind, metadata) = (&object["kind"], &object["metadata"]);
            ensure!(
                metadata["labels"]["app.kubernetes.io/part-of"] == "bartizan",
                "{part}: {kind} {}",
                metadata["name"]
            );
            let is_kept = metadata["annotations"]["helm.sh/resource-policy"] == "keep";
            ensure!(
                (kind == "CustomResourceDefinition") == (part == "crds") && is_kept == (part == "crds"),
                "{part}: {metadata}"
            );
        }
    }
    stage.stop().await
}

#[tokio::test]
async fn the_greeting_of_the_readme_becomes_a_config_map() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let host = stage.host().await?;
    let file = workspace_root().join("examples/hello/greeting.yaml");
    let file = file.to_str().context("a path that is not UTF-8")?;
    stage.kubectl(&["apply", "-f", file], "").await?;
    let map = greeted(&stage, "Hello, world!").await?;
    let owner = map.owner_references().first().context("no owner")?;
    ensure!(owner.kind == "Greeting" && owner.name == "hello" && owner.controller == Some(true), "{owner:?}");
    let parent = wait_object(stage.greetings(), "hello", "Synced", SOON, |greeting| {
        condition(greeting, "Synced").is_some_and(|synced| synced["status"] == "True")
    })
    .await?;
    ensure!(stage.children(&parent).await?.names() == ["ConfigMap/hello"]);

    stage.kubectl(&["patch", "-f", file, "--type=merge", "-p", r#"{"spec": {"name": "moon"}}"#], "").await?;
    greeted(&stage, "Hello, moon!").await?;
    let output =
        stage.kubectl_refused(&["patch", "-f", file, "--type=merge", "-p", r#"{"spec": {"name": ""}}"#], "").await?;
    let expected = "The Greeting \"hello\" is invalid: spec.name: Invalid value: \"\": spec.name in body should be at least \
                    1 chars long";
    ensure!(output == expected, "{output}");
    host.stop().await?;
    stage.stop().await
}

async fn greeted(stage: &Stage, text: &str) -> Result<ConfigMap> {
    wait_object(stage.api::<ConfigMap>("default"), "hello", text, SOON, |map| {
        map.data.as_ref().and_then(|data| data.get("greeting")).is_some_and(|greeting| greeting == text)
    })
    .await
}
