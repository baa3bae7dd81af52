//! A provider that misbehaves harms only its own parent.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, condition, fault, greeting, message_of};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use serde_json::Value;

/// The fault, the reason of `Synced=False`, the condition that says whether it is retried, and the message.
const FAULTS: [(&str, &str, &str, &str); 14] = [
    (
        "Trap",
        "ProviderCrashed",
        "Reconciling",
        "the provider crashed (wasm `unreachable` instruction executed); this is a bug in the provider: report it to \
         its author; it last logged: the parent asked for a trap",
    ),
    (
        "Loop",
        "ProviderTimedOut",
        "Reconciling",
        "the provider did not answer within 1s and was stopped; raise limits.timeout, or ask its author",
    ),
    ("Allocate", "ProviderOutOfMemory", "Reconciling", OUT_OF_MEMORY),
    ("Huge", "ProviderOutOfMemory", "Reconciling", OUT_OF_MEMORY),
    (
        "Large",
        "ResponseTooLarge",
        "Reconciling",
        "the provider's response is larger than 4Mi; raise limits.responseBytes, or ask its author",
    ),
    (
        "Garbage",
        "Refused",
        "Reconciling",
        "The answer of provider faulty was refused: response: expected ident at line 1 column 2",
    ),
    (
        "UnknownField",
        "Refused",
        "Reconciling",
        "The answer of provider faulty was refused: response.childern: unknown field `childern`, expected one of \
         `apiVersion`, `kind`, `children`, `keep`, `hold`, `status`, `events`, `resyncAfterSeconds`, `finalized`, \
         `related`, `generate` at line 1 column 57",
    ),
    (
        "WrongKind",
        "Refused",
        "Reconciling",
        "The answer of provider faulty was refused: response.children[0].object: Secret.v1 was not granted to provider \
         faulty; it may write ConfigMap.v1",
    ),
    (
        "Unasked",
        "Refused",
        "Reconciling",
        "The answer of provider faulty was refused: response.finalized: is valid only in the answer to a request \
         with finalizing=true",
    ),
    ("Failure", "Invalid", "Stalled", "spec.how: asks for a failure"),
    ("Retry", "ProviderFailed", "Reconciling", "asks to be tried again"),
    ("Wrong", "Invalid", "Stalled", "spec.how: \"Wrong\" is no way to fail that this provider knows"),
    ("Hold", "Held", "", "The provider set hold: nothing is applied or pruned until it answers without it"),
    ("Flood", "", "", "All children match the desired state"),
];
const OUT_OF_MEMORY: &str =
    "the provider needs more than its 64Mi of memory and was stopped; raise limits.memory, or ask its author";

/// Four reconciles of a provider run at the same time, each with at most 64 MiB of guest memory, and a response is
/// copied out of it. What the host retains after that is not the guest's.
const MOST_MORE_AT_THE_PEAK: f64 = 4.0 * 64.0 + 64.0;

#[tokio::test]
async fn each_fault_has_its_own_condition_and_harms_no_other_provider() -> Result<()> {
    let stage = Stage::start(&[Provider::Faulty, Provider::Hello]).await?;
    let host = stage.host().await?;
    let name = |how: &str| how.to_lowercase();
    // Each parent has a child first, which must survive.
    for (how, ..) in FAULTS {
        apply_text(&stage, &fault(&name(how), "None")).await?;
    }
    for (how, ..) in FAULTS {
        message_of(stage.faults(), &name(how), "Synced", "True", "Applied").await?;
    }
    let labelled = ListParams::default().labels("bartizan.dev/provider=faulty");
    let children = stage.api::<ConfigMap>("default").list(&labelled).await?.items;
    ensure!(children.len() == FAULTS.len(), "{} children", children.len());
    let before = host.process.rss_mib()?;

    for (how, ..) in FAULTS {
        apply_text(&stage, &fault(&name(how), how)).await?;
    }
    another_provider_carries_on(&stage, "meanwhile").await?;
    for (how, reason, retried, expected) in FAULTS {
        its_condition_is(&stage, &name(how), reason, retried, expected).await?;
    }
    another_provider_carries_on(&stage, "afterwards").await?;
    let after = host.process.rss_mib()?;
    let peak = host.process.peak_rss_mib()?;
    eprintln!("resident memory: {before:.0} MiB before, {peak:.0} MiB at most, {after:.0} MiB after (dev build)");
    ensure!(peak < before + MOST_MORE_AT_THE_PEAK, "{before:.0} MiB before, {peak:.0} MiB at the peak");
    // The children of failing parents were not touched.
    for child in &children {
        let name = child.metadata.name.as_deref().unwrap_or_default();
        if name == "flood-ok" {
            continue;
        }
        let now = stage.api::<ConfigMap>("default").get(name).await?;
        ensure!(now.metadata.resource_version == child.metadata.resource_version, "{name} was touched");
    }
    the_log_is_bounded(&host)?;

    for (how, ..) in FAULTS {
        apply_text(&stage, &fault(&name(how), "None")).await?;
    }
    for (how, ..) in FAULTS {
        // An edit is served at once, however long the backoff has become.
        let message = message_of(stage.faults(), &name(how), "Synced", "True", "Applied").await?;
        ensure!(message == "All children match the desired state", "{how}: {message}");
        let healed = stage.faults().get(&name(how)).await?;
        for gone in ["Reconciling", "Stalled"] {
            ensure!(condition(&healed, gone).is_none(), "{how}: {}", healed.data["status"]);
        }
    }
    host.stop().await?;
    stage.stop().await
}

async fn its_condition_is(stage: &Stage, name: &str, reason: &str, retried: &str, expected: &str) -> Result<()> {
    let (status, reason) = if reason.is_empty() { ("True", "Applied") } else { ("False", reason) };
    let message = message_of(stage.faults(), name, "Synced", status, reason).await?;
    ensure!(message == expected, "{name}: {message}");
    let object = stage.faults().get(name).await?;
    for type_ in ["Reconciling", "Stalled"] {
        let message = condition(&object, type_).map_or(&Value::Null, |condition| &condition["message"]);
        let wanted = if type_ == retried { Value::from(expected) } else { Value::Null };
        ensure!(*message == wanted, "{name}: {type_} says {message}, not {wanted}");
    }
    Ok(())
}

/// A new Greeting becomes a ConfigMap, and a changed one changes it.
async fn another_provider_carries_on(stage: &Stage, name: &str) -> Result<()> {
    for whom in ["world", "moon"] {
        let started = Instant::now();
        apply_text(stage, &greeting(name, whom)).await?;
        let expected = format!("Hello, {whom}!");
        wait_object(stage.api::<ConfigMap>("default"), name, &expected, SOON, |map| {
            map.data.as_ref().and_then(|data| data.get("greeting")) == Some(&expected)
        })
        .await?;
        let took = started.elapsed();
        eprintln!("a greeting took {took:?} with kubectl");
        // kubectl alone takes half a second; the limit is far below one timeout per call of the looping provider.
        ensure!(took < Duration::from_secs(10), "another provider had to wait {took:?}");
    }
    Ok(())
}

/// A call may log 256 lines; the rest is dropped.
fn the_log_is_bounded(host: &Host) -> Result<()> {
    let lines = host.process.lines();
    let flood: Vec<&String> = lines.iter().filter(|line| line.contains("of a flood")).collect();
    ensure!(flood.iter().any(|line| line.contains("line 0 of a flood")), "nothing of the flood was logged");
    ensure!(!flood.iter().any(|line| line.contains("line 256 of a flood")), "{} lines of a flood", flood.len());
    Ok(())
}
