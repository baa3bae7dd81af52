//! The manifests in `deploy/` and `examples/` work unchanged.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{NAMESPACE, Provider, SOON, Stage, condition};
use bartizan_harness::build::workspace_root;
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;

#[tokio::test]
async fn the_base_applies_and_its_pod_meets_the_restricted_security_level() -> Result<()> {
    let stage = Stage::bare().await?;
    let base = workspace_root().join("deploy/base");
    let base = base.to_str().context("a path that is not UTF-8")?;
    let output = stage.cluster.kubectl_output(&["apply", "-k", base], None).await?;
    ensure!(output.code == Some(0) && output.stderr.is_empty(), "kubectl failed or warned: {output:?}");
    let output = stage.kubectl(&["apply", "-k", base], "").await?;
    ensure!(output.lines().all(|line| line.ends_with(" unchanged")), "not the same the second time: {output}");
    stage.kubectl(&["apply", "-k", base, "--server-side", "--force-conflicts"], "").await?;
    let namespace = stage.kubectl(&["get", "namespace", NAMESPACE, "-o", "jsonpath={.metadata.labels}"], "").await?;
    ensure!(namespace.contains(r#""pod-security.kubernetes.io/enforce":"restricted""#), "{namespace}");
    wait_object(stage.api::<Deployment>(NAMESPACE), "bartizan", "two available pods", SOON, |deployment| {
        deployment.status.as_ref().and_then(|status| status.available_replicas) == Some(2)
    })
    .await?;
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
