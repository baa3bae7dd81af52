//! Children are as the provider wants them, whatever happens to them, and nothing else is touched.

use anyhow::{Context as _, Result, ensure};
use bartizan_contract::names::{INTENT_ANNOTATION, OWNER_UID_LABEL, PROVIDER_LABEL};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, condition, message_of, script, store};
use bartizan_harness::wait::{wait_for, wait_gone, wait_object};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use kube::core::DynamicObject;
use serde_json::json;

const NS: &str = "default";

#[tokio::test]
async fn drift_is_repaired_children_are_collected_and_nothing_else_is_touched() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio]).await?;
    let host = stage.host().await?;
    let claim = json!({"metadata": {"name": "d"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}});
    let spec = json!({
        "scope": {"nodeCount": 4, "volumeClaimTemplates": [claim]},
        "credentials": {"accessKey": "somebody", "secretKey": "some secret"},
        "env": [{"name": "MINIO_BROWSER", "value": "off"}],
    });
    apply_text(&stage, &store(NS, "data", &spec)).await?;
    let parent = stage.wait_ready(NS, "data").await?;
    create_foreign_objects(&stage, &parent).await?;
    let strangers = foreign_objects(&stage).await?;

    a_deleted_child_is_recreated(&stage, &parent).await?;
    an_edited_service_is_repaired(&stage).await?;
    an_edited_stateful_set_is_repaired(&stage).await?;
    additions_of_others_stay(&stage).await?;
    stripped_labels_come_back(&stage).await?;
    a_forged_child_is_not_pruned(&stage).await?;
    let message = message_of(stage.stores(NS), "data", "Synced", "True", "Applied").await?;
    ensure!(message == "All children match the desired state", "{message}");
    children_are_deleted_with_their_parent_and_claims_stay(&stage, &parent).await?;

    let after = self::foreign_objects(&stage).await?;
    ensure!(after == strangers, "bystanders changed:\n{strangers:?}\n{after:?}");
    host.stop().await?;
    stage.stop().await
}

/// Foreign objects with names and labels like those of children; one even has all labels of a child.
async fn create_foreign_objects(stage: &Stage, parent: &DynamicObject) -> Result<()> {
    let uid = parent.metadata.uid.as_deref().context("a parent without UID")?;
    let labels = json!({"minio.rook.io/objectstore": "other", "bystander": "true"});
    let metadata = |name: &str| json!({"name": name, "namespace": NS, "labels": labels});
    let mut forged = metadata("data-forged");
    forged["labels"][OWNER_UID_LABEL] = uid.into();
    forged["labels"][PROVIDER_LABEL] = "minio".into();
    let container = json!({"name": "c", "image": "example.invalid/c"});
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container]}});
    let objects = [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("data"), "data": {"a": "b"}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata("data-service-2"), "spec": {"ports": [{"port": 9000}]}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata("data-credentials-2")}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": forged}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata("data-2"), "spec": {
            "serviceName": "data-2", "replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template,
        }}),
    ];
    for object in objects {
        apply_text(stage, &object.to_string()).await?;
    }
    // Its controller writes its status once.
    wait_object(stage.api::<StatefulSet>(NS), "data-2", "a status", SOON, |set| {
        set.status.as_ref().is_some_and(|status| status.observed_generation.is_some())
    })
    .await?;
    Ok(())
}

/// Names and resource versions of the foreign objects.
async fn foreign_objects(stage: &Stage) -> Result<Vec<String>> {
    let kinds = "configmaps,services,secrets,statefulsets";
    let columns = "custom-columns=K:.kind,N:.metadata.name,V:.metadata.resourceVersion,U:.metadata.uid";
    let list = stage.kubectl(&["get", kinds, "-n", NS, "-l", "bystander=true", "-o", columns], "").await?;
    let list: Vec<String> = list.lines().map(str::to_owned).collect();
    ensure!(list.len() == 6, "{list:?}");
    Ok(list)
}

async fn a_deleted_child_is_recreated(stage: &Stage, parent: &DynamicObject) -> Result<()> {
    let before = stage.children(parent).await?;
    for name in before.names() {
        if name == "Secret/data-forged" {
            continue;
        }
        let uid = before.get(name)["metadata"]["uid"].clone();
        stage.kubectl(&["delete", name, "-n", NS], "").await?;
        wait_for(&format!("{name} to be recreated"), SOON, async || {
            let now = stage.children(parent).await?;
            let found = &now.get(name)["metadata"]["uid"];
            Ok((!found.is_null() && *found != uid).then_some(()))
        })
        .await?;
    }
    stage.wait_ready(NS, "data").await?;
    ensure!(stage.children(parent).await?.shape() == before.shape(), "other children than before");
    Ok(())
}

/// The port number is the key of its list item: to the API server an edited port is another port.
async fn an_edited_service_is_repaired(stage: &Stage) -> Result<()> {
    for patch in [
        json!([{"op": "replace", "path": "/spec/ports/0/port", "value": 9001}]),
        json!([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 1234}]),
        json!([{"op": "replace", "path": "/spec/selector", "value": {"nobody": "here"}}]),
    ] {
        let patch = patch.to_string();
        stage.kubectl(&["patch", "service", "data-service", "-n", NS, "--type=json", "-p", &patch], "").await?;
        wait_object(stage.api::<Service>(NS), "data-service", "the port of the provider", SOON, |service| {
            let spec = service.spec.as_ref();
            let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
            let selector = spec.and_then(|spec| spec.selector.as_ref());
            let target = ports.first().and_then(|port| serde_json::to_value(&port.target_port).ok());
            ports.len() == 1
                && ports.iter().all(|port| port.port == 9000)
                && target == Some("api".into())
                && selector.is_some_and(|s| s.get("minio.rook.io/objectstore").is_some_and(|name| name == "data"))
        })
        .await
        .with_context(|| format!("after {patch}"))?;
    }
    Ok(())
}

async fn an_edited_stateful_set_is_repaired(stage: &Stage) -> Result<()> {
    let sets = || stage.api::<StatefulSet>(NS);
    stage.kubectl(&["set", "env", "statefulset/data", "-n", NS, "MINIO_BROWSER=on"], "").await?;
    wait_object(sets(), "data", "its own environment", SOON, |set| {
        let pod = set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let env = pod.into_iter().flat_map(|pod| &pod.containers).flat_map(|container| container.env.iter().flatten());
        let browser: Vec<_> =
            env.filter(|env| env.name == "MINIO_BROWSER").filter_map(|env| env.value.clone()).collect();
        browser == ["off"]
    })
    .await?;
    stage.kubectl(&["scale", "statefulset/data", "-n", NS, "--replicas=2"], "").await?;
    wait_object(sets(), "data", "four replicas", SOON, |set| {
        set.spec.as_ref().and_then(|spec| spec.replicas) == Some(4)
    })
    .await?;
    stage.wait_ready(NS, "data").await?;
    Ok(())
}

async fn additions_of_others_stay(stage: &Stage) -> Result<()> {
    stage.kubectl(&["label", "service", "data", "-n", NS, "team=storage"], "").await?;
    stage.kubectl(&["annotate", "service", "data", "-n", NS, "note=ours too"], "").await?;
    // A field of ours changes with it, so that an apply follows.
    stage.kubectl(&["label", "service", "data", "-n", NS, "--overwrite", "app.kubernetes.io/name=other"], "").await?;
    let service = wait_object(stage.api::<Service>(NS), "data", "its own label", SOON, |service| {
        service.labels().get("app.kubernetes.io/name").is_some_and(|name| name == "minio")
    })
    .await?;
    ensure!(service.labels().get("team").is_some_and(|team| team == "storage"), "{:?}", service.labels());
    ensure!(service.annotations().get("note").is_some_and(|note| note == "ours too"), "{:?}", service.annotations());
    Ok(())
}

async fn stripped_labels_come_back(stage: &Stage) -> Result<()> {
    let stripped = [
        &[format!("{PROVIDER_LABEL}-")][..],
        &[format!("{OWNER_UID_LABEL}-")],
        &[format!("{PROVIDER_LABEL}-"), format!("{OWNER_UID_LABEL}-")],
    ];
    for labels in stripped {
        let mut arguments = vec!["label", "statefulset", "data", "-n", NS];
        arguments.extend(labels.iter().map(String::as_str));
        let before = stage.api::<StatefulSet>(NS).get("data").await?;
        stage.kubectl(&arguments, "").await?;
        let after = wait_object(stage.api::<StatefulSet>(NS), "data", "both labels", SOON, |set| {
            set.labels().contains_key(PROVIDER_LABEL) && set.labels().contains_key(OWNER_UID_LABEL)
        })
        .await?;
        ensure!(after.labels() == before.labels() && after.uid() == before.uid(), "{:?}", after.metadata);
    }
    // Without the annotation nothing is known of the last apply: it is applied again.
    stage.kubectl(&["annotate", "statefulset", "data", "-n", NS, &format!("{INTENT_ANNOTATION}-")], "").await?;
    wait_object(stage.api::<StatefulSet>(NS), "data", "its annotation", SOON, |set| {
        set.annotations().contains_key(INTENT_ANNOTATION)
    })
    .await?;
    Ok(())
}

async fn a_forged_child_is_not_pruned(stage: &Stage) -> Result<()> {
    let secret = stage.api::<Secret>(NS).get("data-forged").await?;
    ensure!(secret.metadata.deletion_timestamp.is_none());
    Ok(())
}

async fn children_are_deleted_with_their_parent_and_claims_stay(stage: &Stage, parent: &DynamicObject) -> Result<()> {
    stage.stores(NS).delete("data", &DeleteParams::default()).await?;
    wait_gone(stage.stores(NS), "data", SOON).await?;
    wait_for("the deletion of the children", SOON, async || {
        let children = stage.children(parent).await?;
        // The keys stay with the claims: what is in these cannot be read without them.
        Ok((children.names() == ["Secret/data-credentials", "Secret/data-forged"]).then_some(()))
    })
    .await?;
    let claims = stage.api::<PersistentVolumeClaim>(NS).list(&ListParams::default()).await?;
    let mut names: Vec<String> = claims.iter().map(kube::ResourceExt::name_any).collect();
    names.sort();
    ensure!(names == ["d-data-0", "d-data-1", "d-data-2", "d-data-3"], "{names:?}");
    ensure!(claims.iter().all(|claim| claim.metadata.deletion_timestamp.is_none()), "claims are being deleted");
    Ok(())
}

#[tokio::test]
async fn a_child_that_another_client_keeps_changing_is_repaired_at_intervals_and_named() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let child = |name: &str| json!({"object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": "ours"}}});
    let children = json!([child("fought"), child("sibling")]);
    apply_text(&stage, &script("fight", &json!({"answers": [{"answer": {"children": children}}]}))).await?;
    message_of(stage.scripts(NS), "fight", "Synced", "True", "Applied").await?;
    let is_ours = |child: &ConfigMap| child.data.as_ref().is_some_and(|data| data["text"] == "ours");
    let edit = |name: &'static str, number: u32| {
        let stage = &stage;
        async move {
            let patch = json!({"data": {"text": format!("theirs {number}")}}).to_string();
            let arguments = ["patch", "configmap", name, "--field-manager=fighter", "--type=merge", "-p", &patch];
            stage.kubectl(&arguments, "").await
        }
    };
    let contested = async || {
        let parent = stage.scripts(NS).get("fight").await?;
        anyhow::Ok(condition(&parent, "Synced").is_some_and(|synced| synced["reason"] == "Contested"))
    };
    let mut edits = 0;
    while !contested().await? {
        ensure!(edits < 40, "it is repaired at once, however often it is changed");
        edits += 1;
        edit("fought", edits).await?;
        let repaired = async || {
            let child = stage.api::<ConfigMap>(NS).get("fought").await?;
            Ok((is_ours(&child) || contested().await?).then_some(()))
        };
        wait_for("the child to be repaired", SOON, repaired).await?;
    }
    let message = message_of(stage.scripts(NS), "fight", "Synced", "False", "Contested").await?;
    ensure!(message.starts_with("ConfigMap default/fought is changed again and again by another client"), "{message}");
    // Its sibling does not wait.
    edit("sibling", 1).await?;
    wait_object(stage.api::<ConfigMap>(NS), "sibling", "repaired", SOON, is_ours).await?;
    // It is repaired, still.
    wait_object(stage.api::<ConfigMap>(NS), "fought", "repaired", SOON, is_ours).await?;
    host.stop().await?;
    stage.stop().await
}
