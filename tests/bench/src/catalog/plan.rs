//! A new version is previewed on every parent while parents are edited. It is held whatever the result, so that
//! nothing else happens meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::{Host, ModuleCopy, Original, patched, replace};
use serde_json::json;

use super::args::Args;
use super::figures::Plan;
use super::progress::show;
use super::world::{Parents, World};
use crate::percentile::{p99, rounded};

/// The host's log line once all parents were previewed.
const PREVIEWED: &str = "asked another version what it would change";
/// How often all metrics are read.
const SCRAPES: usize = 500;
/// How long that may take.
const TIMEOUT: Duration = Duration::from_secs(300);

pub(crate) async fn measure(args: &Args) -> Result<Plan> {
    let world = World::new().await?;
    let held = json!({"upgrade": {"policy": "Manual"}});
    let copy = ModuleCopy::new(Original::TRIPLE, &args.triple()?, 0, &held, &world.providers())?;
    let module = std::fs::read(&copy.module).context("the module")?;
    let host = world.host(&args.host, std::slice::from_ref(&copy)).await?;
    let mut parents = Parents::watch(&world, std::slice::from_ref(&copy));
    let count = args.parents as usize;
    parents.converge(count).await?;
    let mut scrapes = Vec::new();
    for _ in 0..SCRAPES {
        let began = Instant::now();
        ensure!(host.get("/metrics").await?.0 == 200, "no metrics");
        scrapes.push(began.elapsed());
    }
    let scrape = p99(&mut scrapes);

    let mut before = Vec::new();
    for edit in 0..args.edits as usize {
        before.push(parents.edit(0, spread(edit, count)).await?);
    }
    let mark = host.process.mark();
    replace(&copy.module, &patched(&module, "Applied", "Appl1ed")?)?;
    let (began, mut edits) = (Instant::now(), Vec::new());
    let line = loop {
        let took = parents.edit(0, spread(edits.len(), count)).await?;
        edits.push((Instant::now(), took));
        if let Some(line) = previewed(&host, mark) {
            break line;
        }
        ensure!(began.elapsed() < TIMEOUT, "it was not previewed: {}", host.process.lines().join("\n"));
    };
    let seconds = line.split("seconds=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let seconds: f64 = seconds.context("the time is not in the line")?.parse()?;
    let ended = Instant::now();
    let is_meanwhile = |at: &Instant| ended.duration_since(*at).as_secs_f64() <= seconds;
    let mut during: Vec<Duration> = edits.iter().filter(|(at, _)| is_meanwhile(at)).map(|(_, took)| *took).collect();
    ensure!(!during.is_empty(), "no edit was seen while it was looked at: take more parents");
    let edits_meanwhile = during.len();
    let (calm, busy) = (p99(&mut before), p99(&mut during));
    show("edits before and during a plan, p99, and how many during it", &(calm, busy, edits_meanwhile));
    drop(parents);
    host.stop().await?;
    world.cluster.stop().await?;
    Ok(Plan {
        shadow_plan_10k_s: rounded(seconds, 2),
        scrape_p99_ms: rounded(scrape.as_secs_f64() * 1e3, 2),
        live_p99_ratio_during_plan: rounded(busy.as_secs_f64() / calm.as_secs_f64().max(1e-6), 2),
    })
}

/// Spreads the edits over all parents.
fn spread(edit: usize, count: usize) -> usize {
    edit * 7919 % count
}

fn previewed(host: &Host, mark: usize) -> Option<String> {
    host.process.lines().into_iter().skip(mark).find(|line| line.contains(PREVIEWED))
}
