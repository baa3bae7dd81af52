//! The figures of the README: `cargo xtask bench hop`, `scale` and `catalog` build what they need in release mode.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod catalog;
mod cluster;
mod hop;
mod host;
mod loading;
mod percentile;
mod report;
mod ring;
mod scale;

#[derive(Parser)]
#[command(about = "Measures Bartizan")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One call of the minio provider with the talk's store, and of the cassandra provider with a ring, a fresh instance each;
    /// and what loading the first takes.
    Hop {
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// Folder with minio.wasm and cassandra.wasm.
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/wasm32-unknown-unknown/guest"))]
        guests: PathBuf,
        /// Calls that are timed in each of twenty rounds, for each number of children.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        iterations: u32,
    },
    /// Bartizan beside a native kube-rs controller: the same parents on equal control planes.
    Scale(scale::Args),
    /// Many providers in one host, and modules that are replaced while they work.
    Catalog(catalog::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Hop { json, guests, iterations } => hop(json, &guests, iterations),
        Command::Scale(args) => scale::run(&args),
        Command::Catalog(args) => catalog::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn hop(json: bool, guests: &Path, iterations: u32) -> anyhow::Result<()> {
    let wasm = hop::read_module(guests, "minio")?;
    let ring = hop::read_module(guests, "cassandra")?;
    let (load_cold_ms, load_cached_ms) = loading::measure(&wasm)?;
    let (hop, cassandra) = hop::measure(&wasm, &ring, iterations)?;
    report::Report { hop, cassandra, load_cold_ms, load_cached_ms, module_bytes: wasm.len() }.print(json)
}
