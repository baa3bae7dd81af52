//! Existing manifests become a Ready store.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Snapshot, Stage, condition};
use bartizan_harness::build::workspace_root;
use bartizan_harness::wait::{wait_for, wait_gone};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::{DeleteParams, ListParams};
use kube::core::DynamicObject;

/// The folder with published examples of other projects, which we may not copy.
const UPSTREAM: &str = "BARTIZAN_UPSTREAM_SAMPLES";

#[tokio::test]
async fn every_sample_becomes_a_ready_store_by_client_or_server_side_apply() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio]).await?;
    let host = stage.host().await?;
    stage.kubectl(&["create", "namespace", "rook-minio"], "").await?;

    let talk = ["object-store-minimal.yaml", "object-store.yaml"];
    for name in talk {
        let file = workspace_root().join("examples/minio").join(name);
        for apply in [&["apply"][..], &["apply", "--server-side"]] {
            let store = applied(&stage, apply, &file, "rook-minio", "my-store").await?;
            let children = stage.children(&store).await?;
            ensure!(
                children.names()
                    == [
                        "PodDisruptionBudget/my-store",
                        "Secret/my-store-credentials",
                        "Service/my-store",
                        "Service/my-store-service",
                        "StatefulSet/my-store"
                    ],
                "{children:?}"
            );
            ensure!(condition(&store, "UnknownFields").is_none(), "{:?}", store.data["status"]);
            remove(&stage, "rook-minio", "my-store").await?;
        }
    }
    inline_keys_are_in_the_secret(&stage).await?;
    our_own_sample_with_the_same_pitfalls(&stage).await?;
    match std::env::var_os(UPSTREAM) {
        Some(folder) => the_sample_of_rook(&stage, PathBuf::from(folder).join("rook/minio-object-store.yaml")).await?,
        None => eprintln!("skipped: Rook's own sample, since {UPSTREAM} does not name the folder of upstream samples"),
    }

    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_second_store_leaves_the_first_alone_and_both_are_listed() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio]).await?;
    let host = stage.host().await?;
    stage.kubectl(&["create", "namespace", "rook-minio"], "").await?;
    let file = workspace_root().join("examples/minio/object-store.yaml");
    let first = applied(&stage, &["apply"], &file, "rook-minio", "my-store").await?;
    let before = stage.children(&first).await?;
    let mark = stage.mark()?;

    let text = std::fs::read_to_string(&file)?.replace("name: my-store", "name: my-store-2");
    stage.kubectl(&["apply", "-f", "-"], &text).await?;
    let second = stage.wait_ready("rook-minio", "my-store-2").await?;
    ensure!(stage.children(&first).await? == before, "the first store's children changed");
    let strangers: Vec<String> =
        stage.writes_since(mark)?.into_iter().filter(|write| !write.contains("/my-store-2")).collect();
    ensure!(strangers.is_empty(), "the host wrote to others than the second store's: {strangers:?}");
    ensure!(stage.children(&second).await?.names().len() == before.names().len());

    kubectl_get_prints_useful_columns(&stage).await?;

    remove(&stage, "rook-minio", "my-store-2").await?;
    ensure!(stage.children(&first).await? == before, "the first store's children changed with the second's end");
    host.stop().await?;
    stage.stop().await
}

/// The columns of `kubectl get objectstores`, and of `-o wide`.
async fn kubectl_get_prints_useful_columns(stage: &Stage) -> Result<()> {
    let rows = |list: String| -> Vec<Vec<String>> {
        list.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let short = rows(stage.kubectl(&["get", "objectstores", "-n", "rook-minio"], "").await?);
    ensure!(short[0] == ["NAME", "READY", "SYNCED", "SERVERS", "STATUS", "AGE"], "{short:?}");
    ensure!(short[1][..5] == ["my-store", "True", "True", "4/4", "Ready"], "{short:?}");
    ensure!(short[2][..5] == ["my-store-2", "True", "True", "4/4", "Ready"], "{short:?}");
    let wide = rows(stage.kubectl(&["get", "objstore", "my-store", "-n", "rook-minio", "-o", "wide"], "").await?);
    ensure!(wide[0][6..] == ["VALID", "ENDPOINT", "MESSAGE"], "{wide:?}");
    ensure!(wide[1][7] == "http://my-store-service.rook-minio.svc.cluster.local:9000", "{wide:?}");
    ensure!(wide[1][8..].join(" ") == "all 4 servers are ready", "{wide:?}");
    Ok(())
}

async fn inline_keys_are_in_the_secret(stage: &Stage) -> Result<()> {
    let file = workspace_root().join("examples/minio/object-store.yaml");
    let store = applied(stage, &["apply"], &file, "rook-minio", "my-store").await?;
    let children = stage.children(&store).await?;
    // The output of `echo -n TEMP_DEMO_ACCESS_KEY | base64`, and the same for the other key.
    let data = &children.get("Secret/my-store-credentials")["data"];
    ensure!(data["username"] == "VEVNUF9ERU1PX0FDQ0VTU19LRVk=", "{data}");
    ensure!(data["password"] == "VEVNUF9ERU1PX1NFQ1JFVF9LRVk=", "{data}");
    remove(stage, "rook-minio", "my-store").await
}

async fn our_own_sample_with_the_same_pitfalls(stage: &Stage) -> Result<()> {
    let file = workspace_root().join("examples/minio/object-store-with-volumes.yaml");
    for apply in [&["apply"][..], &["apply", "--server-side"]] {
        let store = applied(stage, apply, &file, "default", "photos").await?;
        let children = stage.children(&store).await?;
        copied(stage, &children, "default", "photos-keys").await?;
        the_misspelt_field_is_listed(&store, apply)?;
        remove(stage, "default", "photos").await?;
        // Data outlives its store: two claims for each of four servers.
        let claims = stage.api::<PersistentVolumeClaim>("default").list(&ListParams::default()).await?;
        ensure!(claims.items.len() == 8, "{} claims", claims.items.len());
    }
    Ok(())
}

async fn the_sample_of_rook(stage: &Stage, file: PathBuf) -> Result<()> {
    ensure!(file.is_file(), "{UPSTREAM} names a folder without {}", file.display());
    for apply in [&["apply"][..], &["apply", "--server-side", "--force-conflicts"]] {
        let store = applied(stage, apply, &file, "rook-minio", "my-store").await?;
        let children = stage.children(&store).await?;
        copied(stage, &children, "rook-minio", "minio-my-store-access-keys").await?;
        the_misspelt_field_is_listed(&store, apply)?;
        // Rook's own Service selects by app=minio: it must find our pods.
        let pods = stage.api::<Pod>("rook-minio").list(&ListParams::default().labels("app=minio")).await?;
        ensure!(pods.items.len() == 4, "{} pods with app=minio", pods.items.len());
        remove(stage, "rook-minio", "my-store").await?;
    }
    Ok(())
}

/// The misspelt field is empty in both samples. A client-side apply does not even send it; a server-side one does.
fn the_misspelt_field_is_listed(store: &DynamicObject, apply: &[&str]) -> Result<()> {
    let message = condition(store, "UnknownFields").map(|unknown| unknown["message"].clone());
    let expected = (apply.len() > 1).then(|| "ignored: spec.placement.podAnyAffinity".into());
    ensure!(message == expected, "{message:?} after kubectl {apply:?}");
    Ok(())
}

/// Keys from a Secret of the user's: the store has a copy, and none is generated.
async fn copied(stage: &Stage, children: &Snapshot, namespace: &str, name: &str) -> Result<()> {
    let theirs = serde_json::to_value(stage.api::<Secret>(namespace).get(name).await?.data)?;
    let own = children.names().into_iter().find(|name| name.starts_with("Secret/")).context("no Secret")?;
    ensure!(children.get(own)["data"] == theirs, "the keys are others");
    Ok(())
}

/// Applies a file and waits until its store is Ready, with four ready pods.
async fn applied(
    stage: &Stage,
    apply: &[&str],
    file: &std::path::Path,
    namespace: &str,
    name: &str,
) -> Result<DynamicObject> {
    let file = file.to_str().context("a path that is not UTF-8")?;
    stage.kubectl(&[apply, &["-f", file]].concat(), "").await?;
    let store = stage.wait_ready(namespace, name).await?;
    let selector = ListParams::default().labels(&format!("minio.rook.io/objectstore={name}"));
    let pods = stage.api::<Pod>(namespace).list(&selector).await?;
    let ready = |pod: &&Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    ensure!(pods.items.iter().filter(ready).count() == 4, "{} pods", pods.items.len());
    Ok(store)
}

/// Deletes a store with everything that belongs to it, and waits until all of that is gone. The garbage collector
/// would do it too, but discovers new kinds only every 30 s.
async fn remove(stage: &Stage, namespace: &str, name: &str) -> Result<()> {
    let store = stage.stores(namespace).get(name).await?;
    stage.stores(namespace).delete(name, &DeleteParams::default()).await?;
    wait_gone(stage.stores(namespace), name, SOON).await?;
    let label = format!("minio.rook.io/objectstore={name}");
    stage.kubectl(&["delete", "services,secrets,statefulsets,pdb", "-n", namespace, "-l", &label], "").await?;
    wait_for("the deletion of the children", SOON, async || {
        let pods = stage.api::<Pod>(namespace).list(&ListParams::default().labels(&label)).await?;
        Ok((stage.children(&store).await?.names().is_empty() && pods.items.is_empty()).then_some(()))
    })
    .await
}
