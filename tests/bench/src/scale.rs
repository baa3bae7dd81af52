//! `scale`: Bartizan and a native kube-rs controller do the same work for many parents, one after the other, each on
//! a fresh control plane of its own.

mod figures;
mod measure;
mod observer;
mod requests;
mod subject;
mod triples;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::ValueEnum;

use figures::Report;
use measure::Bench;
use subject::{Programs, Subject};

/// `bartizan-bench scale`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many parents, each with three ConfigMaps and a status.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    parents: u32,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Measure one of the two only.
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// How long a controller is observed at rest.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    rest: u32,
    /// The host.
    #[arg(long, value_name = "FILE")]
    host: PathBuf,
    /// The native controller.
    #[arg(long, value_name = "FILE")]
    baseline: PathBuf,
    /// triple.wasm.
    #[arg(long, value_name = "FILE")]
    module: PathBuf,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    Bartizan,
    Native,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("async runtime")?;
    let programs = Programs { host: args.host.clone(), baseline: args.baseline.clone(), module: args.module.clone() };
    let measure = async |subject: Subject| Bench::run(subject, &programs, args.parents as usize, args.rest).await;
    let (bartizan, native) = runtime.block_on(async {
        let bartizan = match args.only {
            Some(Only::Native) => None,
            _ => Some(measure(Subject::Bartizan).await.context("bartizan")?),
        };
        let native = match args.only {
            Some(Only::Bartizan) => None,
            _ => Some(measure(Subject::Native).await.context("native")?),
        };
        anyhow::Ok((bartizan, native))
    })?;
    Report { parents: args.parents, bartizan, native }.print(args.json)
}
