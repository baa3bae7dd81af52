//! The command line of `catalog`.

use std::path::PathBuf;

use anyhow::Context as _;

/// The number of providers, where there are many.
pub(super) const PROVIDERS: u8 = 20;

/// `bartizan-bench catalog`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The number of parents that a new version is previewed on.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) parents: u32,
    /// How often a module is replaced.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..1000))]
    pub(super) reloads: u16,
    /// The number of parents during reloads.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) reload_parents: u32,
    /// The number of timed edits.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) edits: u32,
    /// Measure this part only, and print intermediate results.
    #[arg(long, value_name = "PART", conflicts_with = "json")]
    pub(super) only: Option<Part>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(super) json: bool,
    /// The host.
    #[arg(long, value_name = "FILE")]
    pub(super) host: PathBuf,
    /// The native controller.
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: PathBuf,
    /// triple.wasm.
    #[arg(long, value_name = "FILE")]
    pub(super) triple: PathBuf,
    /// faulty.wasm.
    #[arg(long, value_name = "FILE")]
    pub(super) faulty: PathBuf,
    /// minio.wasm.
    #[arg(long, value_name = "FILE")]
    pub(super) minio: PathBuf,
    /// cassandra.wasm.
    #[arg(long, value_name = "FILE")]
    pub(super) cassandra: PathBuf,
}

/// The parts that can be measured alone.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Part {
    Start,
    Load,
    Memory,
    Isolation,
    Poison,
    Reload,
    Plan,
}

impl Args {
    /// The module that most providers are made of.
    pub(super) fn triple(&self) -> anyhow::Result<Vec<u8>> {
        std::fs::read(&self.triple).with_context(|| format!("--triple {}", self.triple.display()))
    }
}
