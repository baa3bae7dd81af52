//! Killed or stopped at any moment, the host converges to the same state as in an undisturbed run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bartizan_e2e::{Provider, SOON, Snapshot, Stage, apply_text, exchange, fault, message_of, store};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Secret, Service};
use serde_json::{Value, json};

/// When the host is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// This long after the parent was applied.
    After(Duration),
    /// As soon as its first child exists.
    FirstChild,
    /// As soon as its StatefulSet exists.
    StatefulSet,
    /// As soon as a generated value exists: it must not change.
    Secret,
    /// Once two of its servers are ready.
    HalfReady,
}

#[tokio::test]
async fn a_host_killed_midway_converges_to_the_state_of_an_undisturbed_one() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio]).await?;
    let host = stage.host().await?;
    let calm = undisturbed(&stage).await?;
    host.stop().await?;

    let moments = [
        Moment::After(Duration::ZERO),
        Moment::After(Duration::from_millis(5)),
        Moment::After(Duration::from_millis(20)),
        Moment::After(Duration::from_millis(50)),
        Moment::FirstChild,
        Moment::StatefulSet,
        Moment::Secret,
        Moment::HalfReady,
    ];
    for (number, moment) in moments.into_iter().enumerate() {
        let namespace = format!("killed-{number}");
        stage.kubectl(&["create", "namespace", &namespace], "").await?;
        let host = stage.host().await?;
        // kubectl takes longer to exit than the host to work: time zero is the moment of the API call.
        let parent = serde_json::from_str(&store(&namespace, "data", &spec()))?;
        let parent = stage.stores(&namespace).create(&kube::api::PostParams::default(), &parent).await?;
        wait_until(&stage, &namespace, moment).await?;
        host.kill().await?;
        let left = stage.children(&parent).await?;
        eprintln!("{moment:?}: {} of {} children when it was killed", left.names().len(), calm.len());

        let host = stage.host().await?;
        stage.wait_ready(&namespace, "data").await?;
        let children = stage.children(&parent).await?;
        compare(&calm, &children, &namespace)?;
        for name in left.names() {
            let (before, after) = (left.get(name), children.get(name));
            ensure!(before["metadata"]["uid"] == after["metadata"]["uid"], "{moment:?}: {name} was replaced");
            ensure!(before["data"] == after["data"], "{moment:?}: the data of {name} changed");
        }
        host.stop().await?;
    }
    stage.stop().await
}

fn spec() -> Value {
    json!({"scope": {"nodeCount": 4}})
}

/// The final state of an undisturbed run.
async fn undisturbed(stage: &Stage) -> Result<BTreeMap<String, Value>> {
    stage.kubectl(&["create", "namespace", "calm"], "").await?;
    apply_text(stage, &store("calm", "data", &spec())).await?;
    let parent = stage.wait_ready("calm", "data").await?;
    let shape = stage.children(&parent).await?.shape();
    ensure!(shape.len() == 5, "{shape:?}");
    Ok(shape)
}

/// Both are the same but for the name of the namespace.
fn compare(calm: &BTreeMap<String, Value>, children: &Snapshot, namespace: &str) -> Result<()> {
    let shape = serde_json::to_string_pretty(&children.shape())?.replace(namespace, "calm");
    let calm = serde_json::to_string_pretty(calm)?;
    ensure!(shape == calm, "{namespace}:\n{shape}\nis not what an undisturbed run ends in:\n{calm}");
    Ok(())
}

async fn wait_until(stage: &Stage, namespace: &str, moment: Moment) -> Result<()> {
    match moment {
        Moment::After(time) => tokio::time::sleep(time).await,
        Moment::FirstChild => {
            wait_object(stage.api::<Service>(namespace), "data", "existence", SOON, |_| true).await?;
        }
        Moment::StatefulSet => {
            wait_object(stage.api::<StatefulSet>(namespace), "data", "existence", SOON, |_| true).await?;
        }
        Moment::Secret => {
            wait_object(stage.api::<Secret>(namespace), "data-credentials", "existence", SOON, |_| true).await?;
        }
        Moment::HalfReady => {
            wait_object(stage.api::<StatefulSet>(namespace), "data", "two ready servers", SOON, |set| {
                set.status.as_ref().and_then(|status| status.ready_replicas) >= Some(2)
            })
            .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn sigterm_finishes_reconciles_in_flight_and_exits_with_0() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio, Provider::Faulty]).await?;
    for (number, after) in [0, 10, 30, 60].into_iter().enumerate() {
        let namespace = format!("stopped-{number}");
        stage.kubectl(&["create", "namespace", &namespace], "").await?;
        let host = stage.host().await?;
        let parent = serde_json::from_str(&store(&namespace, "data", &spec()))?;
        let parent = stage.stores(&namespace).create(&kube::api::PostParams::default(), &parent).await?;
        tokio::time::sleep(Duration::from_millis(after)).await;
        host.stop().await?;
        // A plan that has begun is executed to its end.
        let children = stage.children(&parent).await?.names().len();
        eprintln!("SIGTERM {after} ms after the parent: {children} children");
        ensure!(children == 0 || children == 5, "{children} of 5 children");
    }
    let host = stage.host().await?;
    for number in 0..4 {
        stage.wait_ready(&format!("stopped-{number}"), "data").await?;
    }

    // Neither a looping call nor a client that holds a connection keeps it from exiting.
    apply_text(&stage, &fault("loop", "Loop")).await?;
    message_of(stage.faults(), "loop", "Synced", "False", "ProviderTimedOut").await?;
    let idle = tokio::net::TcpStream::connect(&host.address).await?;
    let address = host.address.clone();
    let started = Instant::now();
    host.stop().await?;
    eprintln!("ended {:?} after SIGTERM", started.elapsed());
    ensure!(started.elapsed() < Duration::from_secs(10), "it took {:?} to end", started.elapsed());
    drop(idle);
    ensure!(exchange(&address, "GET /livez HTTP/1.0\r\n\r\n").await.is_err(), "somebody still listens");
    stage.stop().await
}

#[tokio::test]
async fn ctrl_c_stops_the_host_like_sigterm() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let mut host = stage.host().await?;
    host.process.sigint()?;
    let status = host.process.wait_exit(SOON).await?;
    ensure!(status.success(), "{status}");
    let lines = host.process.lines();
    ensure!(lines.iter().any(|line| line.ends_with("INFO stopping: finishing what is under way")), "{lines:?}");
    stage.stop().await
}
