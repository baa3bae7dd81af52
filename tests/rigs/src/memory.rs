//! The memory rig: the host in a container's memory limit, with the flags of deploy/base, while everything that may take memory or
//! attention comes at once: a module that cannot be compiled within its limits, files that are none, parents that crash, loop, allocate
//! or are too heavy, forged children, another client that fights, and ever more parents. It must never end, and an edit of a healthy
//! parent is served within two seconds all the time.

mod cgroup;
mod edits;
mod modules;
mod trouble;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, message_of};
use bartizan_harness::wait::wait_for;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams};
use kube::core::DynamicObject;
use serde_json::json;

use cgroup::Cgroup;
use edits::Edits;

/// The limit of deploy/base.
const LIMIT: u64 = 512 << 20;
/// Its flags that concern memory.
const FLAGS: [&str; 2] = ["--call-memory=160Mi", "--compile-memory=160Mi"];
/// Parents that are created in a second: more than people do, and less than this machine can serve beside its control plane.
const RATE: u64 = 50;
/// Longest time until an edit of a healthy parent is served.
const SERVED: Duration = Duration::from_secs(2);
const MIB: f64 = 1024.0 * 1024.0;

/// Duration of a run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long parents are created, [`RATE`] each second.
    pub time: Duration,
}

/// Runs the rig; returns whether the host lived and served.
///
/// # Errors
/// If the control plane cannot be started, no control group can be made, or the host does not work even undisturbed.
pub async fn run(options: Options) -> Result<bool> {
    let cgroup = match Cgroup::create(LIMIT) {
        Ok(cgroup) => cgroup,
        Err(error) => {
            println!("memory: left out: {error:#}");
            return Ok(true);
        }
    };
    let crowd = options.time.as_secs() * RATE;
    println!("memory: {} MiB, {crowd} parents", LIMIT >> 20);
    let stage = Stage::start(&[Provider::Hello, Provider::Scripted, Provider::Faulty]).await?;
    for namespace in ["healthy", "crowd", "poison", "forged"] {
        stage.kubectl(&["create", "namespace", namespace], "").await?;
    }
    trouble::modules(&stage)?;
    let mut host = start(&stage, &cgroup).await?;
    trouble::kill_a_compiler(&host).await?;
    let edits = Edits::start(&stage).await?;

    let began = Instant::now();
    let fighter = trouble::fight(&stage).await?;
    trouble::parents(&stage).await?;
    trouble::forge(&stage).await?;
    create(&stage, crowd).await?;
    all_served(&stage, crowd, options.time * 3 + SOON).await?;
    println!("memory: {crowd} parents after {} s", began.elapsed().as_secs());
    fighter.abort();
    let mut problems = Vec::from_iter(edits.end("beside everything").await?);
    ensure!(host.process.exited()?.is_none(), "the host ended: {}", host.process.lines().join("\n"));
    report(&host, &cgroup)?;

    // Again, with all of that there from the start.
    host.stop().await?;
    let mut host = start(&stage, &cgroup).await?;
    let edits = Edits::start(&stage).await?;
    tokio::time::sleep(options.time / 4).await;
    problems.extend(edits.end("after a restart").await?);
    ensure!(host.process.exited()?.is_none(), "the host ended: {}", host.process.lines().join("\n"));
    report(&host, &cgroup)?;
    if cgroup.kills()? > 0 {
        problems.push(format!("{} processes were killed at the limit", cgroup.kills()?));
    }
    for problem in &problems {
        println!("memory: PROBLEM: {problem}");
    }
    println!("memory: {}", if problems.is_empty() { "all as it should be" } else { "FAILED" });
    host.stop().await?;
    if !problems.is_empty() {
        return Ok(false);
    }
    stage.stop().await?;
    Ok(true)
}

/// Starts the host in the control group, and waits until the healthy provider serves. The host is not ready while a module compiles.
async fn start(stage: &Stage, cgroup: &Cgroup) -> Result<Host> {
    let mut command = stage.command();
    command.args(FLAGS);
    let host = stage.listening(cgroup.enter(&command)).await?;
    message_of(stage.provider_objects(), "hello", "Serving", "True", "Serving").await?;
    Ok(host)
}

/// Creates parents, [`RATE`] each second.
async fn create(stage: &Stage, crowd: u64) -> Result<()> {
    let parents = stage.greetings_in("crowd");
    let began = tokio::time::Instant::now();
    let created = stream::iter(0..crowd).map(|number| {
        let parents = parents.clone();
        async move {
            tokio::time::sleep_until(began + Duration::from_millis(1000 * number / RATE)).await;
            let name = format!("c-{number}");
            let parent = json!({
                "apiVersion": "hello.bartizan.dev/v1alpha1", "kind": "Greeting",
                "metadata": {"name": name, "namespace": "crowd"}, "spec": {"name": name},
            });
            let parent: DynamicObject = serde_json::from_value(parent)?;
            parents.create(&PostParams::default(), &parent).await.context("a parent could not be created")?;
            anyhow::Ok(())
        }
    });
    created.buffer_unordered(8).try_collect().await
}

/// Waits until each parent of the crowd has its child.
async fn all_served(stage: &Stage, crowd: u64, within: Duration) -> Result<()> {
    let children = stage.api::<ConfigMap>("crowd");
    wait_for(&format!("{crowd} children"), within, async || {
        // Without a selector, the API server says how many there are.
        let page = children.list_metadata(&ListParams::default().limit(1)).await?;
        let count = page.items.len() as u64 + u64::try_from(page.metadata.remaining_item_count.unwrap_or_default())?;
        // The certificate authority is in a ConfigMap of its own.
        ensure!(count == crowd + 1, "{count} ConfigMaps");
        Ok(Some(()))
    })
    .await
}

fn report(host: &Host, cgroup: &Cgroup) -> Result<()> {
    let group = cgroup.peak().map_or("unknown".to_owned(), |bytes| format!("{:.0} MiB", bytes as f64 / MIB));
    println!(
        "memory: resident {:.0} MiB, at most {:.0} MiB; the control group at most {group}, with files and compilers (dev build)",
        host.process.rss_mib()?,
        host.process.peak_rss_mib()?,
    );
    Ok(())
}

/// Applies documents as one List.
async fn apply_all(stage: &Stage, items: Vec<serde_json::Value>) -> Result<()> {
    apply_text(stage, &json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).await
}
