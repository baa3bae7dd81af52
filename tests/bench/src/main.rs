//! The figures of the README. Build it in release: `cargo run --release -p bartizan-bench -- hop`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

mod cluster;
mod hop;
mod loading;
mod report;

#[derive(Parser)]
#[command(about = "Measures Bartizan")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One call of the minio provider with the talk's store, a fresh instance each; and what loading it takes.
    Hop {
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// Folder with minio.wasm.
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/wasm32-unknown-unknown/guest"))]
        guests: PathBuf,
        /// Calls that are timed for each number of children.
        #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
        iterations: u32,
    },
}

fn main() -> anyhow::Result<()> {
    let Command::Hop { json, guests, iterations } = Cli::parse().command;
    let wasm = hop::read_module(&guests)?;
    let (load_cold_ms, load_cached_ms) = loading::measure(&wasm)?;
    let hop = hop::measure(&wasm, iterations)?;
    report::Report { hop, load_cold_ms, load_cached_ms, module_bytes: wasm.len() }.print(json)
}
