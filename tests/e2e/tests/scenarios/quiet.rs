//! At rest the host sends no requests, and a restart finds nothing to do.

use std::time::Duration;

use anyhow::{Result, ensure};
use bartizan_e2e::{Provider, SOON, Stage, apply_text, fault, greeting, message_of, store};
use bartizan_harness::wait::wait_object;
use bartizan_harness::{AuditMark, AuditRequest};
use kube::core::DynamicObject;
use serde_json::json;

/// How long no request may follow: the goal.
const QUIET: Duration = Duration::from_secs(30);

/// Parents, and how long no request may follow for them: the goal of the reconcile core.
const MANY: usize = 100;
const MANY_QUIET: Duration = Duration::from_secs(60);

/// How long a restarted host is watched after it is ready.
const SETTLED: Duration = Duration::from_secs(5);

/// Stores that have converged, of all sorts: generated keys, inline keys, and one that is held.
async fn converged(stage: &Stage) -> Result<()> {
    let inline = json!({"accessKey": "somebody", "secretKey": "some secret"});
    apply_text(stage, &store("default", "one", &json!({"scope": {"nodeCount": 4}}))).await?;
    apply_text(stage, &store("default", "two", &json!({"scope": {"nodeCount": 4}, "credentials": inline}))).await?;
    apply_text(stage, &store("default", "held", &json!({"scope": {"nodeCount": 3}}))).await?;
    apply_text(stage, &greeting("hello", "world")).await?;
    apply_text(stage, &fault("failed", "Failure")).await?;
    apply_text(stage, &fault("held", "Hold")).await?;
    // It is called again every second, and after a backoff; its answer is known.
    apply_text(stage, &fault("retried", "Retry")).await?;
    apply_text(stage, &fault("crashed", "Trap")).await?;
    stage.wait_ready("default", "one").await?;
    stage.wait_ready("default", "two").await?;
    message_of(stage.stores("default"), "held", "Synced", "False", "Held").await?;
    message_of(stage.greetings(), "hello", "Synced", "True", "Applied").await?;
    message_of(stage.faults(), "failed", "Synced", "False", "Invalid").await?;
    message_of(stage.faults(), "held", "Synced", "False", "Held").await?;
    message_of(stage.faults(), "retried", "Synced", "False", "ProviderFailed").await?;
    message_of(stage.faults(), "crashed", "Synced", "False", "ProviderCrashed").await?;
    // The status of the Providers follows a little later.
    for (provider, parents) in [("minio", 3), ("hello", 1), ("faulty", 4)] {
        let counted = |object: &DynamicObject| object.data["status"]["parents"] == parents;
        wait_object(stage.provider_objects(), provider, "its parents counted", SOON, counted).await?;
    }
    Ok(())
}

#[tokio::test]
async fn after_convergence_only_watches_are_open_for_30_seconds() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio, Provider::Hello, Provider::Faulty]).await?;
    let host = stage.host().await?;
    converged(&stage).await?;
    let mark = stage.mark()?;
    tokio::time::sleep(QUIET).await;
    let requests = stage.requests_since(mark)?;
    let others: Vec<&AuditRequest> = requests.iter().filter(|request| !request.is_watch()).collect();
    ensure!(others.is_empty(), "{} requests at rest: {others:#?}", others.len());
    // A watch that is opened again and again would be a loop: each watch lasts for minutes.
    ensure!(requests.len() <= 12, "{} watches opened at rest: {requests:#?}", requests.len());
    host.stop().await?;
    // Everything that it did so far was allowed: the rights in deploy/ suffice.
    let all = stage.requests_since(AuditMark::default())?;
    let refused: Vec<&AuditRequest> = all.iter().filter(|request| matches!(request.code, Some(401 | 403))).collect();
    ensure!(refused.is_empty(), "not allowed: {refused:#?}");
    stage.stop().await
}

#[tokio::test]
async fn with_100_converged_parents_only_watches_are_open_for_60_seconds() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let host = stage.host().await?;
    let names: Vec<String> = (0..MANY).map(|number| format!("hello-{number}")).collect();
    let documents: Vec<String> = names.iter().map(|name| greeting(name, "world")).collect();
    apply_text(&stage, &documents.join("\n---\n")).await?;
    for name in &names {
        message_of(stage.greetings(), name, "Synced", "True", "Applied").await?;
    }
    // The events of the host's own last writes arrive within this time, and must be recognised.
    tokio::time::sleep(SETTLED).await;
    let (before, mark) = (stage.snapshot("default", "").await?, stage.mark()?);
    tokio::time::sleep(MANY_QUIET).await;
    let requests = stage.requests_since(mark)?;
    let others: Vec<&AuditRequest> = requests.iter().filter(|request| !request.is_watch()).collect();
    ensure!(others.is_empty(), "{} requests at rest: {others:#?}", others.len());
    ensure!(requests.len() <= 8, "{} watches opened at rest: {requests:#?}", requests.len());
    ensure!(stage.snapshot("default", "").await? == before, "objects changed at rest");
    host.stop().await?;
    // For each parent its child and its status are written once; a race may cost one more attempt.
    let all = stage.requests_since(AuditMark::default())?;
    let writes = all.iter().filter(|request| request.is_write() && !is_own(request)).count();
    eprintln!("{writes} writes for {MANY} parents");
    ensure!((2 * MANY..2 * MANY + 10).contains(&writes), "{writes} writes for {MANY} parents");
    stage.stop().await
}

/// What the host writes for itself: its key, and the status of its Providers.
fn is_own(request: &AuditRequest) -> bool {
    ["secrets", "providers"].contains(&request.resource.as_str())
}

#[tokio::test]
async fn a_restart_over_converged_parents_writes_nothing() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio, Provider::Hello, Provider::Faulty]).await?;
    let host = stage.host().await?;
    converged(&stage).await?;
    host.stop().await?;

    let before = stage.snapshot("default", "").await?;
    let mark = stage.mark()?;
    let host = stage.host().await?;
    // All parents are due at once, and each takes milliseconds.
    tokio::time::sleep(SETTLED).await;
    host.stop().await?;
    let requests = stage.requests_since(mark)?;
    let strange: Vec<&AuditRequest> = requests.iter().filter(|request| request.is_write()).collect();
    ensure!(strange.is_empty(), "a restart wrote: {strange:#?}");
    let after = stage.snapshot("default", "").await?;
    ensure!(after == before, "objects changed:\n{before:#?}\n{after:#?}");
    stage.stop().await
}

/// Compilation runs in another process, with memory of its own.
#[tokio::test]
async fn the_host_with_one_provider_stays_within_its_memory_goal() -> Result<()> {
    let stage = Stage::start(&[Provider::Minio]).await?;
    let host = stage.host().await?;
    let started = host.process.rss_mib()?;
    apply_text(&stage, &store("default", "one", &json!({"scope": {"nodeCount": 4}}))).await?;
    stage.wait_ready("default", "one").await?;
    let (now, peak) = (host.process.rss_mib()?, host.process.peak_rss_mib()?);
    eprintln!(
        "resident memory with minio: {started:.0} MiB at the start, {now:.0} MiB with a store, {peak:.0} MiB at most (dev build)"
    );
    ensure!(peak < 60.0, "{peak:.0} MiB");
    host.stop().await?;

    // Already compiled, the module comes from the cache.
    let host = stage.host().await?;
    let cached = host.process.rss_mib()?;
    eprintln!("resident memory with minio from the cache: {cached:.0} MiB (dev build)");
    ensure!(cached < 60.0, "{cached:.0} MiB");
    host.stop().await?;
    stage.stop().await
}
