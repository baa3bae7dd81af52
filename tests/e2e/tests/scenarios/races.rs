//! Concurrent writers of the same name, the same child and the CRDs themselves, and a host that is frozen meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, condition, finalizing_script, hardened, message_of, script};
use bartizan_harness::wait::{wait_for, wait_gone, wait_object};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use serde_json::{Value, json};

const NS: &str = "default";
/// How long the host is frozen: longer than its fence waits for a cache, shorter than a watch lasts.
const FROZEN: Duration = Duration::from_secs(20);
/// The garbage collector retries what it could not resolve only every half minute.
const LATE: Duration = Duration::from_secs(150);

fn config(name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}})
}

fn script_with(name: &str, children: &[Value]) -> String {
    script(name, &spec(children))
}

fn spec(children: &[Value]) -> Value {
    let children: Vec<Value> = children.iter().map(|object| json!({"object": object})).collect();
    json!({"answers": [{"answer": {"children": children}}]})
}

async fn uid_of(stage: &Stage, parent: &str) -> Result<String> {
    stage.scripts(NS).get(parent).await?.uid().context("a parent without UID")
}

fn name_taken_message(child: &str, holder: &str) -> String {
    format!(
        "ConfigMap default/{child} exists and does not belong to this parent: it belongs to the parent with UID {holder} of provider \
         scripted (if that no longer exists, annotate this one with bartizan.dev/adopt-from={holder}). Delete or rename one of the two"
    )
}

fn is_of(child: &ConfigMap, uid: &str) -> bool {
    let label = child.labels().get("bartizan.dev/owner-uid").map(String::as_str);
    label == Some(uid) && child.owner_references().iter().all(|owner| owner.uid == uid)
}

#[tokio::test]
async fn a_name_belongs_to_its_first_parent_and_a_moved_child_to_nobody() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    two_parents_that_want_one_name_get_it_one_after_the_other(&stage).await?;
    a_child_moved_to_another_parent_by_hand_is_left_alone(&stage).await?;
    host.stop().await?;
    stage.stop().await
}

async fn two_parents_that_want_one_name_get_it_one_after_the_other(stage: &Stage) -> Result<()> {
    apply_text(stage, &script_with("first", &[config("shared", "first")])).await?;
    message_of(stage.scripts(NS), "first", "Synced", "True", "Applied").await?;
    apply_text(stage, &script_with("second", &[config("shared", "second")])).await?;
    let first = uid_of(stage, "first").await?;
    let message = message_of(stage.scripts(NS), "second", "Synced", "False", "NameTaken").await?;
    ensure!(message == name_taken_message("shared", &first), "{message}");
    message_of(stage.scripts(NS), "second", "Stalled", "True", "NameTaken").await?;
    let child = stage.api::<ConfigMap>(NS).get("shared").await?;
    ensure!(is_of(&child, &first) && child.data.is_some_and(|data| data["text"] == "first"));
    message_of(stage.scripts(NS), "first", "Synced", "True", "Applied").await?;

    // After a deletion by hand either may be first, and the other reports it: they do not fight over the name.
    // The first parent no longer wants it: the second gets it.
    apply_text(stage, &script_with("first", &[])).await?;
    let second = uid_of(stage, "second").await?;
    wait_object(stage.api::<ConfigMap>(NS), "shared", "the second's", SOON, |child| is_of(child, &second)).await?;
    message_of(stage.scripts(NS), "second", "Synced", "True", "Applied").await?;

    // And back, once the second is deleted.
    apply_text(stage, &script_with("first", &[config("shared", "first")])).await?;
    let message = message_of(stage.scripts(NS), "first", "Synced", "False", "NameTaken").await?;
    ensure!(message == name_taken_message("shared", &second), "{message}");
    stage.kubectl(&["delete", "script", "second"], "").await?;
    wait_object(stage.api::<ConfigMap>(NS), "shared", "the first's", SOON, |child| is_of(child, &first)).await?;
    message_of(stage.scripts(NS), "first", "Synced", "True", "Applied").await?;
    Ok(())
}

async fn a_child_moved_to_another_parent_by_hand_is_left_alone(stage: &Stage) -> Result<()> {
    apply_text(stage, &script_with("robbed", &[config("moved", "mine")])).await?;
    apply_text(stage, &script_with("given", &[config("own", "one")])).await?;
    for parent in ["robbed", "given"] {
        message_of(stage.scripts(NS), parent, "Synced", "True", "Applied").await?;
    }
    let before = stage.api::<ConfigMap>(NS).get("moved").await?;
    let given = uid_of(stage, "given").await?;
    let mut owner = serde_json::to_value(&before.owner_references()[0])?;
    owner["name"] = "given".into();
    owner["uid"] = given.clone().into();
    let patch = json!({"metadata": {"labels": {"bartizan.dev/owner-uid": given}, "ownerReferences": [owner]}});
    stage.kubectl(&["patch", "configmap", "moved", "--type=merge", "-p", &patch.to_string()], "").await?;
    let message = message_of(stage.scripts(NS), "robbed", "Synced", "False", "NameTaken").await?;
    ensure!(message == name_taken_message("moved", &given), "{message}");

    // The other parent neither wants it nor created it: however often it is served, it does not delete it.
    for text in ["two", "three"] {
        apply_text(stage, &script_with("given", &[config("own", text)])).await?;
        let written = |child: &ConfigMap| child.data.as_ref().is_some_and(|data| data["text"] == text);
        wait_object(stage.api::<ConfigMap>(NS), "own", text, SOON, written).await?;
        message_of(stage.scripts(NS), "given", "Synced", "True", "Applied").await?;
    }
    let after = stage.api::<ConfigMap>(NS).get("moved").await?;
    ensure!(after.uid() == before.uid() && is_of(&after, &given) && after.data == before.data, "{after:?}");

    // Whoever moved it can move it back, or delete it.
    let robbed = uid_of(stage, "robbed").await?;
    owner["name"] = "robbed".into();
    owner["uid"] = robbed.clone().into();
    let patch = json!({"metadata": {"labels": {"bartizan.dev/owner-uid": robbed}, "ownerReferences": [owner]}});
    stage.kubectl(&["patch", "configmap", "moved", "--type=merge", "-p", &patch.to_string()], "").await?;
    message_of(stage.scripts(NS), "robbed", "Synced", "True", "Applied").await?;
    let after = stage.api::<ConfigMap>(NS).get("moved").await?;
    ensure!(after.uid() == before.uid() && is_of(&after, &robbed), "{after:?}");
    // It belongs to its parent again in every respect: it is pruned once it is no longer wanted.
    apply_text(stage, &script_with("robbed", &[])).await?;
    wait_gone(stage.api::<ConfigMap>(NS), "moved", SOON).await
}

/// A StatefulSet with a different image for each revision.
fn set(name: &str, replicas: u32, version: &str) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "serviceName": name, "replicas": replicas, "selector": {"matchLabels": labels}, "podManagementPolicy": "Parallel",
            "template": {
                "metadata": {"labels": labels},
                "spec": hardened(json!([{"name": "c", "image": format!("example.invalid/c:{version}")}])),
            },
        },
    })
}

fn is_set(set: &StatefulSet, replicas: i32, version: &str) -> bool {
    let spec = set.spec.as_ref();
    let containers = spec.and_then(|spec| spec.template.spec.as_ref()).map(|pod| pod.containers.as_slice());
    let image = containers.and_then(|containers| containers.first()?.image.clone());
    spec.and_then(|spec| spec.replicas) == Some(replicas) && image == Some(format!("example.invalid/c:{version}"))
}

#[tokio::test]
async fn a_host_frozen_while_others_write_converges_and_no_stale_write_wins() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let mut host = stage.host().await?;
    let names: Vec<String> = (0..6).map(|number| format!("frozen-{number}")).collect();
    for name in &names {
        apply_text(&stage, &script_with(name, &[set(name, 1, "one")])).await?;
    }
    for name in &names {
        message_of(stage.scripts(NS), name, "Synced", "True", "Applied").await?;
    }
    // It is frozen while it works on edits, at a different moment of each.
    for (position, name) in names.iter().enumerate() {
        let parent: DynamicObject = serde_json::from_str(&script_with(name, &[set(name, 2, "two")]))?;
        let patch = kube::api::Patch::Merge(json!({"spec": parent.data["spec"]}));
        stage.scripts(NS).patch(name, &kube::api::PatchParams::default(), &patch).await?;
        if position == names.len() / 2 {
            host.process.sigstop()?;
        }
    }
    let thawed = tokio::time::Instant::now() + FROZEN;
    // Others write to every child, and to every parent once more.
    for name in &names {
        stage.kubectl(&["scale", "statefulset", name, "--replicas=0"], "").await?;
        stage.kubectl(&["set", "image", &format!("statefulset/{name}"), "c=example.invalid/c:theirs"], "").await?;
        apply_text(&stage, &script_with(name, &[set(name, 3, "three")])).await?;
    }
    // The requests that it had sent before have long arrived.
    let mark = stage.mark()?;
    tokio::time::sleep_until(thawed).await;
    let asleep = stage.requests_since(mark)?;
    ensure!(asleep.is_empty(), "it was not frozen: {asleep:#?}");
    host.process.sigcont()?;
    for name in &names {
        let last = |set: &StatefulSet| is_set(set, 3, "three");
        wait_object(stage.api::<StatefulSet>(NS), name, "what its parent says last", SOON, last).await?;
        message_of(stage.scripts(NS), name, "Synced", "True", "Applied").await?;
    }
    // It stays so: no request that was in flight arrives later.
    host.ready().await?;
    for name in &names {
        ensure!(is_set(&stage.api::<StatefulSet>(NS).get(name).await?, 3, "three"), "{name} was changed later");
    }
    let writes = stage.writes_since(mark)?;
    let late: Vec<&String> = writes.iter().filter(|write| write.ends_with("409")).collect();
    eprintln!("{} writes after the thaw, {} of them too late: {late:?}", writes.len(), late.len());
    let accepted = |write: &&String| write.starts_with("patch statefulsets") && write.ends_with("200");
    ensure!(writes.iter().filter(accepted).count() <= 3 * names.len(), "{writes:#?}");
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_deleted_kind_is_served_again_once_its_crd_is_back() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted, Provider::ScriptedFinalizing]).await?;
    let mut host = stage.host().await?;
    let plain = script_with("plain", &[config("plain", "x")]);
    let guarded = finalizing_script(
        "guarded",
        &json!({"answers": [
            {"when": {"finalizing": true}, "answer": {"finalized": true}},
            {"answer": {"children": [{"object": config("guarded", "x")}]}},
        ]}),
    );
    let mut before = Vec::new();
    for (api, name, document) in
        [(stage.scripts(NS), "plain", &plain), (stage.finalizing_scripts(NS), "guarded", &guarded)]
    {
        apply_text(&stage, document).await?;
        message_of(api, name, "Synced", "True", "Applied").await?;
        before.push(stage.api::<ConfigMap>(NS).get(name).await?.uid());
    }
    // The API server deletes the parents first, and the CRD once they are gone: the finalizing provider is called
    // until then.
    for crd in ["scripts.test.bartizan.dev", "finalizingscripts.test.bartizan.dev"] {
        stage.kubectl(&["delete", "crd", crd, "--timeout=60s"], "").await?;
    }
    wait_gone(stage.api::<ConfigMap>(NS), "guarded", SOON).await?;
    let (code, text) = host.get("/livez").await?;
    ensure!(code == 200, "{code}: {text}");

    for provider in [Provider::Scripted, Provider::ScriptedFinalizing] {
        stage.deploy(provider).await?;
    }
    for (position, (api, name, document)) in
        [(stage.scripts(NS), "plain", &plain), (stage.finalizing_scripts(NS), "guarded", &guarded)]
            .into_iter()
            .enumerate()
    {
        wait_for("the kind to be served", SOON, async || Ok(apply_text(&stage, document).await.ok())).await?;
        let applied =
            |parent: &DynamicObject| condition(parent, "Synced").is_some_and(|synced| synced["status"] == "True");
        let parent = wait_object(api, name, "Synced", LATE, applied).await?;
        let child = stage.api::<ConfigMap>(NS).get(name).await?;
        let label = child.labels().get("bartizan.dev/owner-uid").cloned();
        ensure!(label == parent.uid() && child.uid() != before[position], "{child:?}");
    }
    host.ready().await?;
    host.stop().await?;
    stage.stop().await
}
