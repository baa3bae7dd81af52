//! Twenty providers in one host, each with a kind, an account and rights of its own. Six misbehave, each in its own
//! way: they are reported, nothing forbidden is done, and the other fourteen work as if they were alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use bartizan_e2e::{Host, ModuleCopy, Original, Provider, SOON, Stage, deploy_copies, message_of};
use bartizan_harness::wait::wait_for;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::{Value, json};

const GOOD: u8 = 14;
/// As many as it takes to open a breaker.
const PARENTS: usize = 5;

/// Where a fault is reported, with which reason and message.
enum Reported {
    /// `Serving=False` of the Provider: its breaker is open for this reason.
    Breaker(&'static str),
    /// `Synced=False` of each parent; `{}` stands for the parent's name.
    Parent(&'static str, &'static str),
}
use Reported::{Breaker, Parent};

/// How each misbehaves.
const BAD: [(&str, Reported); 6] = [
    (
        "Trap",
        Breaker(
            "the provider crashed (wasm `unreachable` instruction executed); this is a bug in the provider: report it to its author",
        ),
    ),
    ("Loop", Breaker("the provider did not answer within 1s and was stopped; raise limits.timeout, or ask its author")),
    (
        "Allocate",
        Breaker(
            "the provider needs more than its 64Mi of memory and was stopped; raise limits.memory, or ask its author",
        ),
    ),
    (
        "Huge",
        Parent(
            "ResponseTooLarge",
            "the provider's response is larger than 4Mi; raise limits.responseBytes, or ask its author",
        ),
    ),
    (
        "Many",
        Parent(
            "Refused",
            "The answer of provider PROVIDER was refused: response.children: 5000 children exceed the limit of 1000",
        ),
    ),
    (
        "Flip",
        Parent(
            "Unsettled",
            "ConfigMap default/{}-ok is written over and over, though nobody edits the parent: either the provider's answer \
             depends on its own writes (report it to its author), or another writer keeps changing the children; retrying with \
             backoff",
        ),
    ),
];

/// All calls together have 512 MiB, and the host retains little beside them.
const MOST_MORE_AT_THE_PEAK: f64 = 512.0 + 64.0;

struct Providers {
    good: Vec<ModuleCopy>,
    bad: Vec<ModuleCopy>,
}

impl Providers {
    async fn new(stage: &Stage) -> Result<Self> {
        let read = |provider| anyhow::Ok(std::fs::read(stage.module(provider)?)?);
        let (hello, faulty, folder) = (read(Provider::Hello)?, read(Provider::Faulty)?, stage.providers());
        let good = (0..GOOD).map(|number| ModuleCopy::new(Original::HELLO, &hello, number, &json!({}), &folder));
        let bad = (0..).zip(BAD).map(|(number, (how, _))| {
            let more = match how {
                "Loop" => json!({}),
                // The memory limit has room for 100 MB, so that the size of the response is the fault; a busy machine
                // needs time to produce it.
                "Huge" => json!({"limits": {"memory": "256Mi", "timeout": "10s"}}),
                _ => json!({"limits": {"timeout": "10s"}}),
            };
            ModuleCopy::new(Original::FAULTY, &faulty, number, &more, &folder)
        });
        let providers = Self { good: good.collect::<Result<_>>()?, bad: bad.collect::<Result<_>>()? };
        let program = PathBuf::from(stage.plain_command().get_program());
        deploy_copies(&stage.cluster, &program, &[&providers.good[..], &providers.bad[..]].concat()).await?;
        Ok(providers)
    }

    /// Edits the parents of all good providers, and waits until each child shows the edit.
    async fn greet(&self, stage: &Stage, whom: &str) -> Result<()> {
        apply(stage, &self.good, |_| json!({"name": whom})).await?;
        let all = usize::from(GOOD) * PARENTS;
        wait_for(&format!("{all} greetings of {whom}"), SOON, async || {
            let greeting = format!("Hello, {whom}!");
            let children = stage.api::<ConfigMap>("default").list(&ListParams::default()).await?.items;
            let greets = |child: &ConfigMap| {
                child.data.iter().flatten().any(|(key, value)| key == "greeting" && *value == greeting)
            };
            Ok((children.iter().filter(|child| greets(child)).count() == all).then_some(()))
        })
        .await
    }

    /// Sets the behaviour of each of the bad ones.
    async fn set_behaviour(&self, stage: &Stage, how: impl Fn(usize) -> &'static str) -> Result<()> {
        apply(stage, &self.bad, |index| json!({"how": how(index)})).await
    }
}

/// Applies all parents of these providers, with the spec of each.
async fn apply(stage: &Stage, copies: &[ModuleCopy], spec: impl Fn(usize) -> Value) -> Result<()> {
    let parents = copies.iter().enumerate().flat_map(|(index, copy)| {
        let spec = spec(index);
        (0..PARENTS).map(move |number| copy.apply(stage.cluster.client(), number, spec.clone()))
    });
    stream::iter(parents).buffer_unordered(8).try_collect().await
}

/// The resourceVersion of each child of a provider.
async fn children(stage: &Stage, copy: &ModuleCopy) -> Result<BTreeMap<String, Option<String>>> {
    let labelled = ListParams::default().labels(&format!("bartizan.dev/provider={}", copy.name));
    let children = stage.api::<ConfigMap>("default").list(&labelled).await?.items;
    Ok(children.iter().map(|child| (child.name_any(), child.resource_version())).collect())
}

/// Waits until the fault of a provider is reported.
async fn wait_reported(stage: &Stage, copy: &ModuleCopy, reported: &Reported) -> Result<()> {
    match reported {
        Breaker(last) => {
            let message = message_of(stage.provider_objects(), &copy.name, "Serving", "False", "BreakerOpen").await?;
            ensure!(message.ends_with(&format!("; last: {last}")), "{}: {message}", copy.name);
        }
        Parent(reason, expected) => {
            for number in 0..PARENTS {
                let name = copy.parent_name(number);
                let message =
                    message_of(copy.parents(stage.cluster.client()), &name, "Synced", "False", reason).await?;
                let expected = expected.replace("{}", &name).replace("PROVIDER", &copy.name);
                ensure!(message == expected, "{name}: {message}");
            }
            message_of(stage.provider_objects(), &copy.name, "Serving", "True", "Serving").await?;
        }
    }
    Ok(())
}

async fn is_well(host: &Host) -> Result<()> {
    for path in ["/readyz", "/livez"] {
        let (code, text) = host.get(path).await?;
        ensure!(code == 200, "{path}: {code} {text}");
    }
    Ok(())
}

#[tokio::test]
async fn six_misbehaving_providers_are_reported_and_do_not_slow_fourteen_others() -> Result<()> {
    let stage = Stage::bare().await?;
    let providers = Providers::new(&stage).await?;
    let mut host = stage.host().await?;
    // Each parent has children first, which must survive.
    providers.set_behaviour(&stage, |_| "None").await?;
    let mut before = Vec::new();
    for copy in &providers.bad {
        for number in 0..PARENTS {
            let (parents, name) = (copy.parents(stage.cluster.client()), copy.parent_name(number));
            message_of(parents, &name, "Synced", "True", "Applied").await?;
        }
        before.push(children(&stage, copy).await?);
    }
    let at_first = host.process.rss_mib()?;

    providers.set_behaviour(&stage, |index| BAD[index].0).await?;
    providers.greet(&stage, "world").await?;
    providers.greet(&stage, "moon").await?;
    for (copy, (_, reported)) in providers.bad.iter().zip(&BAD) {
        wait_reported(&stage, copy, reported).await?;
    }
    providers.greet(&stage, "sun").await?;
    host.ready().await?;
    is_well(&host).await?;
    for copy in &providers.good {
        message_of(stage.provider_objects(), &copy.name, "Serving", "True", "Serving").await?;
    }

    for ((copy, (how, _)), before) in providers.bad.iter().zip(&BAD).zip(before) {
        let now = children(&stage, copy).await?;
        ensure!(before.len() == PARENTS && now.keys().eq(before.keys()), "{how}: {before:?} became {now:?}");
        // The answers of the flipping provider are valid each time, and written.
        ensure!((*how == "Flip") != (now == before), "{how}: {before:?} became {now:?}");
    }
    let (peak, now) = (host.process.peak_rss_mib()?, host.process.rss_mib()?);
    eprintln!(
        "resident memory: {at_first:.0} MiB with 20 providers, {peak:.0} MiB at most, {now:.0} MiB in the end (dev build)"
    );
    ensure!(peak < at_first + MOST_MORE_AT_THE_PEAK, "{at_first:.0} MiB at first, {peak:.0} MiB at the peak");
    host.stop().await?;
    stage.stop().await
}
