//! Fields of other managers stay as they are through every apply, and none of them causes a write loop.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, hardened, message_of, script};
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use serde_json::{Value, json};

const NS: &str = "default";
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
/// How long no write must follow.
const QUIET: Duration = Duration::from_secs(10);

/// A StatefulSet without replicas, and a Service for which the API server sets many defaults.
fn spec(image: &str) -> Value {
    let labels = json!({"app": "shared"});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "shared"},
        "spec": {
            "serviceName": "shared", "selector": {"matchLabels": labels}, "podManagementPolicy": "Parallel",
            "template": {"metadata": {"labels": labels}, "spec": hardened(json!([{
                "name": "main", "image": image, "resources": {"requests": {"memory": "1024Mi", "cpu": "0.5"}},
            }]))},
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shared"}, "spec": {"ports": [{"port": 80}], "selector": labels},
    });
    json!({"answers": [{"answer": {"children": [{"object": set}, {"object": service}]}}]})
}

/// What the test looks at in a pod template.
#[derive(PartialEq)]
struct Template {
    /// Name and image of each container.
    containers: Vec<(String, String)>,
    /// The time of the last requested restart.
    restarted: Option<String>,
}

fn template(set: &StatefulSet) -> Template {
    let template = set.spec.as_ref().map(|spec| &spec.template);
    let containers = template.and_then(|template| template.spec.as_ref()).into_iter().flat_map(|pod| &pod.containers);
    let image = |image: &Option<String>| image.clone().unwrap_or_default();
    let annotations = template.and_then(|template| template.metadata.as_ref()?.annotations.as_ref());
    Template {
        containers: containers.map(|container| (container.name.clone(), image(&container.image))).collect(),
        restarted: annotations.and_then(|annotations| annotations.get(RESTARTED)).cloned(),
    }
}

fn replicas(set: &StatefulSet) -> Option<i32> {
    set.spec.as_ref().and_then(|spec| spec.replicas)
}

#[tokio::test]
async fn fields_of_other_managers_survive_every_apply_and_cause_no_writes() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let sets = || stage.api::<StatefulSet>(NS);
    apply_text(&stage, &script("shared", &spec("example.invalid/main:1"))).await?;
    message_of(stage.scripts(NS), "shared", "Synced", "True", "Applied").await?;

    // The autoscaler needs no metrics to know that one is less than two.
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "shared", "namespace": NS},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "shared"},
            "minReplicas": 2, "maxReplicas": 2,
        },
    });
    let mark = stage.mark()?;
    apply_text(&stage, &scaler.to_string()).await?;
    wait_object(sets(), "shared", "2 replicas by the autoscaler", SOON, |set| replicas(set) == Some(2)).await?;
    stage.kubectl(&["rollout", "restart", "statefulset/shared"], "").await?;
    let sidecar = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "shared", "namespace": NS},
        "spec": {"template": {"spec": {"containers": [{"name": "sidecar", "image": "example.invalid/mesh"}]}}},
    });
    let mesh = ["apply", "--server-side", "--field-manager=mesh", "-f", "-"];
    stage.kubectl(&mesh, &sidecar.to_string()).await?;
    let edited = settled(&stage).await?;
    let Template { containers, restarted } = template(&edited);
    let both = |main: &str| {
        vec![
            ("main".to_owned(), format!("example.invalid/main:{main}")),
            ("sidecar".to_owned(), "example.invalid/mesh".to_owned()),
        ]
    };
    ensure!(containers == both("1") && restarted.is_some() && replicas(&edited) == Some(2), "{edited:?}");
    // The host applies once for each of the three edits: an apply that changes nothing tells it that there is no
    // drift.
    let writes = stage.writes_since(mark)?;
    let of_set = |write: &&String| write.contains("statefulsets");
    // The StatefulSet controller writes the status all the time: an apply based on an older state is refused and
    // repeated.
    let accepted: Vec<&String> = writes.iter().filter(of_set).filter(|write| !write.ends_with("409")).collect();
    eprintln!("{} applies for 3 edits of others, all writes: {writes:?}", accepted.len());
    ensure!(accepted.len() <= 3 && accepted.iter().all(|write| write.ends_with("/shared: 200")), "{writes:?}");

    // An apply that changes something leaves the others' fields alone.
    apply_text(&stage, &script("shared", &spec("example.invalid/main:2"))).await?;
    wait_object(sets(), "shared", "the new image", SOON, |set| template(set).containers == both("2")).await?;
    message_of(stage.scripts(NS), "shared", "Synced", "True", "Applied").await?;
    let after = settled(&stage).await?;
    ensure!(template(&after).restarted == restarted && replicas(&after) == Some(2), "{after:?}");
    // Fields that the API server defaults are no drift.
    let service = stage.api::<Service>(NS).get("shared").await?;
    let defaulted = service.spec.as_ref().and_then(|spec| spec.session_affinity.clone());
    ensure!(defaulted.as_deref() == Some("None"), "{service:?}");
    ensure!(written_by_host(&serde_json::to_value(&service)?)? == 1, "{service:?}");

    let mark = stage.mark()?;
    tokio::time::sleep(QUIET).await;
    let writes = stage.writes_since(mark)?;
    ensure!(writes.is_empty(), "{writes:?}");
    let later = stage.api::<StatefulSet>(NS).get("shared").await?;
    ensure!(later.metadata.generation == after.metadata.generation, "{later:?}");
    host.stop().await?;

    // A restarted host finds what others wrote since, and leaves it alone, too.
    let host = stage.host().await?;
    message_of(stage.scripts(NS), "shared", "Synced", "True", "Applied").await?;
    let restarted = settled(&stage).await?;
    ensure!(restarted.metadata.generation == after.metadata.generation, "{restarted:?}");
    ensure!(template(&restarted) == template(&after), "{restarted:?}");
    host.stop().await?;
    stage.stop().await
}

/// The StatefulSet once its pods are rolled out and the host has seen its newest state.
async fn settled(stage: &Stage) -> Result<StatefulSet> {
    let rolled = |set: &StatefulSet| {
        set.status.as_ref().is_some_and(|status| {
            status.observed_generation == set.metadata.generation
                && status.ready_replicas == replicas(set)
                && status.current_revision == status.update_revision
        })
    };
    let set = wait_object(stage.api::<StatefulSet>(NS), "shared", "all pods rolled", SOON, rolled).await?;
    // Another parent is served afterwards: whatever the host had to do for the first one has begun by then.
    let name = format!("after-{}", set.resource_version().unwrap_or_default());
    apply_text(stage, &script(&name, &json!({"answers": [{"answer": {}}]}))).await?;
    message_of(stage.scripts(NS), &name, "Synced", "True", "Applied").await?;
    wait_for("the same generation", SOON, async || {
        let now = stage.api::<StatefulSet>(NS).get("shared").await?;
        Ok((now.metadata.generation == set.metadata.generation).then_some(now))
    })
    .await
}

/// How many managed-fields entries of an object belong to the host.
fn written_by_host(object: &Value) -> Result<usize> {
    let managers = object["metadata"]["managedFields"].as_array().context("no managed fields")?;
    Ok(managers.iter().filter(|entry| entry["manager"] == "bartizan/scripted").count())
}
