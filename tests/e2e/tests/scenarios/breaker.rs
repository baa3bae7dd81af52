//! A provider that fails for every parent is not called for each of them over and over: it trips its own breaker, and
//! no other.

use anyhow::{Result, ensure};
use bartizan_e2e::{Host, Provider, SOON, Stage, apply_text, fault, greeting, message_of};
use bartizan_harness::wait::wait_object;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};

/// More parents than it takes to open a breaker.
const PARENTS: usize = 6;

fn providers(stage: &Stage) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("bartizan.dev", "v1alpha1", "Provider");
    Api::all_with(stage.cluster.client(), &ApiResource::from_gvk_with_plural(&kind, "providers"))
}

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
    let message = message_of(providers(&stage), "faulty", "Serving", "False", "BreakerOpen").await?;
    let expected = "no answer for 5 parents in a row; others wait until it answers for one, which is retried with backoff; \
                    last: the provider crashed (wasm `unreachable` instruction executed); this is a bug in the provider: \
                    report it to its author";
    ensure!(message == expected, "{message}");
    breaker_is(&host, "faulty", 1).await?;

    // The host is ready, and the other provider's parents are served.
    host.ready().await?;
    message_of(providers(&stage), "hello", "Serving", "True", "Serving").await?;
    breaker_is(&host, "hello", 0).await?;
    apply_text(&stage, &greeting("meanwhile", "world")).await?;
    wait_object(stage.api::<ConfigMap>("default"), "meanwhile", "existence", SOON, |_| true).await?;

    // The next parent that is tried succeeds, and no parent is forgotten.
    apply_faults(&stage, "None").await?;
    for number in 0..PARENTS {
        message_of(stage.faults(), &format!("f{number}"), "Synced", "True", "Applied").await?;
    }
    message_of(providers(&stage), "faulty", "Serving", "True", "Serving").await?;
    breaker_is(&host, "faulty", 0).await?;
    host.stop().await?;
    stage.stop().await
}
