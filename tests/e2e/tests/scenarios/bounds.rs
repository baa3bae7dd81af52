//! What one module or one object may take of the host.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, greeting, message_of, script};
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

const NS: &str = "default";

/// A host that has compiled nothing yet.
async fn fresh(stage: &Stage, cache: &str, arguments: &[&str]) -> Result<Host> {
    let mut command = stage.command();
    command.args(arguments).env("BARTIZAN_CACHE_DIR", stage.path(cache));
    let command = without_cache_flag(command);
    stage.listening(command).await
}

/// The same command with the cache of its environment.
fn without_cache_flag(command: Command) -> Command {
    let mut other = Command::new(command.get_program());
    let mut arguments = command.get_args();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--cache-dir") => {
                arguments.next();
            }
            _ => {
                other.arg(argument);
            }
        }
    }
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => other.env(key, value),
            None => other.env_remove(key),
        };
    }
    other
}

async fn greeted(stage: &Stage) -> Result<()> {
    apply_text(stage, &greeting("hello", "world")).await?;
    wait_object(stage.api::<ConfigMap>(NS), "hello", "its greeting", SOON, |_: &ConfigMap| true).await?;
    Ok(())
}

#[tokio::test]
async fn a_compiler_that_is_killed_is_tried_again() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let mut host = fresh(&stage, "killed", &[]).await?;
    let pid = wait_for("the compiler", SOON, async || host.compiler()).await?;
    ensure!(Command::new("kill").args(["-9", &pid]).status()?.success(), "it ended before");
    let line = host.process.wait_for_line("module hello.wasm: ", SOON).await?;
    let expected = "the compiler was interrupted: it ended with signal: 9 (SIGKILL); it is tried again in 5 s";
    ensure!(line.contains(expected), "{line}");
    host.ready().await?;
    greeted(&stage).await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_module_that_takes_too_much_to_compile_is_refused_before_the_host_is_in_danger() -> Result<()> {
    let stage = Stage::start(&[Provider::Hello]).await?;
    let mut host = fresh(&stage, "small", &["--compile-memory=24Mi"]).await?;
    let line = host.process.wait_for_line("module hello.wasm: ", SOON).await?;
    ensure!(line.contains("could not be compiled with 25165824 bytes of memory"), "{line}");
    ensure!(host.process.exited()?.is_none(), "it ended");
    host.stop().await?;
    // deploy/base gives the compiler this much.
    let mut host = fresh(&stage, "large", &["--compile-memory=160Mi"]).await?;
    host.ready().await?;
    greeted(&stage).await?;
    host.stop().await?;
    stage.stop().await
}

#[tokio::test]
async fn a_parent_of_too_many_values_is_refused_and_takes_little_memory() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let host = stage.host().await?;
    let spec = |junk: Value| json!({"junk": junk, "answers": [{"answer": {"children": []}}]});
    apply_text(&stage, &script("light", &spec(json!([])))).await?;
    message_of(stage.scripts(NS), "light", "Synced", "True", "Applied").await?;
    let before = host.process.peak_rss_mib()?;
    let junk: Vec<Value> = std::iter::repeat_n(json!({"": 0}), 170_000).collect();
    for number in 0..5 {
        let name = format!("heavy-{number}");
        stage.kubectl(&["create", "-f", "-"], &script(&name, &spec(json!(junk)))).await?;
        let message = message_of(stage.scripts(NS), &name, "Synced", "False", "RequestTooLarge").await?;
        let expected = format!(
            "Script default/{name} has so many values that it would take more than 12 MiB of memory, the most that an object may take, \
             or is nested too deeply: give it fewer"
        );
        ensure!(message == expected, "{message}");
    }
    let after = host.process.peak_rss_mib()?;
    eprintln!("peak resident memory: {before:.0} MiB before, {after:.0} MiB after five parents of 1.2 MB (dev build)");
    ensure!(after - before < 100.0, "{before:.0} MiB before, {after:.0} MiB after");
    host.stop().await?;
    let mut host = stage.host().await?;
    let restarted = host.process.peak_rss_mib()?;
    ensure!(restarted - before < 100.0, "{before:.0} MiB before, {restarted:.0} MiB after a restart");
    // It heals.
    let patch = json!({"spec": {"junk": null}}).to_string();
    stage.kubectl(&["patch", "script", "heavy-0", "--type=merge", "-p", &patch], "").await?;
    message_of(stage.scripts(NS), "heavy-0", "Synced", "True", "Applied").await?;
    stage
        .kubectl(&["delete", "script", "heavy-1", "--wait=true", "--timeout=60s"], "")
        .await
        .context("it cannot be deleted")?;
    host.ready().await?;
    host.stop().await?;
    stage.stop().await
}
