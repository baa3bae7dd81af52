//! A CustomResourceDefinition that is older than the module: what people write is not checked or is dropped, and the Provider says so.

use anyhow::{Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, crd_file, message_of};
use bartizan_harness::wait::wait_for;
use serde_json::json;

const CRD: &str = "objectstores.minio.rook.io";

#[tokio::test]
async fn what_a_crd_of_the_cluster_lacks_is_said_by_the_provider_until_it_is_applied() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio]).await?;
    let host = stage.host().await?;
    message_of(stage.provider_objects(), "minio", "Loaded", "True", "Loaded").await?;
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/credentials";
    let older = json!([{"op": "remove", "path": path}]).to_string();
    stage.kubectl(&["patch", "crd", CRD, "--type=json", "-p", &older], "").await?;
    let message = message_of(stage.provider_objects(), "minio", "Loaded", "True", "CrdOutdated").await?;
    let expected = format!("CustomResourceDefinition {CRD} in the cluster lacks spec.credentials of v1alpha1");
    ensure!(message.contains(&expected) && message.contains("bartizan crds prints them"), "{message}");
    message_of(stage.provider_objects(), "minio", "Ready", "True", "Ready").await?;
    wait_for("a warning about it", SOON, async || {
        let events = stage.kubectl(&["get", "events", "-A", "-o", "jsonpath={.items[*].reason}"], "").await?;
        Ok(events.contains("CrdOutdated").then_some(()))
    })
    .await?;
    let file = crd_file(CRD);
    stage.kubectl(&["apply", "-f", &file.to_string_lossy()], "").await?;
    message_of(stage.provider_objects(), "minio", "Loaded", "True", "Loaded").await?;
    host.stop().await?;
    stage.stop().await
}
