//! Whatever tenants, authors and administrators do to a host that it should not mind.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, fault, message_of, script};
use bartizan_harness::wait::{wait_for, wait_object};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{apply_all, modules};

/// The parents that misbehave: how, and how many of them.
const POISON: [(&str, usize); 6] =
    [("Trap", 100), ("Loop", 2), ("Allocate", 2), ("Large", 4), ("Many", 2), ("Flip", 2)];
/// Time between two writes of the other client.
const FIGHT: Duration = Duration::from_millis(100);
/// Forged children: of a parent that there is, and of one that there is not, each almost as large as the API server allows.
const FORGED: [usize; 2] = [9, 60];
const FORGED_BYTES: usize = 900_000;

/// Puts files into the folder that no host can use, and modules that take more than a compiler may have.
pub(super) fn modules(stage: &Stage) -> Result<()> {
    let folder = stage.providers();
    let (hello, scripted) = (std::fs::read(stage.module(Provider::Hello)?)?, stage.module(Provider::Scripted)?);
    std::fs::write(folder.join("hello (1).wasm"), &hello)?;
    std::fs::copy(scripted, folder.join("scripted-copy.wasm"))?;
    std::fs::write(folder.join("garbage.wasm"), vec![b'x'; 1 << 20])?;
    std::fs::write(folder.join("fat.wasm"), modules::with_functions(&hello, 600, 5000)?)?;
    Ok(())
}

/// Kills a compiler once. There is always one at first, since nothing is compiled yet.
pub(super) async fn kill_a_compiler(host: &Host) -> Result<()> {
    let pid = wait_for("a compiler", SOON, async || host.compiler()).await?;
    // It may have ended by now.
    Command::new("kill").args(["-9", &pid]).status().context("kill cannot be run")?;
    Ok(())
}

/// Parents that crash, loop, take too much, or are too heavy.
pub(super) async fn parents(stage: &Stage) -> Result<()> {
    let mut poison = Vec::new();
    for (how, count) in POISON {
        for number in 0..count {
            let mut fault: Value = serde_json::from_str(&fault(&format!("{}-{number}", how.to_lowercase()), how))?;
            fault["metadata"]["namespace"] = "poison".into();
            poison.push(fault);
        }
    }
    apply_all(stage, poison).await?;
    let junk: Vec<Value> = std::iter::repeat_n(json!({"": 0}), 170_000).collect();
    for number in 0..5 {
        let spec = json!({"junk": junk, "answers": [{"answer": {"children": []}}]});
        stage.kubectl(&["create", "-f", "-"], &script(&format!("poison/heavy-{number}"), &spec)).await?;
    }
    // A large child, and a status that no etcd takes.
    let large = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"}, "data": {"x": "y".repeat(FORGED_BYTES)}});
    let spec = json!({"answers": [{"answer": {"children": [{"object": large}]}}]});
    stage.kubectl(&["create", "-f", "-"], &script("poison/large", &spec)).await?;
    message_of(stage.scripts("poison"), "heavy-4", "Synced", "False", "RequestTooLarge").await?;
    Ok(())
}

/// Children that a stranger made for a parent, and for one that does not exist.
pub(super) async fn forge(stage: &Stage) -> Result<()> {
    let victim = stage.greetings_in(super::edits::NAMESPACE).get("edited-0").await?.metadata.uid.context("no UID")?;
    let owners = [victim, "00000000-0000-4000-8000-000000000000".to_owned()];
    let forged = owners.iter().zip(FORGED).flat_map(|(owner, count)| (0..count).map(move |number| (owner, number)));
    let api = stage.api::<ConfigMap>("forged");
    let created = stream::iter(forged).map(|(owner, number)| {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": format!("{}-{number}", &owner[..4]),
                "labels": {PROVIDER_LABEL: Provider::Hello.name(), OWNER_UID_LABEL: owner},
            },
            "data": {"x": "y".repeat(FORGED_BYTES)},
        });
        let api = api.clone();
        async move {
            let object: ConfigMap = serde_json::from_value(object)?;
            api.create(&PostParams::default(), &object).await.context("a forged child could not be created")?;
            anyhow::Ok(())
        }
    });
    created.buffer_unordered(4).try_collect().await
}

/// Another client that changes a child all the time.
pub(super) async fn fight(stage: &Stage) -> Result<JoinHandle<()>> {
    let greeting = json!({
        "apiVersion": "hello.bartizan.dev/v1alpha1", "kind": "Greeting",
        "metadata": {"name": "fought", "namespace": "poison"}, "spec": {"name": "fought"},
    });
    apply_text(stage, &greeting.to_string()).await?;
    let api = stage.api::<ConfigMap>("poison");
    wait_object(api.clone(), "fought", "its child", SOON, |_| true).await?;
    Ok(tokio::spawn(async move {
        for count in 0_u64.. {
            let patch = json!({"data": {"greeting": format!("no {count}")}});
            // A write that fails is one that the host has won.
            let _ = api.patch("fought", &PatchParams::apply("fighter"), &Patch::Merge(patch)).await;
            tokio::time::sleep(FIGHT).await;
        }
    }))
}
