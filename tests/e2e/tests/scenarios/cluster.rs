//! Cluster-scoped parents with cluster-scoped children.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, cluster_script, message_of};
use bartizan_harness::wait::{wait_gone, wait_object};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

fn namespace(name: &str, team: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": team}}})
}

fn spec(children: &[Value]) -> Value {
    let children: Vec<Value> = children.iter().map(|object| json!({"object": object})).collect();
    json!({"echo": true, "answers": [{"answer": {"children": children, "status": {"count": children.len()}}}]})
}

#[tokio::test]
async fn a_cluster_scoped_parent_has_cluster_scoped_children_deleted_with_it() -> Result<()> {
    let stage = Stage::start(&[Provider::ScriptedClusterScoped]).await?;
    let host = stage.host().await?;
    let namespaces = || Api::<Namespace>::all(stage.cluster.client());
    apply_text(&stage, &cluster_script("tower", &spec(&[namespace("team-1", "a"), namespace("team-2", "a")]))).await?;
    message_of(stage.cluster_scripts(), "tower", "Synced", "True", "Applied").await?;
    let parent = stage.cluster_scripts().get("tower").await?;
    let status = &parent.data["status"];
    ensure!(status["count"] == 2, "{status}");
    let uid = parent.uid().context("a parent without UID")?;
    let first = namespaces().get("team-1").await?;
    ensure!(first.labels()["bartizan.dev/owner-uid"] == uid, "{first:?}");
    ensure!(first.owner_references().len() == 1 && first.owner_references()[0].uid == uid, "{first:?}");
    // Its children are in the next request, under names without a namespace.
    let seen = |parent: &kube::core::DynamicObject| {
        parent.data["status"]["seen"]["children"] == json!(["Namespace.v1 team-1", "Namespace.v1 team-2"])
    };
    wait_object(stage.cluster_scripts(), "tower", "both children seen", SOON, seen).await?;

    // An edited and a deleted child are both repaired.
    stage.kubectl(&["label", "namespace", "team-1", "--overwrite", "team=b"], "").await?;
    let repaired = |namespace: &Namespace| namespace.labels().get("team").is_some_and(|team| team == "a");
    wait_object(namespaces(), "team-1", "its own label", SOON, repaired).await?;
    let before = namespaces().get("team-2").await?;
    stage.kubectl(&["delete", "namespace", "team-2"], "").await?;
    let again = |namespace: &Namespace| namespace.uid() != before.uid() && repaired(namespace);
    wait_object(namespaces(), "team-2", "another namespace of that name", SOON, again).await?;
    message_of(stage.cluster_scripts(), "tower", "Synced", "True", "Applied").await?;

    // A child that is no longer wanted is pruned, and the rest is deleted with its parent.
    apply_text(&stage, &cluster_script("tower", &spec(&[namespace("team-1", "a")]))).await?;
    wait_gone(namespaces(), "team-2", SOON).await?;
    message_of(stage.cluster_scripts(), "tower", "Synced", "True", "Applied").await?;
    ensure!(namespaces().get("team-1").await?.uid() == first.uid(), "the other one was recreated");
    stage.kubectl(&["delete", "clusterscript", "tower"], "").await?;
    wait_gone(namespaces(), "team-1", SOON).await?;

    // A child in a namespace needs a grant for that namespace, since the parent has none.
    let config = |metadata: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    apply_text(&stage, &cluster_script("reaching", &spec(&[config(json!({"name": "x", "namespace": "default"}))])))
        .await?;
    let message = message_of(stage.cluster_scripts(), "reaching", "Synced", "False", "Refused").await?;
    ensure!(
        message
            .starts_with("The answer of provider scripted-cluster-scoped was refused: response.children[0].object.metadata.namespace: "),
        "{message}"
    );
    host.stop().await?;
    stage.stop().await
}
