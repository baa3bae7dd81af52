//! An upgrade reaches one member at a time, and none while a member is not ready or the spec is invalid.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Change, Journal, Provider, SOON, Stage, apply_text, cassandra, condition, message_of};
use bartizan_harness::wait::wait_object;
use serde_json::json;

use super::{LONG, NS, annotate, edit, fault, pods, rack, slow, spec, wait_progressing, wait_ready};

/// Long enough to act before a pod is ready, even on a machine that is busy with other tests.
const START: &str = "8s";
const HOLD: &str = "test.bartizan.dev/hold-ready";

#[tokio::test]
async fn an_upgrade_goes_pod_by_pod_and_waits_for_ready_pods_and_a_valid_spec() -> Result<()> {
    let stage = Stage::start(&[Provider::Cassandra]).await?;
    let host = stage.host().await?;
    let journal = Journal::start(&stage, NS).await?;
    apply_text(&stage, &cassandra(NS, "ring", &slow(spec("4.1.7", &[rack("a", 2), rack("b", 2)]), START))).await?;
    wait_ready(&stage, NS, "ring", "4/4").await?;
    let from = edit(&stage, NS, "ring", &json!({"version": "5.0.2"})).await?;

    // Another member is lost while the first is being upgraded: the first finishes, and the next waits.
    is_replaced(&journal, "ring-west-a-1").await?;
    annotate(&stage, "ring-west-b-0", HOLD, "true").await?;
    wait_progressing(&stage, "ring", "MembersNotReady", "waiting for ring-west-b-0 to become ready").await?;
    let message = message_of(stage.clusters(NS), "ring", "Degraded", "True", "MembersNotReady").await?;
    ensure!(message == "not ready: ring-west-b-0", "{message}");
    annotate(&stage, "ring-west-b-0", HOLD, "false").await?;

    // The spec becomes invalid while the second is being upgraded: the second finishes, and no other follows.
    is_replaced(&journal, "ring-west-a-0").await?;
    edit(&stage, NS, "ring", &json!({"version": "newest"})).await?;
    let message = fault(&stage, "ring", "InvalidSpec").await?;
    ensure!(message == "spec.version: must be a version such as 4.1.3, but is \"newest\"", "{message}");
    wait_object(stage.clusters(NS), "ring", "all members ready, and the spec invalid", SOON, |cluster| {
        let invalid = condition(cluster, "Valid").is_some_and(|valid| valid["status"] == "False");
        cluster.data["status"]["ready"] == "4/4" && invalid
    })
    .await?;
    let corrected = edit(&stage, NS, "ring", &json!({"version": "5.0.2"})).await?;
    wait_ready(&stage, NS, "ring", "4/4").await?;

    let changes = journal.changes().await?;
    let mut gone: Vec<_> = changes.iter().filter(|change| change.kind == "Pod" && change.deleted).collect();
    // The simulated nodes delete by name, sometimes twice, where a kubelet would give the pod's UID: the second
    // delete may hit the successor.
    gone.dedup_by(|later, earlier| later.name == earlier.name);
    let names: Vec<&str> = gone.iter().map(|change| change.name.as_str()).collect();
    ensure!(names == ["a-1", "a-0", "b-1", "b-0"].map(|member| format!("ring-west-{member}")), "gone: {names:?}");
    ensure!(gone.iter().all(|change| change.version > from), "one went before it was asked for");
    let (second, third) = (gone[1].version, gone[2].version);
    ensure!(second < corrected && corrected < third, "{second} and {third} around the corrected spec at {corrected}");
    for pod in pods(&stage, NS, "ring").await? {
        let image =
            pod.spec.and_then(|spec| spec.containers.into_iter().next()?.image).context("a pod without image")?;
        ensure!(image == "docker.io/library/cassandra:5.0.2", "{image}");
    }
    journal.check().await?;

    // A downgrade is refused, and nothing is attempted.
    edit(&stage, NS, "ring", &json!({"version": "4.1.7"})).await?;
    let message = fault(&stage, "ring", "PermanentField").await?;
    let expected =
        "spec.version: cannot be downgraded from 5.0.2 to 4.1.7: an older version cannot read the data of a newer one";
    ensure!(message == expected, "{message}");
    host.stop().await?;
    stage.stop().await
}

/// Waits until a pod is gone and its successor exists.
async fn is_replaced(journal: &Journal, pod: &str) -> Result<()> {
    let gone = journal.wait(&format!("{pod} to go"), LONG, |change| change.deleted && change.is("Pod", pod)).await?;
    let successor = |change: &Change| change.version > gone && !change.deleted && change.is("Pod", pod);
    journal.wait(&format!("the successor of {pod}"), LONG, successor).await?;
    Ok(())
}
