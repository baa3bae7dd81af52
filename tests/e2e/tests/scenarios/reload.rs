//! A new version takes over between two reconciles of a parent: none fails, none is skipped, and killing the host
//! midway loses nothing.

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, greeting, message_of, patched, replace};
use bartizan_harness::wait::wait_for;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;

/// Parents that exist while a module is replaced over and over, and how many of them are edited each time.
const MANY: usize = 200;
const EDITED: usize = 20;
const RELOADS: usize = 50;
/// Parents where their number does not matter.
const FEW: usize = 20;

/// A version of the hello module.
fn version(stage: &Stage, number: usize) -> Result<Vec<u8>> {
    patched(&std::fs::read(stage.module(Provider::Hello)?)?, "Hello, ", &format!("Hi {number:02}, "))
}

/// So many Greetings with this name in their spec, as one document.
fn greetings(parents: usize, whom: &str) -> String {
    let each: Vec<String> = (0..parents).map(|number| greeting(&format!("g-{number}"), whom)).collect();
    each.join("\n---\n")
}

/// Waits until every child has the text of its number.
async fn wait_texts(stage: &Stage, parents: usize, text: impl Fn(usize) -> String) -> Result<()> {
    let api = stage.api::<ConfigMap>("default");
    wait_for(&format!("{}, and the others", text(0)), SOON, async || {
        let children = api.list(&ListParams::default()).await?.items;
        let shows = |number: usize| {
            let child = children.iter().find(|child| child.metadata.name.as_deref() == Some(&format!("g-{number}")));
            child.and_then(|child| child.data.as_ref()?.get("greeting").cloned())
        };
        Ok((0..parents).all(|number| shows(number).as_ref() == Some(&text(number))).then_some(()))
    })
    .await
}

async fn wait_text(stage: &Stage, text: &str) -> Result<()> {
    wait_texts(stage, FEW, |_| text.to_owned()).await
}

/// A sample of /metrics; 0 if there is none.
async fn metric(host: &Host, series: &str) -> Result<u64> {
    let (_, text) = host.get("/metrics").await?;
    let value = text.lines().find_map(|line| line.strip_prefix(series));
    Ok(value.and_then(|value| value.trim().parse().ok()).unwrap_or_default())
}

const FAILED: &str = "bartizan_reconciles_total{provider=\"hello\",result=\"failed\"}";
const SWAPS: &str = "bartizan_module_swaps_total{provider=\"hello\"}";

const TASKS: &str = "bartizan_tasks";
/// How much resident memory may grow between the fifth reload and the last: the allocator keeps freed memory.
const GROWTH_MIB: f64 = 48.0;

#[tokio::test]
async fn fifty_reloads_under_load_fail_or_skip_no_parent_and_leak_nothing() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let file = stage.providers().join("hello.wasm");
    let host = stage.host().await?;
    apply_text(&stage, &greetings(MANY, "0")).await?;
    wait_texts(&stage, MANY, |_| "Hello, 0!".to_owned()).await?;
    let mut early = None;
    for number in 1..=RELOADS {
        // Some parents are edited while the module is replaced.
        replace(&file, &version(&stage, number)?)?;
        apply_text(&stage, &greetings(EDITED, &number.to_string())).await?;
        let whom = |parent: usize| if parent < EDITED { number } else { 0 };
        wait_texts(&stage, MANY, |parent| format!("Hi {number:02}, {}!", whom(parent))).await?;
        ensure!(host.get("/readyz").await?.0 == 200, "not ready after reload {number}");
        if number == 5 {
            early = Some((host.process.rss_mib()?, metric(&host, TASKS).await?));
        }
    }
    let (rss, tasks) = early.context("no early look")?;
    let (rss_after, tasks_after) = (host.process.rss_mib()?, metric(&host, TASKS).await?);
    println!(
        "after 5 and {RELOADS} reloads: {rss:.0} and {rss_after:.0} MiB resident, {tasks} and {tasks_after} tasks"
    );
    ensure!(rss_after - rss < GROWTH_MIB, "{rss} MiB became {rss_after}");
    // Calls in flight at the moment of reading make a difference of a few.
    ensure!(tasks_after <= tasks + 5, "{tasks} tasks became {tasks_after}");
    // Compiled while the writes to the file settled.
    let ahead = host.process.lines().iter().filter(|line| line.contains("cached=true")).count();
    ensure!(ahead > 0, "no module was compiled ahead");
    ensure!(metric(&host, FAILED).await? == 0, "{} reconciles failed", metric(&host, FAILED).await?);
    ensure!(metric(&host, SWAPS).await? == RELOADS as u64, "{} swaps", metric(&host, SWAPS).await?);
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_version_that_cannot_start_yet_waits_while_the_old_one_serves() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let file = stage.providers().join("hello.wasm");
    let hello = std::fs::read(&file)?;
    let mut host = stage.host().await?;
    apply_text(&stage, &greetings(FEW, "0")).await?;
    wait_text(&stage, "Hello, 0!").await?;

    // Its kind is in another API group, which the cluster does not serve.
    replace(&file, &patched(&hello, "hello.bartizan.dev", "hallo.bartizan.dev")?)?;
    let message = message_of(stage.provider_objects(), "hello", "Loaded", "False", "NotReady").await?;
    let expected = "version 0.1.0 cannot start yet: waiting for CustomResourceDefinition greetings.hallo.bartizan.dev; version \
                    0.1.0 keeps serving";
    ensure!(message == expected, "{message}");
    message_of(stage.provider_objects(), "hello", "Serving", "True", "Serving").await?;
    host.ready().await?;
    apply_text(&stage, &greetings(FEW, "1")).await?;
    wait_text(&stage, "Hello, 1!").await?;

    // A different CRD text: the watches are set up anew, and no parent notices.
    let other = patched(&hello, "The name to greet", "The name to meet!")?;
    replace(&file, &patched(&other, "Hello, ", "Salut, ")?)?;
    wait_text(&stage, "Salut, 1!").await?;
    message_of(stage.provider_objects(), "hello", "Loaded", "True", "Loaded").await?;
    ensure!(metric(&host, FAILED).await? == 0, "{} reconciles failed", metric(&host, FAILED).await?);
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_host_killed_while_loading_restarts_with_the_newest_module() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let file = stage.providers().join("hello.wasm");
    let mut host = stage.host().await?;
    apply_text(&stage, &greetings(FEW, "0")).await?;
    wait_text(&stage, "Hello, 0!").await?;
    // Killed before the module was seen, once it was loaded, and once it took over.
    for (number, line) in [(1, None), (2, Some("loaded module=hello.wasm")), (3, Some("another version takes over"))] {
        let mark = host.process.mark();
        replace(&file, &version(&stage, number)?)?;
        if let Some(line) = line {
            host.process.wait_for_line_after(mark, line, SOON).await?;
        }
        host.kill().await?;
        host = stage.host().await?;
        wait_text(&stage, &format!("Hi {number:02}, 0!")).await?;
    }
    // A half-written module is ignored by a host that starts, too.
    host.kill().await?;
    let whole = version(&stage, 4)?;
    std::fs::write(&file, &whole[..whole.len() / 2])?;
    host = stage.host().await?;
    apply_text(&stage, &greetings(FEW, "1")).await?;
    wait_text(&stage, "Hi 03, 1!").await?;
    std::fs::write(&file, &whole)?;
    wait_text(&stage, "Hi 04, 1!").await?;
    wait_for("its status", SOON, async || {
        let message = message_of(stage.provider_objects(), "hello", "Loaded", "True", "Loaded").await?;
        Ok((message == "the module was loaded").then_some(()))
    })
    .await?;
    host.stop().await?;
    stage.stop().await
}
