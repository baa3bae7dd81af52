//! `catalog`: many providers in one host, and modules that are replaced while they work.

mod args;
mod figures;
mod isolation;
mod load;
mod memory;
mod plan;
mod poison;
mod progress;
mod reload;
mod start;
mod world;

use anyhow::Context as _;

pub(crate) use args::Args;

use args::Part;
use figures::Report;
use progress::show;

/// Measures and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("async runtime")?;
    if let Some(part) = args.only {
        return runtime.block_on(measure_part(part, args));
    }
    let load_20_ms = load::measure(&args.triple()?).context("load")?;
    show("load", &load_20_ms);
    let report = runtime.block_on(async {
        let start = start::measure(args).await.context("start")?;
        show("start", &start);
        let memory = memory::measure(args).await.context("memory")?;
        show("memory", &memory);
        let isolation_p99_ratio = isolation::measure(args).await.context("isolation")?;
        show("isolation", &isolation_p99_ratio);
        let poison_p99_ratio = poison::measure(args).await.context("poison")?;
        show("poison", &poison_p99_ratio);
        let reload = reload::measure(args).await.context("reload")?;
        show("reload", &reload);
        let plan = plan::measure(args).await.context("plan")?;
        show("plan", &plan);
        anyhow::Ok(Report { start, load_20_ms, plan, reload, memory, isolation_p99_ratio, poison_p99_ratio })
    })?;
    report.print(args)
}

async fn measure_part(part: Part, args: &Args) -> anyhow::Result<()> {
    match part {
        Part::Start => show("start", &start::measure(args).await?),
        Part::Load => show("load", &load::measure(&args.triple()?)?),
        Part::Memory => show("memory", &memory::measure(args).await?),
        Part::Isolation => show("isolation", &isolation::measure(args).await?),
        Part::Poison => show("poison", &poison::measure(args).await?),
        Part::Reload => show("reload", &reload::measure(args).await?),
        Part::Plan => show("plan", &plan::measure(args).await?),
    }
    Ok(())
}
