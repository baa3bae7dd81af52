//! Members leave one after another, whatever happens to the host meanwhile.

use anyhow::{Result, ensure};
use bartizan_e2e::{Change, Journal, Provider, SOON, Sidecar, Snapshot, Stage, apply_text, cassandra};
use kube::ResourceExt as _;
use serde_json::Value;

use super::{DECOMMISSION, LONG, NS, pods, rack, set_racks, spec, wait_progressing, wait_ready};

/// The steps in which a member is removed, in order.
const STEPS: [&str; 6] = ["asked", "left", "lowered", "pod gone", "claim gone", "Service gone"];

/// Whether a change is this step of a member of the StatefulSet `ring-west-a`.
fn is_step(change: &Change, step: &str, ordinal: i64) -> bool {
    let member = format!("ring-west-a-{ordinal}");
    match step {
        "asked" => change.is("Service", &member) && change.decommissioned() == Some("false"),
        "left" => change.is("Service", &member) && change.decommissioned() == Some("true"),
        "lowered" => change.is("StatefulSet", "ring-west-a") && change.replicas() == ordinal,
        "pod gone" => change.deleted && change.is("Pod", &member),
        "claim gone" => change.deleted && change.is("PersistentVolumeClaim", &format!("data-{member}")),
        _ => change.deleted && change.is("Service", &member),
    }
}

#[tokio::test]
async fn scaling_from_three_to_one_survives_kills_and_a_scale_up_on_the_way() -> Result<()> {
    let stage = Stage::start(&[Provider::Cassandra]).await?;
    let host = stage.host().await?;
    stage.kubectl(&["create", "namespace", "killed"], "").await?;
    for namespace in [NS, "killed"] {
        apply_text(&stage, &cassandra(namespace, "ring", &spec("4.1.7", &[rack("a", 3)]))).await?;
    }
    for namespace in [NS, "killed"] {
        wait_ready(&stage, namespace, "ring", "3/3").await?;
    }
    let calm = Journal::start(&stage, NS).await?;
    let sidecar = Sidecar::start(&stage, NS, "ring", DECOMMISSION).await?;
    set_racks(&stage, NS, "ring", &[rack("a", 1)]).await?;
    let parent = wait_ready(&stage, NS, "ring", "1/1").await?;
    let undisturbed = shape(&stage.children(&parent).await?)?;
    calm.check().await?;
    drop(sidecar);
    host.stop().await?;

    the_host_is_killed_between_each_two_steps(&stage).await?;
    let host = stage.host().await?;
    let parent = wait_ready(&stage, "killed", "ring", "1/1").await?;
    let killed = shape(&stage.children(&parent).await?)?.replace("killed", NS);
    ensure!(killed == undisturbed, "{killed}\nis not what an undisturbed run ends in:\n{undisturbed}");

    members_added_during_a_scale_down_join_once_the_leaving_one_left(&stage, &calm).await?;
    calm.check().await?;
    host.stop().await?;
    stage.stop().await
}

/// The intended state, without the hash of a template that contains the namespace.
fn shape(children: &Snapshot) -> Result<String> {
    let mut shape = children.shape();
    for object in shape.values_mut() {
        object["metadata"]["annotations"]["cassandra.rook.io/template"] = Value::Null;
    }
    Ok(serde_json::to_string_pretty(&shape)?)
}

async fn the_host_is_killed_between_each_two_steps(stage: &Stage) -> Result<()> {
    let journal = Journal::start(stage, "killed").await?;
    let _sidecar = Sidecar::start(stage, "killed", "ring", DECOMMISSION).await?;
    set_racks(stage, "killed", "ring", &[rack("a", 1)]).await?;
    for ordinal in [2, 1] {
        for step in STEPS {
            let host = stage.host().await?;
            let what = format!("member {ordinal}: {step}");
            journal.wait(&what, LONG, |change| is_step(change, step, ordinal)).await?;
            host.kill().await?;
        }
    }
    journal.check().await
}

/// The sidecar answers late, so that there is time for a change in between.
async fn members_added_during_a_scale_down_join_once_the_leaving_one_left(
    stage: &Stage,
    journal: &Journal,
) -> Result<()> {
    set_racks(stage, NS, "ring", &[rack("a", 3)]).await?;
    wait_ready(stage, NS, "ring", "3/3").await?;
    let before = pods(stage, NS, "ring").await?;
    let from = set_racks(stage, NS, "ring", &[rack("a", 2)]).await?;
    let asked = |change: &Change| change.version > from && is_step(change, "asked", 2);
    journal.wait("member 2 to be asked", SOON, asked).await?;
    set_racks(stage, NS, "ring", &[rack("a", 4)]).await?;
    wait_progressing(stage, "ring", "MemberLeaving", "waiting for ring-west-a-2 to leave the ring").await?;
    ensure!(pods(stage, NS, "ring").await?.len() == 3, "somebody came or went before the one had left");

    let _sidecar = Sidecar::start(stage, NS, "ring", DECOMMISSION).await?;
    wait_ready(stage, NS, "ring", "4/4").await?;
    let after = pods(stage, NS, "ring").await?;
    let same = |at: usize| before[at].uid() == after[at].uid();
    ensure!(same(0) && same(1) && !same(2), "members 0 and 1 stay, and member 2 is another one now");
    for step in ["left", "lowered", "pod gone", "claim gone"] {
        let reached = |change: &Change| change.version > from && is_step(change, step, 2);
        journal.wait(&format!("member 2: {step}"), SOON, reached).await?;
    }
    Ok(())
}
