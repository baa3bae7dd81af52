//! `catalog`: many providers in one host, and versions that come and go while they work.

mod figures;
mod isolation;
mod load;
mod memory;
mod plan;
mod reload;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::percentile::percentile;
use figures::Report;

/// How many providers there are, where there are many.
const PROVIDERS: u8 = 20;

/// `bartizan-bench catalog`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many parents a new version is asked about.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    parents: u32,
    /// How often a module is replaced.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..1000))]
    reloads: u16,
    /// How many parents there are meanwhile.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    reload_parents: u32,
    /// Edits that are timed, where they are timed.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    edits: u32,
    /// Measure this alone, and print what it shows on the way.
    #[arg(long, value_name = "PART", conflicts_with = "json")]
    only: Option<Part>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// The host.
    #[arg(long, value_name = "FILE")]
    host: PathBuf,
    /// The native controller.
    #[arg(long, value_name = "FILE")]
    baseline: PathBuf,
    /// triple.wasm.
    #[arg(long, value_name = "FILE")]
    triple: PathBuf,
    /// faulty.wasm.
    #[arg(long, value_name = "FILE")]
    faulty: PathBuf,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Part {
    Load,
    Memory,
    Isolation,
    Reload,
    Plan,
}

impl Args {
    /// The module that most providers are made of.
    fn triple(&self) -> anyhow::Result<Vec<u8>> {
        std::fs::read(&self.triple).with_context(|| format!("--triple {}", self.triple.display()))
    }
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("async runtime")?;
    if let Some(part) = args.only {
        return runtime.block_on(alone(part, args));
    }
    let load_20_ms = load::measure(&args.triple()?).context("load")?;
    say("load", &load_20_ms);
    let report = runtime.block_on(async {
        let memory = memory::measure(args).await.context("memory")?;
        say("memory", &memory);
        let isolation_p99_ratio = isolation::measure(args).await.context("isolation")?;
        say("isolation", &isolation_p99_ratio);
        let reload = reload::measure(args).await.context("reload")?;
        say("reload", &reload);
        let plan = plan::measure(args).await.context("plan")?;
        say("plan", &plan);
        anyhow::Ok(Report { load_20_ms, plan, reload, memory, isolation_p99_ratio })
    })?;
    report.print(args)
}

async fn alone(part: Part, args: &Args) -> anyhow::Result<()> {
    match part {
        Part::Load => say("load", &load::measure(&args.triple()?)?),
        Part::Memory => say("memory", &memory::measure(args).await?),
        Part::Isolation => say("isolation", &isolation::measure(args).await?),
        Part::Reload => say("reload", &reload::measure(args).await?),
        Part::Plan => say("plan", &plan::measure(args).await?),
    }
    Ok(())
}

/// Progress; not on stdout, which is for the figures.
fn say(phase: &str, what: &impl std::fmt::Debug) {
    eprintln!("{phase}: {what:?}");
}

/// The 99th percentile of times in any order.
fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    percentile(times, 99)
}
