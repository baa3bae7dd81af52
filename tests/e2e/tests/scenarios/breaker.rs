//! A provider that fails for every parent is not called for each of them over and over: it trips its own breaker, and
//! no other.

use anyhow::{Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, condition, fault, greeting, message_of};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::DynamicObject;
use serde_json::{Value, json};

/// More parents than it takes to open a breaker.
const PARENTS: usize = 6;

async fn apply_faults(stage: &Stage, how: &str) -> Result<()> {
    for number in 0..PARENTS {
        apply_text(stage, &fault(&format!("f{number}"), how)).await?;
    }
    Ok(())
}

async fn breaker_is(host: &Host, provider: &str, open: u8) -> Result<()> {
    let (_, metrics) = host.get("/metrics").await?;
    let expected = format!("bartizan_breaker_open{{provider=\"{provider}\",calls=\"serve\"}} {open}\n");
    ensure!(metrics.contains(&expected), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn a_provider_that_crashes_for_all_parents_trips_only_its_own_breaker() -> Result<()> {
    let stage = Stage::start(&[Provider::Faulty, Provider::Hello]).await?;
    let mut host = stage.host().await?;
    apply_faults(&stage, "Trap").await?;
    let message = message_of(stage.provider_objects(), "faulty", "Serving", "False", "BreakerOpen").await?;
    let expected = "no answer for 5 parents in a row; others wait until it answers for one, which is retried with backoff; \
                    last: the provider crashed (wasm `unreachable` instruction executed); this is a bug in the provider: \
                    report it to its author";
    ensure!(message == expected, "{message}");
    breaker_is(&host, "faulty", 1).await?;

    // The host is ready, and the other provider's parents are served.
    host.ready().await?;
    message_of(stage.provider_objects(), "hello", "Serving", "True", "Serving").await?;
    breaker_is(&host, "hello", 0).await?;
    apply_text(&stage, &greeting("meanwhile", "world")).await?;
    wait_object(stage.api::<ConfigMap>("default"), "meanwhile", "existence", SOON, |_| true).await?;

    // The next parent that is tried succeeds, and no parent is forgotten.
    apply_faults(&stage, "None").await?;
    for number in 0..PARENTS {
        message_of(stage.faults(), &format!("f{number}"), "Synced", "True", "Applied").await?;
    }
    message_of(stage.provider_objects(), "faulty", "Serving", "True", "Serving").await?;
    breaker_is(&host, "faulty", 0).await?;
    host.stop().await?;
    stage.stop().await
}

/// A Fault in this namespace.
fn fault_in(namespace: &str, name: &str, how: &str) -> Result<Value> {
    let mut fault: Value = serde_json::from_str(&fault(name, how))?;
    fault["metadata"]["namespace"] = namespace.into();
    Ok(fault)
}

/// Applies a Fault, and waits until its provider has answered.
async fn is_answered(stage: &Stage, name: &str, how: &str, reason: &str) -> Result<()> {
    apply_text(stage, &fault_in("victim", name, how)?.to_string()).await?;
    let is_answered =
        |fault: &DynamicObject| condition(fault, "Synced").is_some_and(|synced| synced["reason"] == reason);
    wait_object(stage.faults_in("victim"), name, &format!("an answer with {reason}"), SOON, is_answered).await?;
    Ok(())
}

#[tokio::test]
async fn a_hundred_crashing_parents_keep_nobody_else_waiting() -> Result<()> {
    let stage = Stage::start(&[Provider::Faulty]).await?;
    for namespace in ["victim", "poison"] {
        stage.kubectl(&["create", "namespace", namespace], "").await?;
    }
    let host = stage.host().await?;
    is_answered(&stage, "healthy", "None", "Applied").await?;
    let poison = (0..100).map(|number| fault_in("poison", &format!("crash-{number}"), "Trap"));
    let poison = json!({"apiVersion": "v1", "kind": "List", "items": poison.collect::<Result<Vec<Value>>>()?});
    apply_text(&stage, &poison.to_string()).await?;
    // One that had an answer is called as usual, and a new one has the next turn.
    is_answered(&stage, "healthy", "Failure", "Invalid").await?;
    is_answered(&stage, "new", "None", "Applied").await?;
    host.stop().await?;

    // A process that remembers nothing reads from the status who had an answer.
    let host = stage.host().await?;
    is_answered(&stage, "healthy", "None", "Applied").await?;
    is_answered(&stage, "another", "None", "Applied").await?;
    host.stop().await?;
    stage.stop().await
}
