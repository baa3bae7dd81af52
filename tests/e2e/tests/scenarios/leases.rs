//! Two hosts at once: one works, the other stands by and writes nothing; also if they have different versions of a module.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Host, NAMESPACE, Provider, SOON, Stage, apply_text, message_of, patched, replace, script};
use bartizan_harness::wait::{wait_for, wait_object};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::json;

const NS: &str = "default";
/// Longer than a lease lasts.
const EXPIRED: Duration = Duration::from_secs(12);

fn spec(text: &str) -> serde_json::Value {
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": {"text": text}});
    json!({"answers": [{"answer": {"children": [{"object": object}]}}]})
}

/// A host with this identity on a folder of modules.
async fn host(stage: &Stage, identity: &str, folder: &std::path::Path) -> Result<Host> {
    let mut command = stage.plain_command();
    command.arg("--trust-manifests").arg("--providers").arg(folder).env("BARTIZAN_IDENTITY", identity);
    stage.listening(command).await
}

async fn edit(stage: &Stage, text: &str) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": spec(text)}));
    stage.scripts(NS).patch("one", &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn shared(stage: &Stage, text: &str) -> Result<ConfigMap> {
    let has_text =
        |map: &ConfigMap| map.data.as_ref().is_some_and(|data| data.get("text").is_some_and(|is| is == text));
    wait_object(stage.api::<ConfigMap>(NS), "shared", &format!("text {text:?}"), SOON, has_text).await
}

/// Waits until a host says that it stands by while the other one leads.
async fn stands_by(host: &Host, leader: &str) -> Result<()> {
    let text = format!("[+]leader-election standing by: {leader} leads\nreadyz check passed\n");
    let probe = async || match host.get("/readyz").await? {
        (200, body) if body == text => Ok(Some(())),
        (code, body) => anyhow::bail!("{code}: {body}"),
    };
    wait_for("a standby", SOON, probe).await?;
    let (code, body) = host.get("/debug/explain?kind=script&name=one").await?;
    ensure!(code == 503 && body == format!("this host stands by: {leader} leads\n"), "{code}: {body}");
    ensure!(!leads(host).await?, "the standby says that it leads");
    Ok(())
}

async fn leads(host: &Host) -> Result<bool> {
    let (_, metrics) = host.get("/metrics").await?;
    Ok(metrics.lines().any(|line| line == "leader_election_master_status{name=\"bartizan\"} 1"))
}

async fn wait_leads(host: &Host) -> Result<()> {
    wait_for("the standby to lead", SOON, async || Ok(leads(host).await?.then_some(()))).await
}

#[tokio::test]
async fn of_two_hosts_one_works_and_the_other_takes_over() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let other = stage.path("other");
    std::fs::create_dir(&other)?;
    // Another version, which answers the same.
    let module = std::fs::read(stage.module(Provider::Scripted)?)?;
    replace(&other.join("scripted.wasm"), &patched(&module, "scripting-edition-1", "scripting-edition-2")?)?;
    let mut first = host(&stage, "first", &stage.providers()).await?;
    first.ready().await?;
    apply_text(&stage, &script("one", &spec("one"))).await?;
    shared(&stage, "one").await?;

    let second = host(&stage, "second", &other).await?;
    stands_by(&second, "first").await?;
    a_standby_writes_nothing(&stage).await?;
    // One that is stopped gives the lease back: nobody waits until it expires.
    first.stop().await?;
    wait_leads(&second).await?;
    edit(&stage, "two").await?;
    shared(&stage, "two").await?;

    a_host_that_was_asleep_stands_by_when_it_wakes(&stage, second).await?;
    stage.stop().await
}

/// The version that serves is that of the host that leads, and stays so.
async fn a_standby_writes_nothing(stage: &Stage) -> Result<()> {
    message_of(stage.scripts(NS), "one", "Synced", "True", "Applied").await?;
    let is_counted = |provider: &DynamicObject| provider.data["status"]["parents"] == 1;
    wait_object(stage.provider_objects(), "scripted", "its parent counted", SOON, is_counted).await?;
    let before = stage.provider_objects().get("scripted").await?.resource_version();
    let mark = stage.mark()?;
    tokio::time::sleep(EXPIRED).await;
    let writes = stage.writes_since(mark)?;
    ensure!(writes.is_empty(), "{writes:?}");
    let after = stage.provider_objects().get("scripted").await?.resource_version();
    ensure!(before == after, "the Provider was written");
    Ok(())
}

async fn a_host_that_was_asleep_stands_by_when_it_wakes(stage: &Stage, mut sleeper: Host) -> Result<()> {
    let mut third = host(stage, "third", &stage.providers()).await?;
    stands_by(&third, "second").await?;
    sleeper.process.sigstop()?;
    wait_leads(&third).await?;
    third.ready().await?;
    edit(stage, "three").await?;
    let written = shared(stage, "three").await?;
    message_of(stage.scripts(NS), "one", "Synced", "True", "Applied").await?;
    let mark = sleeper.process.mark();
    sleeper.process.sigcont()?;
    let line = sleeper.process.wait_for_line_after(mark, "was lost", SOON).await?;
    ensure!(line.contains("Lease bartizan-system/bartizan was lost: it was not renewed for 7 s"), "{line}");
    stands_by(&sleeper, "third").await?;
    let now = stage.api::<ConfigMap>(NS).get("shared").await?;
    ensure!(now.resource_version() == written.resource_version(), "it wrote when it woke");
    // What was killed gives nothing back; a process of the same identity need not wait.
    third.kill().await?;
    let mut again = host(stage, "third", &stage.providers()).await?;
    again.ready().await?;
    let leader = wait_leads(&again).await;
    leader.context("the process with the identity of the one that was killed")?;
    again.kill().await?;
    wait_leads(&sleeper).await?;
    edit(stage, "four").await?;
    shared(stage, "four").await?;
    sleeper.stop().await
}

#[tokio::test]
async fn a_host_that_may_not_have_the_lease_is_not_ready_and_says_why() -> Result<()> {
    let stage = Stage::start(&[Provider::Scripted]).await?;
    let role = stage.kubectl(&["get", "role", "bartizan", "-n", NAMESPACE, "-o", "json"], "").await?;
    let role: serde_json::Value = serde_json::from_str(&role)?;
    let rules = role["rules"].as_array().context("no rules")?;
    let without: Vec<_> = rules.iter().filter(|rule| rule["resources"] != json!(["leases"])).collect();
    let set = async |rules: serde_json::Value| {
        let patch = json!({"rules": rules}).to_string();
        stage.kubectl(&["patch", "role", "bartizan", "-n", NAMESPACE, "--type=merge", "-p", &patch], "").await
    };
    set(json!(without)).await?;
    let mut host = stage.listening(stage.command()).await?;
    let probe = async || match host.get("/readyz").await? {
        (503, body) if body.contains("[-]leader-election: Lease bartizan-system/bartizan could not be read: ") => {
            Ok(Some(body))
        }
        (code, body) => anyhow::bail!("{code}: {body}"),
    };
    let said = wait_for("the reason", SOON, probe).await?;
    ensure!(said.contains("forbidden"), "{said}");
    set(json!(rules)).await?;
    host.ready().await?;
    host.stop().await?;
    stage.stop().await
}
