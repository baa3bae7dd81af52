//! A module that is replaced again and again while its parents are edited.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bartizan_e2e::{ModuleCopy, Original, patched, replace};
use serde_json::json;

use super::args::Args;
use super::figures::Reload;
use super::progress::show;
use super::world::{Parents, World};
use crate::percentile::{p99, rounded};

/// Edits between two reloads.
const EDITS: usize = 20;
/// How long a version may take until it serves.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The host's log line once it does.
const SERVES: &str = "another version takes over";

pub(crate) async fn measure(args: &Args) -> Result<Reload> {
    let world = World::new().await?;
    let copy = ModuleCopy::new(Original::TRIPLE, &args.triple()?, 0, &json!({}), &world.providers())?;
    let module = std::fs::read(&copy.module).context("the module")?;
    let mut host = world.host(&args.host, std::slice::from_ref(&copy)).await?;
    let mut parents = Parents::watch(&world, std::slice::from_ref(&copy));
    let count = args.reload_parents as usize;
    parents.converge(count).await?;
    let (mut times, mut edited) = (Vec::new(), 0);
    for number in 0..args.reloads {
        // Each version has another reason, so that every status is written again.
        let version = patched(&module, "Applied", &format!("Swap{number:03}"))?;
        let mark = host.process.mark();
        let started = Instant::now();
        replace(&copy.module, &version)?;
        let serves = async {
            host.process.wait_for_line_after(mark, SERVES, TIMEOUT).await?;
            anyhow::Ok(started.elapsed())
        };
        let edits = async {
            for _ in 0..EDITS {
                edited += 1;
                parents.edit(0, edited % count).await?;
            }
            anyhow::Ok(())
        };
        let (took, ()) = tokio::try_join!(serves, edits)?;
        times.push(took);
        if number == 4 || number + 1 == args.reloads {
            show("resident memory, MiB", &(number + 1, host.process.rss_mib()?));
        }
    }
    let (_, metrics) = host.get("/metrics").await?;
    let count_of = |series: &str| -> u64 {
        let lines = metrics.lines().filter(|line| line.starts_with(series));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        values.sum()
    };
    show("swaps", &count_of("bartizan_module_swaps_total{"));
    let failed = format!("bartizan_reconciles_total{{provider=\"{}\",result=\"failed\"}}", copy.name);
    let failed_reconciles = count_of(&failed);
    drop(parents);
    host.stop().await?;
    world.cluster.stop().await?;
    Ok(Reload { reload_p99_ms: rounded(p99(&mut times).as_secs_f64() * 1e3, 0), failed_reconciles })
}
