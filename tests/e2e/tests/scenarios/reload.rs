//! A new version takes over between two reconciles of each parent: none fails, none is skipped, and who ends the host in the middle
//! loses nothing.

use anyhow::{Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, greeting, message_of, patched, replace};
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::core::v1::ConfigMap;

const PARENTS: usize = 20;
const RELOADS: usize = 10;

/// A version of the hello module.
fn version(stage: &Stage, number: usize) -> Result<Vec<u8>> {
    patched(&std::fs::read(stage.module(Provider::Hello)?)?, "Hello, ", &format!("Hi {number:02}, "))
}

/// Greetings of everybody by name, as one document.
fn crowd(whom: &str) -> String {
    let each: Vec<String> = (0..PARENTS).map(|number| greeting(&format!("g-{number}"), whom)).collect();
    each.join("\n---\n")
}

/// Waits until every child says this.
async fn all_say(stage: &Stage, text: &str) -> Result<()> {
    for number in 0..PARENTS {
        let said =
            |child: &ConfigMap| child.data.as_ref().and_then(|data| data.get("greeting")).is_some_and(|it| it == text);
        wait_object(stage.api::<ConfigMap>("default"), &format!("g-{number}"), text, SOON, said).await?;
    }
    Ok(())
}

/// A line of /metrics; 0 if there is none.
async fn metric(host: &Host, series: &str) -> Result<u64> {
    let (_, text) = host.get("/metrics").await?;
    let value = text.lines().find_map(|line| line.strip_prefix(series));
    Ok(value.and_then(|value| value.trim().parse().ok()).unwrap_or_default())
}

const FAILED: &str = "bartizan_reconciles_total{provider=\"hello\",result=\"failed\"}";
const SWAPS: &str = "bartizan_module_swaps_total{provider=\"hello\"}";

#[tokio::test]
async fn a_module_that_is_replaced_ten_times_under_load_fails_and_skips_no_parent() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let file = stage.providers().join("hello.wasm");
    let host = stage.host().await?;
    apply_text(&stage, &crowd("0")).await?;
    all_say(&stage, "Hello, 0!").await?;
    for number in 1..=RELOADS {
        // The parents are edited while the module is replaced.
        replace(&file, &version(&stage, number)?)?;
        apply_text(&stage, &crowd(&number.to_string())).await?;
        all_say(&stage, &format!("Hi {number:02}, {number}!")).await?;
        ensure!(host.get("/readyz").await?.0 == 200, "not ready after reload {number}");
    }
    ensure!(metric(&host, FAILED).await? == 0, "{} reconciles failed", metric(&host, FAILED).await?);
    ensure!(metric(&host, SWAPS).await? == RELOADS as u64, "{} swaps", metric(&host, SWAPS).await?);
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_version_that_cannot_start_yet_waits_while_the_old_one_serves_and_then_takes_over() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let file = stage.providers().join("hello.wasm");
    let hello = std::fs::read(&file)?;
    let mut host = stage.host().await?;
    apply_text(&stage, &crowd("0")).await?;
    all_say(&stage, "Hello, 0!").await?;

    // Its kind is of another group, which the cluster does not know.
    replace(&file, &patched(&hello, "hello.bartizan.dev", "hallo.bartizan.dev")?)?;
    let message = message_of(stage.provider_objects(), "hello", "Loaded", "False", "NotReady").await?;
    let expected = "version 0.1.0 cannot start yet: waiting for CustomResourceDefinition greetings.hallo.bartizan.dev; version \
                    0.1.0 keeps serving";
    ensure!(message == expected, "{message}");
    message_of(stage.provider_objects(), "hello", "Serving", "True", "Serving").await?;
    host.ready().await?;
    apply_text(&stage, &crowd("1")).await?;
    all_say(&stage, "Hello, 1!").await?;

    // Another text in its CRD: what is watched is set up anew, and no parent notices.
    let other = patched(&hello, "The name to greet", "The name to meet!")?;
    replace(&file, &patched(&other, "Hello, ", "Salut, ")?)?;
    all_say(&stage, "Salut, 1!").await?;
    message_of(stage.provider_objects(), "hello", "Loaded", "True", "Loaded").await?;
    ensure!(metric(&host, FAILED).await? == 0, "{} reconciles failed", metric(&host, FAILED).await?);
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_host_killed_while_it_loads_goes_on_with_the_newest_module() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let file = stage.providers().join("hello.wasm");
    let mut host = stage.host().await?;
    apply_text(&stage, &crowd("0")).await?;
    all_say(&stage, "Hello, 0!").await?;
    // Before it was seen; once it was loaded; once it took over.
    for (number, line) in [(1, None), (2, Some("loaded module=hello.wasm")), (3, Some("another version takes over"))] {
        let mark = host.process.mark();
        replace(&file, &version(&stage, number)?)?;
        if let Some(line) = line {
            host.process.wait_for_line_after(mark, line, SOON).await?;
        }
        host.kill().await?;
        host = stage.host().await?;
        all_say(&stage, &format!("Hi {number:02}, 0!")).await?;
    }
    // A half-written one is left alone by the host that starts, too.
    host.kill().await?;
    let whole = version(&stage, 4)?;
    std::fs::write(&file, &whole[..whole.len() / 2])?;
    host = stage.host().await?;
    apply_text(&stage, &crowd("1")).await?;
    all_say(&stage, "Hi 03, 1!").await?;
    std::fs::write(&file, &whole)?;
    all_say(&stage, "Hi 04, 1!").await?;
    wait_for("its status", SOON, async || {
        let message = message_of(stage.provider_objects(), "hello", "Loaded", "True", "Loaded").await?;
        Ok((message == "the module was loaded").then_some(()))
    })
    .await?;
    host.stop().await?;
    stage.stop().await
}
