//! What happens when parents are deleted: finalizing, the order of deletions, and what is retained.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, finalizing_script, message_of, script};
use bartizan_harness::wait::{wait_for, wait_gone, wait_object};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

const NS: &str = "default";

fn config(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

/// Two children, the second in a later wave; finalizing adds a third, and is finished once that exists.
fn finalizing_in_order(name: &str) -> Value {
    let names = ["early", "late", "farewell"].map(|part| format!("{name}-{part}"));
    let [early, late, farewell] = names.each_ref().map(|name| config(name));
    let children = json!([{"object": early}, {"object": late, "wave": 1}]);
    let with_farewell = json!([{"object": early}, {"object": late, "wave": 1}, {"object": farewell}]);
    json!({"answers": [
        {"when": {"finalizing": true, "children": [format!("ConfigMap.v1 default/{}", names[2])]}, "answer": {"finalized": true}},
        {"when": {"finalizing": true}, "answer": {"children": with_farewell}},
        {"answer": {"children": children}},
    ]})
}

#[tokio::test]
async fn finalizing_precedes_deletion_and_the_last_wave_is_deleted_first() -> Result<()> {
    let stage = Stage::start(&[Provider::ScriptedFinalizing]).await?;
    let host = stage.host().await?;
    for propagation in ["foreground", "background"] {
        apply_text(&stage, &finalizing_script(propagation, &finalizing_in_order(propagation))).await?;
        message_of(stage.finalizing_scripts(NS), propagation, "Synced", "True", "Applied").await?;
        let parent = stage.finalizing_scripts(NS).get(propagation).await?;
        ensure!(parent.finalizers() == ["finalizer.bartizan.dev/scripted-finalizing"], "{:?}", parent.finalizers());
        let child = stage.api::<ConfigMap>(NS).get(&format!("{propagation}-early")).await?;
        ensure!(child.owner_references().is_empty(), "the garbage collector would take it: {child:?}");

        let mark = stage.mark()?;
        stage
            .kubectl(
                &["delete", "finalizingscript", propagation, &format!("--cascade={propagation}"), "--timeout=60s"],
                "",
            )
            .await?;
        let writes = stage.writes_since(mark)?;
        let of_children: Vec<&str> = writes
            .iter()
            .filter(|write| write.contains("configmaps"))
            .map(|write| write.split(&format!("{propagation}-")).nth(1).unwrap_or_default())
            .collect();
        // The child of finalizing was created before anything was deleted; the later wave was deleted before the
        // earlier one.
        ensure!(of_children.first().is_some_and(|first| first.starts_with("farewell")), "{writes:?}");
        ensure!(of_children.get(1).is_some_and(|second| second.starts_with("late")), "{writes:?}");
        for part in ["early", "late", "farewell"] {
            let left = stage.api::<ConfigMap>(NS).get_opt(&format!("{propagation}-{part}")).await?;
            ensure!(left.is_none(), "{propagation}-{part} is left");
        }
    }
    a_parent_can_be_abandoned_and_its_children_stay(&stage).await?;
    a_namespace_is_deleted_though_the_provider_never_finishes(&stage).await?;
    host.stop().await?;
    stage.stop().await
}

/// A provider that never finishes finalizing.
fn never_finishing(name: &str) -> Value {
    json!({"answers": [
        {"when": {"finalizing": true}, "answer": {"hold": true}},
        {"answer": {"children": [{"object": config(name)}]}},
    ]})
}

async fn a_parent_can_be_abandoned_and_its_children_stay(stage: &Stage) -> Result<()> {
    apply_text(stage, &finalizing_script("abandoned", &never_finishing("abandoned"))).await?;
    message_of(stage.finalizing_scripts(NS), "abandoned", "Synced", "True", "Applied").await?;
    stage.kubectl(&["delete", "finalizingscript", "abandoned", "--wait=false"], "").await?;
    message_of(stage.finalizing_scripts(NS), "abandoned", "Synced", "False", "Held").await?;
    stage.kubectl(&["annotate", "finalizingscript", "abandoned", "bartizan.dev/abandon=true"], "").await?;
    wait_gone(stage.finalizing_scripts(NS), "abandoned", SOON).await?;
    let child = stage.api::<ConfigMap>(NS).get("abandoned").await?;
    ensure!(child.labels().is_empty(), "{child:?}");
    ensure!(
        child.annotations()["bartizan.dev/retained-for"] == "FinalizingScript.test.bartizan.dev default/abandoned",
        "{child:?}"
    );
    Ok(())
}

async fn a_namespace_is_deleted_though_the_provider_never_finishes(stage: &Stage) -> Result<()> {
    stage.kubectl(&["create", "namespace", "doomed"], "").await?;
    apply_text(stage, &finalizing_script("doomed/endless", &never_finishing("endless"))).await?;
    message_of(stage.finalizing_scripts("doomed"), "endless", "Synced", "True", "Applied").await?;
    // One that was held before: no watch reports that its namespace is being deleted.
    let hold =
        json!({"answers": [{"when": {"finalizing": true}, "answer": {"hold": true}}, {"answer": {"children": []}}]});
    apply_text(stage, &finalizing_script("doomed/held", &hold)).await?;
    message_of(stage.finalizing_scripts("doomed"), "held", "Synced", "True", "Applied").await?;
    stage.kubectl(&["delete", "finalizingscript", "held", "--namespace", "doomed", "--wait=false"], "").await?;
    message_of(stage.finalizing_scripts("doomed"), "held", "Synced", "False", "Held").await?;
    stage.kubectl(&["delete", "namespace", "doomed", "--wait=false"], "").await?;
    wait_gone(Api::<Namespace>::all(stage.cluster.client()), "doomed", SOON).await
}

#[tokio::test]
async fn retained_and_orphaned_children_stay_and_are_adopted_by_the_same_name() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let retained = json!({"answers": [{"answer": {"children": [
        {"object": config("retained"), "onDelete": "Retain"}, {"object": config("owned")},
    ]}}]});
    let uid = made(&stage, "store", &retained, "retained").await?;
    stage.kubectl(&["delete", "script", "store"], "").await?;
    wait_gone(stage.api::<ConfigMap>(NS), "owned", SOON).await?;
    ensure!(made(&stage, "store", &retained, "retained").await? == uid, "it was recreated");
    // A retained child that is no longer wanted is released, and stays as well.
    apply_text(
        &stage,
        &script("store", &json!({"answers": [{"answer": {"children": [{"object": config("owned")}]}}]})),
    )
    .await?;
    let released = |child: &ConfigMap| child.labels().is_empty();
    wait_object(stage.api::<ConfigMap>(NS), "retained", "released", SOON, released).await?;
    ensure!(made(&stage, "store", &retained, "retained").await? == uid, "it was recreated");
    stage.kubectl(&["delete", "script", "store"], "").await?;

    let plain = json!({"answers": [{"answer": {"children": [{"object": config("orphan")}]}}]});
    let uid = made(&stage, "orphaned", &plain, "orphan").await?;
    stage.kubectl(&["delete", "script", "orphaned", "--cascade=orphan", "--timeout=60s"], "").await?;
    wait_object(stage.api::<ConfigMap>(NS), "orphan", "released", SOON, released).await?;
    ensure!(made(&stage, "orphaned", &plain, "orphan").await? == uid, "it was recreated");

    let host = a_restored_parent_adopts_only_if_it_says_so(&stage, host, &plain, &uid).await?;
    what_a_host_released_goes_to_the_parent_that_asks_for_it(&stage, &plain, &uid).await?;
    a_paused_parent_is_left_alone(&stage).await?;
    a_parent_recreated_at_once_is_another_parent(&stage).await?;
    host.stop().await?;
    stage.stop().await
}

/// Applies a Script, waits until it is served, and returns the UID of one of its children.
async fn made(stage: &Stage, name: &str, spec: &Value, child: &str) -> Result<String> {
    apply_text(stage, &script(name, spec)).await?;
    message_of(stage.scripts(NS), name, "Synced", "True", "Applied").await?;
    let child = stage.api::<ConfigMap>(NS).get(child).await?;
    ensure!(child.labels().contains_key("bartizan.dev/owner-uid"), "{child:?}");
    child.uid().context("a child without UID")
}

/// As after a restore from a backup: the children exist, and their parent has another UID.
async fn a_restored_parent_adopts_only_if_it_says_so(
    stage: &Stage,
    host: Host,
    spec: &Value,
    child: &str,
) -> Result<Host> {
    let old = stage.scripts(NS).get("orphaned").await?.uid().context("a parent without UID")?;
    host.stop().await?;
    stage.kubectl(&["delete", "script", "orphaned", "--cascade=orphan", "--timeout=60s"], "").await?;
    apply_text(stage, &script("orphaned", spec)).await?;
    let host = stage.host().await?;
    let message = message_of(stage.scripts(NS), "orphaned", "Synced", "False", "NameTaken").await?;
    let expected = format!(
        "ConfigMap default/orphan exists and does not belong to this parent: it belongs to the parent with UID {old} of provider \
         scripted (if that no longer exists, annotate this one with bartizan.dev/adopt-from={old}). Delete or rename one of the \
         two"
    );
    ensure!(message == expected, "{message}");
    stage.kubectl(&["annotate", "script", "orphaned", &format!("bartizan.dev/adopt-from={old}")], "").await?;
    message_of(stage.scripts(NS), "orphaned", "Synced", "True", "Applied").await?;
    let adopted = stage.api::<ConfigMap>(NS).get("orphan").await?;
    ensure!(adopted.uid().as_deref() == Some(child), "it was recreated");
    let uid = stage.scripts(NS).get("orphaned").await?.uid().context("a parent without UID")?;
    ensure!(adopted.labels()["bartizan.dev/owner-uid"] == uid, "{adopted:?}");
    ensure!(adopted.owner_references().len() == 1 && adopted.owner_references()[0].uid == uid, "{adopted:?}");
    Ok(host)
}

/// A parent is deleted without its children while a host sees it, and another name takes them over.
async fn what_a_host_released_goes_to_the_parent_that_asks_for_it(
    stage: &Stage,
    spec: &Value,
    child: &str,
) -> Result<()> {
    let old = stage.scripts(NS).get("orphaned").await?.uid().context("a parent without UID")?;
    stage.kubectl(&["delete", "script", "orphaned", "--cascade=orphan", "--timeout=60s"], "").await?;
    let released = |child: &ConfigMap| child.labels().is_empty();
    wait_object(stage.api::<ConfigMap>(NS), "orphan", "released", SOON, released).await?;
    apply_text(stage, &script("heir", spec)).await?;
    let message = message_of(stage.scripts(NS), "heir", "Synced", "False", "NameTaken").await?;
    let advice = format!("it was left by Script.test.bartizan.dev default/orphaned with UID {old}");
    ensure!(message.contains(&advice), "{message}");
    stage.kubectl(&["annotate", "script", "heir", &format!("bartizan.dev/adopt-from={old}")], "").await?;
    message_of(stage.scripts(NS), "heir", "Synced", "True", "Applied").await?;
    let adopted = stage.api::<ConfigMap>(NS).get("orphan").await?;
    ensure!(adopted.uid().as_deref() == Some(child), "it was recreated");
    let left: Vec<&String> = adopted.annotations().keys().filter(|key| key.contains("bartizan.dev/re")).collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

async fn a_paused_parent_is_left_alone(stage: &Stage) -> Result<()> {
    let spec = json!({"answers": [{"answer": {"children": [{"object": config("paused")}]}}]});
    made(stage, "paused", &spec, "paused").await?;
    stage.kubectl(&["annotate", "script", "paused", "bartizan.dev/paused=true"], "").await?;
    message_of(stage.scripts(NS), "paused", "Synced", "False", "Paused").await?;
    stage.kubectl(&["delete", "configmap", "paused"], "").await?;
    // A parent created later is served, and the child of the paused one is still missing.
    made(stage, "later", &json!({"answers": [{"answer": {"children": [{"object": config("later")}]}}]}), "later")
        .await?;
    ensure!(stage.api::<ConfigMap>(NS).get_opt("paused").await?.is_none(), "it was recreated");
    stage.kubectl(&["annotate", "script", "paused", "bartizan.dev/paused-"], "").await?;
    wait_object(stage.api::<ConfigMap>(NS), "paused", "there", SOON, |_| true).await?;
    Ok(())
}

async fn a_parent_recreated_at_once_is_another_parent(stage: &Stage) -> Result<()> {
    let spec = json!({"answers": [{"answer": {"children": [{"object": config("again")}]}}]});
    let first = made(stage, "again", &spec, "again").await?;
    stage.kubectl(&["delete", "script", "again", "--wait=false"], "").await?;
    apply_text(stage, &script("again", &spec)).await?;
    let owner = async || {
        let parent = stage.scripts(NS).get("again").await?.uid();
        let child = stage.api::<ConfigMap>(NS).get_opt("again").await?;
        let owned = child.filter(|child| child.labels().get("bartizan.dev/owner-uid") == parent.as_ref());
        Ok(owned.and_then(|child| child.uid()))
    };
    let second = wait_for("a child of the second parent", SOON, owner).await?;
    ensure!(first != second, "the child of another parent was taken over");
    message_of(stage.scripts(NS), "again", "Synced", "True", "Applied").await?;
    Ok(())
}
