//! The time from an edit of a parent to its status, for fourteen providers: beside six that behave, then beside six
//! that misbehave.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bartizan_e2e::{ModuleCopy, Original};
use serde_json::json;

use super::args::{Args, PROVIDERS};
use super::progress::show;
use super::world::{Parents, World};
use crate::percentile::{p99, rounded};

/// How each of the bad ones misbehaves.
const BAD: [&str; 6] = ["Trap", "Loop", "Allocate", "Huge", "Many", "Flip"];
/// Parents of each provider.
pub(super) const PARENTS: usize = 5;

pub(crate) async fn measure(args: &Args) -> Result<f64> {
    let world = World::new().await?;
    let folder = world.providers();
    let triple = args.triple()?;
    let faulty = std::fs::read(&args.faulty).with_context(|| format!("--faulty {}", args.faulty.display()))?;
    // It has room for 100 MB, so that the size of the answer is the fault.
    let roomy = json!({"limits": {"memory": "256Mi"}});
    let bad = (0..).zip(BAD).map(|(number, how)| {
        let more = if how == "Huge" { &roomy } else { &json!({}) };
        ModuleCopy::new(Original::FAULTY, &faulty, number, more, &folder)
    });
    let bad = bad.collect::<Result<Vec<_>>>()?;
    let good = (0..PROVIDERS - u8::try_from(BAD.len())?)
        .map(|number| ModuleCopy::new(Original::TRIPLE, &triple, number, &json!({}), &folder))
        .collect::<Result<Vec<_>>>()?;
    let host = world.host(&args.host, &[&good[..], &bad[..]].concat()).await?;
    let mut parents = Parents::watch(&world, &good);
    behave(&world, &bad, |_| "None").await?;
    parents.converge(PARENTS).await?;

    let alone = edits(&mut parents, good.len(), args.edits).await?;
    behave(&world, &bad, |how| how).await?;
    let beside = edits(&mut parents, good.len(), args.edits).await?;
    show("edits beside none and beside six, p99", &(alone, beside));
    drop(parents);
    host.stop().await?;
    world.cluster.stop().await?;
    Ok(rounded(beside.as_secs_f64() / alone.as_secs_f64().max(1e-6), 2))
}

/// Sets the behaviour of the parents of each.
async fn behave(world: &World, bad: &[ModuleCopy], how: impl Fn(&'static str) -> &'static str) -> Result<()> {
    for (copy, name) in bad.iter().zip(BAD) {
        for number in 0..PARENTS {
            copy.apply(world.cluster.client(), number, json!({"how": how(name)})).await?;
        }
    }
    Ok(())
}

/// The 99th percentile of the times of so many edits, of [`PARENTS`] parents of each provider in turn.
pub(super) async fn edits(parents: &mut Parents, copies: usize, count: u32) -> Result<Duration> {
    let mut times = Vec::new();
    for edit in 0..count as usize {
        times.push(parents.edit(edit % copies, edit / copies % PARENTS).await?);
    }
    Ok(p99(&mut times))
}
