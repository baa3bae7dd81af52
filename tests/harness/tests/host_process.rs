//! The wrapper around the host's process, with a shell instead of the host.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use bartizan_harness::HostProcess;

const SOON: Duration = Duration::from_secs(20);

fn shell(script: &str, folder: &tempfile::TempDir) -> Result<HostProcess> {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    HostProcess::spawn(command, folder.path().join("log"))
}

#[tokio::test]
async fn lines_of_both_streams_are_found_and_kept() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut process = shell("echo one; echo two >&2; exec sleep 1000", &folder)?;
    ensure!(process.wait_for_line("two", SOON).await? == "two");
    ensure!(process.wait_for_line("on", SOON).await? == "one");
    let missing = process.wait_for_line("three", Duration::from_millis(50)).await;
    let error = missing.err().context("found what was not printed")?.to_string();
    ensure!(error.contains("it runs") && error.contains("two"), "{error}");
    ensure!(std::fs::read_to_string(process.log())?.contains("one\n"));
    ensure!(process.rss_mib()? > 0.1 && process.peak_rss_mib()? >= process.rss_mib()?);
    Ok(())
}

#[tokio::test]
async fn an_early_exit_is_reported_with_its_status_and_output() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut process = shell("echo no such folder >&2; exit 2", &folder)?;
    let ready = process.wait_for_line("ready", SOON).await;
    let error = ready.err().context("it was never ready")?.to_string();
    ensure!(error.contains("ended") && error.contains("no such folder"), "{error}");
    ensure!(process.wait_exit(SOON).await?.code() == Some(2));
    Ok(())
}

#[tokio::test]
async fn signals_are_delivered_and_lines_after_a_mark_are_new() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let script = "trap 'echo stopping; exit 0' TERM; echo up; while :; do sleep 0.01; echo tick; done";
    let mut process = shell(script, &folder)?;
    process.wait_for_line("up", SOON).await?;
    process.sigstop()?;
    let frozen = process.wait_exit(Duration::from_millis(100)).await;
    ensure!(frozen.is_err(), "it ended while it was stopped");
    process.sigcont()?;
    let mark = process.mark();
    process.wait_for_line_after(mark, "tick", SOON).await?;
    process.sigterm()?;
    ensure!(process.wait_exit(SOON).await?.success());
    ensure!(process.lines().last().is_some_and(|line| line == "stopping"));
    // The id may be another process's now: signals are not sent.
    process.sigkill()
}
