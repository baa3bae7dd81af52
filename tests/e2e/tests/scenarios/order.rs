//! What is deleted waits for what is meant: prunes, later waves and recreations.

use anyhow::{Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, hardened, message_of, script};
use bartizan_harness::wait::{wait_gone, wait_object};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{ApiResource, GroupVersionKind};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

const NS: &str = "default";
const GROUP: &str = "gizmos.test.bartizan.dev";

fn config(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": "1"}})
}

fn script_with(name: &str, children: &[Value]) -> String {
    script(name, &json!({"answers": [{"answer": {"children": children}}]}))
}

fn recreated(object: &Value) -> Value {
    json!({"object": object, "onImmutableChange": "Recreate"})
}

#[tokio::test]
async fn a_prune_and_a_later_wave_need_everything_before_them_done() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let child = |name: &str, wave: u32| json!({"object": config(name), "wave": wave});
    apply_text(&stage, &script_with("t", &[child("old", 0), child("older", 0), child("new", 0)])).await?;
    message_of(stage.scripts(NS), "t", "Synced", "True", "Applied").await?;
    let held = json!({"metadata": {"finalizers": ["x.example/hold"]}}).to_string();
    stage.kubectl(&["patch", "configmap", "new", "--type=merge", "-p", &held], "").await?;
    stage.kubectl(&["delete", "configmap", "new", "--wait=false"], "").await?;
    message_of(stage.scripts(NS), "t", "Synced", "False", "Waiting").await?;

    apply_text(&stage, &script_with("t", &[child("new", 0), child("beside", 0), child("later", 1)])).await?;
    wait_object(stage.api::<ConfigMap>(NS), "beside", "there", SOON, |_| true).await?;
    let message = message_of(stage.scripts(NS), "t", "Synced", "False", "Waiting").await?;
    ensure!(message == "ConfigMap default/new is being deleted; it is recreated once that has completed", "{message}");
    ensure!(stage.api::<ConfigMap>(NS).get_opt("later").await?.is_none(), "a later wave was written");
    let old = stage.api::<ConfigMap>(NS).get("old").await?;
    ensure!(old.metadata.deletion_timestamp.is_none(), "it was pruned while its replacement was terminating");

    let free = json!({"metadata": {"finalizers": null}}).to_string();
    stage.kubectl(&["patch", "configmap", "new", "--type=merge", "-p", &free], "").await?;
    message_of(stage.scripts(NS), "t", "Synced", "True", "Applied").await?;
    for gone in ["old", "older"] {
        wait_gone(stage.api::<ConfigMap>(NS), gone, SOON).await?;
    }
    stage.api::<ConfigMap>(NS).get("later").await?;

    // The last wave is pruned first, and the next once it is gone.
    stage.kubectl(&["patch", "configmap", "later", "--type=merge", "-p", &held], "").await?;
    apply_text(&stage, &script_with("t", &[])).await?;
    let message = message_of(stage.scripts(NS), "t", "Synced", "False", "Waiting").await?;
    let expected = "ConfigMap default/later is being deleted; earlier waves are deleted once that has completed";
    ensure!(message == expected, "{message}");
    ensure!(stage.api::<ConfigMap>(NS).get("new").await?.metadata.deletion_timestamp.is_none());
    stage.kubectl(&["patch", "configmap", "later", "--type=merge", "-p", &free], "").await?;
    for gone in ["new", "beside"] {
        wait_gone(stage.api::<ConfigMap>(NS), gone, SOON).await?;
    }
    message_of(stage.scripts(NS), "t", "Synced", "True", "Applied").await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn nothing_is_deleted_to_be_made_again_before_it_could_be_made() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    deploy_gizmos(&stage).await?;
    let host = stage.host().await?;
    an_object_that_is_invalid_stays(&stage).await?;
    words_of_a_rule_delete_nothing(&stage).await?;
    a_quota_that_leaves_no_room_keeps_the_old_object(&stage).await?;
    a_service_keeps_its_address_until_the_new_one_is_free(&stage).await?;
    host.stop().await?;
    stage.stop().await
}

async fn an_object_that_is_invalid_stays(stage: &Stage) -> Result<()> {
    let frozen = |key: &str| {
        let mut object = config("frozen");
        object["immutable"] = true.into();
        object["data"] = json!({key: "1"});
        script_with("frozen", &[recreated(&object)])
    };
    apply_text(stage, &frozen("good")).await?;
    message_of(stage.scripts(NS), "frozen", "Synced", "True", "Applied").await?;
    let before = stage.api::<ConfigMap>(NS).get("frozen").await?;
    apply_text(stage, &frozen("bad key!")).await?;
    let message = message_of(stage.scripts(NS), "frozen", "Synced", "False", "ApplyRefused").await?;
    ensure!(message.contains("bad key!"), "{message}");
    ensure!(stage.api::<ConfigMap>(NS).get("frozen").await?.uid() == before.uid(), "it was deleted");
    apply_text(stage, &frozen("better")).await?;
    message_of(stage.scripts(NS), "frozen", "Synced", "True", "Applied").await?;
    ensure!(stage.api::<ConfigMap>(NS).get("frozen").await?.uid() != before.uid(), "it was not recreated");
    Ok(())
}

/// A rule about references whose message holds a word, and one about a change.
async fn deploy_gizmos(stage: &Stage) -> Result<()> {
    let spec = json!({
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        "properties": {"image": {"type": "string"}, "zone": {"type": "string"}, "size": {"type": "integer"}},
        "x-kubernetes-validations": [
            {"rule": "!has(self.image) || self.image.contains('@')", "message": "image must be an immutable reference"},
            {
                "rule": "!has(oldSelf.zone) || has(self.zone) && self.zone == oldSelf.zone", "message": "zone stays",
                "reason": "FieldValueForbidden",
            },
            {"rule": "!has(oldSelf.size) || has(self.size) && self.size >= oldSelf.size", "message": "size must not shrink"},
        ],
    });
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("gizmos.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": {"kind": "Gizmo", "plural": "gizmos"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }],
        },
    });
    apply_text(stage, &crd.to_string()).await?;
    stage
        .kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &format!("crd/gizmos.{GROUP}")], "")
        .await?;
    stage.grant(Provider::Scripted, "gizmos", GROUP).await
}

async fn words_of_a_rule_delete_nothing(stage: &Stage) -> Result<()> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1", "Gizmo"), "gizmos");
    let gizmos: Api<DynamicObject> = Api::namespaced_with(stage.cluster.client(), NS, &resource);
    let gizmo = |spec: Value| {
        let object =
            json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Gizmo", "metadata": {"name": "g"}, "spec": spec});
        script_with("g", &[recreated(&object)])
    };
    apply_text(stage, &gizmo(json!({"image": "a@sha256:1", "zone": "a", "size": 3}))).await?;
    message_of(stage.scripts(NS), "g", "Synced", "True", "Applied").await?;
    let before = gizmos.get("g").await?;
    apply_text(stage, &gizmo(json!({"image": "a:1", "zone": "a"}))).await?;
    let message = message_of(stage.scripts(NS), "g", "Synced", "False", "ApplyRefused").await?;
    ensure!(message.contains("image must be an immutable reference"), "{message}");
    ensure!(gizmos.get("g").await?.uid() == before.uid(), "it was deleted because of a word");
    // A rule may protect data: it could be created like this.
    apply_text(stage, &gizmo(json!({"image": "a@sha256:1", "zone": "a", "size": 2}))).await?;
    let shrinks =
        |parent: &DynamicObject| parent.data["status"]["conditions"].to_string().contains("size must not shrink");
    wait_object(stage.scripts(NS), "g", "told that it cannot shrink", SOON, shrinks).await?;
    ensure!(gizmos.get("g").await?.uid() == before.uid(), "it was deleted although its size is protected");
    // One that forbids the change makes the field immutable.
    apply_text(stage, &gizmo(json!({"image": "a@sha256:1", "zone": "b", "size": 3}))).await?;
    message_of(stage.scripts(NS), "g", "Synced", "True", "Applied").await?;
    let after = gizmos.get("g").await?;
    ensure!(after.uid() != before.uid() && after.data["spec"]["zone"] == "b", "it was not recreated");
    Ok(())
}

async fn a_quota_that_leaves_no_room_keeps_the_old_object(stage: &Stage) -> Result<()> {
    let labels = json!({"app": "full"});
    let set = |service: &str| {
        let object = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "full"}, "spec": {
            "serviceName": service, "replicas": 0, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": hardened(json!([{"name": "c", "image": "example.invalid/c"}]))},
        }});
        script_with("full", &[recreated(&object)])
    };
    apply_text(stage, &set("one")).await?;
    message_of(stage.scripts(NS), "full", "Synced", "True", "Applied").await?;
    // Its controller has written the status, so that nobody else changes it from here on.
    let is_observed = |set: &StatefulSet| {
        set.status.as_ref().is_some_and(|status| status.observed_generation == set.metadata.generation)
    };
    wait_object(stage.api::<StatefulSet>(NS), "full", "observed by its controller", SOON, is_observed).await?;
    let before = stage.api::<StatefulSet>(NS).get("full").await?;
    stage.kubectl(&["create", "quota", "full", "--hard=count/statefulsets.apps=1"], "").await?;
    stage
        .kubectl(
            &["wait", "quota/full", "--for=jsonpath={.status.used.count/statefulsets\\.apps}=1", "--timeout=60s"],
            "",
        )
        .await?;
    apply_text(stage, &set("two")).await?;
    let message = message_of(stage.scripts(NS), "full", "Synced", "False", "Forbidden").await?;
    ensure!(message.contains("exceeded quota") && message.contains("was not deleted"), "{message}");
    ensure!(stage.api::<StatefulSet>(NS).get("full").await? == before, "it was touched");
    stage.kubectl(&["delete", "quota", "full"], "").await?;
    let again = |set: &StatefulSet| set.uid() != before.uid();
    wait_object(stage.api::<StatefulSet>(NS), "full", "another one", SOON, again).await?;
    message_of(stage.scripts(NS), "full", "Synced", "True", "Applied").await?;
    Ok(())
}

async fn a_service_keeps_its_address_until_the_new_one_is_free(stage: &Stage) -> Result<()> {
    let service = |name: &str, address: Option<&str>| {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]},
        });
        if let Some(address) = address {
            object["spec"]["clusterIP"] = address.into();
        }
        object
    };
    apply_text(stage, &service("other", None).to_string()).await?;
    let other = stage.api::<Service>(NS).get("other").await?;
    let taken = other.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
    apply_text(stage, &script_with("s", &[recreated(&service("s", None))])).await?;
    message_of(stage.scripts(NS), "s", "Synced", "True", "Applied").await?;
    let before = stage.api::<Service>(NS).get("s").await?;

    apply_text(stage, &script_with("s", &[recreated(&service("s", Some(&taken)))])).await?;
    let message = message_of(stage.scripts(NS), "s", "Synced", "False", "ApplyRefused").await?;
    ensure!(message.contains(&format!("the address {taken} belongs to services default/other")), "{message}");
    ensure!(stage.api::<Service>(NS).get("s").await? == before, "it was touched");
    stage.kubectl(&["delete", "service", "other"], "").await?;
    let moved =
        |service: &Service| service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.as_deref() == Some(&taken));
    wait_object(stage.api::<Service>(NS), "s", "at the new address", SOON, moved).await?;
    message_of(stage.scripts(NS), "s", "Synced", "True", "Applied").await?;
    Ok(())
}
