//! How children are written: in waves, some kept, some recreated.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, hardened, message_of, script};
use bartizan_harness::wait::{wait_for, wait_gone, wait_object};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};

const NS: &str = "default";

fn config(name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}})
}

/// A Script that always gives this answer.
fn script_with(name: &str, answer: &Value) -> String {
    script(name, &json!({"answers": [{"answer": answer}]}))
}

#[tokio::test]
async fn children_are_written_in_waves_kept_or_recreated() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    the_next_wave_waits_until_the_last_one_was_accepted(&stage).await?;
    kept_children_are_neither_applied_nor_pruned(&stage).await?;
    an_immutable_field_is_refused_or_the_child_recreated(&stage).await?;
    a_stateful_set_is_recreated_around_its_pods(&stage).await?;
    host.stop().await?;
    stage.stop().await
}

async fn the_next_wave_waits_until_the_last_one_was_accepted(stage: &Stage) -> Result<()> {
    let service = |port: i64| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "wave"}, "spec": {"ports": [{"port": port}]}});
    let answer = |port: i64| json!({"children": [{"object": config("wave", "later"), "wave": 1}, {"object": service(port), "wave": 0}]});
    apply_text(stage, &script_with("wave", &answer(0))).await?;
    let message = message_of(stage.scripts(NS), "wave", "Synced", "False", "ApplyRefused").await?;
    ensure!(message.starts_with("Service default/wave could not be written: "), "{message}");
    ensure!(
        stage.api::<ConfigMap>(NS).get_opt("wave").await?.is_none(),
        "the second wave was written before the first"
    );

    apply_text(stage, &script_with("wave", &answer(80))).await?;
    message_of(stage.scripts(NS), "wave", "Synced", "True", "Applied").await?;
    let later = stage.api::<ConfigMap>(NS).get("wave").await?;
    ensure!(later.annotations().get("bartizan.dev/wave").is_some_and(|wave| wave == "1"), "{later:?}");
    stage.api::<Service>(NS).get("wave").await?;
    stage.kubectl(&["delete", "script", "wave"], "").await?;
    Ok(())
}

async fn kept_children_are_neither_applied_nor_pruned(stage: &Stage) -> Result<()> {
    apply_text(stage, &script_with("keep", &json!({"children": [{"object": config("keep", "first")}]}))).await?;
    message_of(stage.scripts(NS), "keep", "Synced", "True", "Applied").await?;
    let keep = json!({"keep": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "keep"}]});
    apply_text(stage, &script_with("keep", &keep)).await?;
    message_of(stage.scripts(NS), "keep", "Synced", "True", "Applied").await?;
    stage.kubectl(&["patch", "configmap", "keep", "-p", r#"{"data":{"text":"edited"}}"#], "").await?;
    // The next answer shows that the edit was seen and left alone.
    let more = json!({"keep": keep["keep"], "children": [{"object": config("keep-other", "x")}]});
    apply_text(stage, &script_with("keep", &more)).await?;
    wait_object(stage.api::<ConfigMap>(NS), "keep-other", "there", SOON, |_| true).await?;
    let kept = stage.api::<ConfigMap>(NS).get("keep").await?;
    ensure!(kept.data.is_some_and(|data| data["text"] == "edited"), "what was kept was applied");

    apply_text(stage, &script_with("keep", &json!({"children": []}))).await?;
    wait_gone(stage.api::<ConfigMap>(NS), "keep", SOON).await?;
    stage.kubectl(&["delete", "script", "keep"], "").await?;
    Ok(())
}

async fn an_immutable_field_is_refused_or_the_child_recreated(stage: &Stage) -> Result<()> {
    let frozen = |text: &str, policy: &str| {
        let mut object = config("frozen", text);
        object["immutable"] = true.into();
        json!({"children": [{"object": object, "onImmutableChange": policy}]})
    };
    apply_text(stage, &script_with("frozen", &frozen("old", "Refuse"))).await?;
    message_of(stage.scripts(NS), "frozen", "Synced", "True", "Applied").await?;
    let before = stage.api::<ConfigMap>(NS).get("frozen").await?;

    apply_text(stage, &script_with("frozen", &frozen("new", "Refuse"))).await?;
    let message = message_of(stage.scripts(NS), "frozen", "Synced", "False", "ImmutableField").await?;
    let expected = "ConfigMap default/frozen could not be written: ConfigMap \"frozen\" is invalid: data: Forbidden: field is \
                    immutable when `immutable` is set";
    ensure!(message == expected, "{message}");
    message_of(stage.scripts(NS), "frozen", "Stalled", "True", "ImmutableField").await?;
    ensure!(stage.api::<ConfigMap>(NS).get("frozen").await? == before, "it was touched");

    apply_text(stage, &script_with("frozen", &frozen("new", "Recreate"))).await?;
    message_of(stage.scripts(NS), "frozen", "Synced", "True", "Applied").await?;
    let after = stage.api::<ConfigMap>(NS).get("frozen").await?;
    ensure!(
        after.uid() != before.uid() && after.data.is_some_and(|data| data["text"] == "new"),
        "it was not recreated"
    );
    stage.kubectl(&["delete", "script", "frozen"], "").await?;
    Ok(())
}

async fn a_stateful_set_is_recreated_around_its_pods(stage: &Stage) -> Result<()> {
    let labels = json!({"app": "around"});
    let set = |service: &str| {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "around"}, "spec": {
            "serviceName": service, "replicas": 2, "podManagementPolicy": "Parallel", "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": hardened(json!([{"name": "c", "image": "example.invalid/c"}])),
            },
        }})
    };
    let answer = |service: &str| json!({"children": [{"object": set(service), "onImmutableChange": "RecreateOrphan"}]});
    apply_text(stage, &script_with("around", &answer("one"))).await?;
    let ready = |set: &StatefulSet| set.status.as_ref().is_some_and(|status| status.ready_replicas == Some(2));
    let before = wait_object(stage.api::<StatefulSet>(NS), "around", "2 pods ready", SOON, ready).await?;
    let pods = pods(stage).await?;
    ensure!(pods.len() == 2, "{pods:?}");

    apply_text(stage, &script_with("around", &answer("two"))).await?;
    let again = |set: &StatefulSet| set.uid() != before.uid() && ready(set);
    wait_object(stage.api::<StatefulSet>(NS), "around", "another one with 2 pods ready", SOON, again).await?;
    message_of(stage.scripts(NS), "around", "Synced", "True", "Applied").await?;
    ensure!(self::pods(stage).await? == pods, "pods were recreated, too");

    // Descendants are seen, and so is their deletion.
    let echo = json!({"echo": true, "answers": [{"answer": answer("two")}]});
    apply_text(stage, &script("around", &echo)).await?;
    let below = async || {
        let parent = stage.scripts(NS).get("around").await?;
        let seen: Vec<&str> = parent.data["status"]["seen"]["descendants"]
            .as_array()
            .context("nothing seen")?
            .iter()
            .filter_map(Value::as_str)
            .collect();
        Ok((seen == ["Pod.v1 default/around-0", "Pod.v1 default/around-1"]).then_some(()))
    };
    wait_for("two pods below", SOON, below).await?;
    stage.kubectl(&["delete", "script", "around"], "").await?;
    Ok(())
}

/// UIDs of the pods.
async fn pods(stage: &Stage) -> Result<Vec<Option<String>>> {
    let pods = stage.api::<Pod>(NS).list(&ListParams::default().labels("app=around")).await?;
    Ok(pods.items.iter().map(kube::ResourceExt::uid).collect())
}
