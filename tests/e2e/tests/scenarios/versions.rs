//! Versions of a provider, and of the kinds of its children: what an earlier version wrote is neither forgotten nor
//! recreated.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, message_of, script};
use bartizan_harness::wait::{wait_for, wait_gone, wait_object};
use kube::api::ApiResource;
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

const NS: &str = "default";
const GROUP: &str = "gizmos.test.bartizan.dev";
/// How long no write must follow an upgrade.
const QUIET: Duration = Duration::from_secs(5);

/// A kind that is served in two versions.
fn crd() -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let version =
        |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": schema});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("gizmos.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": {"kind": "Gizmo", "plural": "gizmos"},
            "versions": [version("v1", true), version("v2", false)],
        },
    })
}

fn gizmos(stage: &Stage) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v2", "Gizmo"), "gizmos");
    Api::namespaced_with(stage.cluster.client(), NS, &resource)
}

/// A Script with two Gizmos at a version, the second only on request.
fn parent(version: &str, with_second: bool) -> String {
    let gizmo = |name: &str| {
        let api_version = format!("{GROUP}/{version}");
        json!({"object": {"apiVersion": api_version, "kind": "Gizmo", "metadata": {"name": name}, "spec": {"same": true}}})
    };
    let mut children = vec![gizmo("first")];
    children.extend(with_second.then(|| gizmo("second")));
    script("maker", &json!({"answers": [{"answer": {"children": children}}]}))
}

/// A later version of the provider, which writes another kind instead of Gizmos at v1: the same module but for that
/// text.
fn upgrade(stage: &Stage, instead: &str) -> Result<()> {
    let path = stage.providers().join("scripted.wasm");
    let mut module = std::fs::read(&path)?;
    let (old, new) = (format!("{GROUP}/v1").into_bytes(), instead.as_bytes());
    ensure!(old.len() == new.len(), "{instead} does not fit");
    let places: Vec<usize> = (0..module.len() - old.len()).filter(|at| module[*at..].starts_with(&old)).collect();
    ensure!(places.len() == 1, "{GROUP}/v1 stands at {places:?}");
    module[places[0]..places[0] + new.len()].copy_from_slice(new);
    std::fs::write(&path, module).context("the module cannot be written")
}

/// A stage whose cluster serves Gizmos, which the provider may write.
async fn with_gizmos() -> Result<Stage> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    apply_text(&stage, &crd().to_string()).await?;
    // Whatever the version: RBAC does not distinguish versions.
    stage.grant(Provider::Scripted, "gizmos", GROUP).await?;
    let served = ["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/gizmos.{GROUP}")];
    stage.kubectl(&served, "").await?;
    Ok(stage)
}

#[tokio::test]
async fn a_provider_that_moves_to_v2_of_a_kind_keeps_its_v1_children() -> Result<()> {
    let stage = with_gizmos().await?;
    let host = stage.host().await?;
    apply_text(&stage, &parent("v1", true)).await?;
    message_of(stage.scripts(NS), "maker", "Synced", "True", "Applied").await?;
    let mut before = Vec::new();
    for name in ["first", "second"] {
        before.push(gizmos(&stage).get(name).await?);
    }
    host.stop().await?;

    // The module and the parent change at the same time, so that v1 is never wanted again.
    upgrade(&stage, &format!("{GROUP}/v2"))?;
    apply_text(&stage, &parent("v2", true)).await?;
    let mark = stage.mark()?;
    let host = stage.host().await?;
    message_of(stage.scripts(NS), "maker", "Synced", "True", "Applied").await?;
    for (name, before) in ["first", "second"].into_iter().zip(&before) {
        let written = |gizmo: &DynamicObject| gizmo.annotations() != before.annotations();
        let after = wait_object(gizmos(&stage), name, "written as v2", SOON, written).await?;
        ensure!(after.uid() == before.uid() && after.data["spec"] == before.data["spec"], "{after:?}");
        let managers: Vec<_> =
            after.managed_fields().iter().map(|entry| (&entry.manager, &entry.api_version)).collect();
        ensure!(managers.len() == 1, "two entries of one manager: {managers:?}");
    }
    // Each was written once, as v2, and nothing was deleted or recreated.
    let expected = ["patch gizmos default/first: 200", "patch gizmos default/second: 200"];
    let of_gizmos = async || {
        let mut writes = stage.writes_since(mark)?;
        writes.retain(|write| write.contains("gizmos"));
        writes.sort();
        anyhow::Ok(writes)
    };
    ensure!(of_gizmos().await? == expected, "{:?}", of_gizmos().await?);
    tokio::time::sleep(QUIET).await;
    ensure!(of_gizmos().await? == expected, "{:?}", of_gizmos().await?);

    // What v2 no longer wants is pruned, though v1 created it.
    apply_text(&stage, &parent("v2", false)).await?;
    wait_gone(gizmos(&stage), "second", SOON).await?;
    message_of(stage.scripts(NS), "maker", "Synced", "True", "Applied").await?;
    wait_for("the first one's rest", SOON, async || {
        let now = gizmos(&stage).get("first").await?;
        Ok((now.uid() == before[0].uid()).then_some(()))
    })
    .await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn children_of_a_kind_that_is_no_longer_declared_are_still_pruned() -> Result<()> {
    let stage = with_gizmos().await?;
    let host = stage.host().await?;
    apply_text(&stage, &parent("v1", true)).await?;
    message_of(stage.scripts(NS), "maker", "Synced", "True", "Applied").await?;
    host.stop().await?;

    // No cluster serves this kind, so that the new version writes none. What it no longer wants is pruned; a foreign
    // object stays.
    upgrade(&stage, &format!("{}x/v1", &GROUP[..GROUP.len() - 1]))?;
    let stranger = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Gizmo", "metadata": {"name": "stranger"}});
    apply_text(&stage, &stranger.to_string()).await?;
    let host = stage.host().await?;
    apply_text(&stage, &script("maker", &json!({"answers": [{"answer": {"children": []}}]}))).await?;
    for name in ["first", "second"] {
        wait_gone(gizmos(&stage), name, SOON).await?;
    }
    message_of(stage.scripts(NS), "maker", "Synced", "True", "Applied").await?;
    ensure!(gizmos(&stage).get_opt("stranger").await?.is_some(), "the stranger is gone");
    host.stop().await?;
    stage.stop().await
}
