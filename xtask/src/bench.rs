//! The figures of the README: built for release, printed as a table or as JSON.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use bartizan_harness::build;

use crate::progress;

/// `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    figure: Figure,
}

#[derive(Debug, clap::Subcommand)]
enum Figure {
    /// One provider call: the talk's store with 1, 10, 100 and 1,000 children; load time; module size.
    Hop {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Builds the bench for release and runs it.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let Figure::Hop { json } = args.figure;
    let modules = progress::step("providers (minio)", |observer| build::guests(&["minio"], observer))?;
    let folder = modules.first().and_then(|module| module.parent()).context("no module was built")?;
    let mut bench = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    bench.current_dir(build::workspace_root());
    bench.args(["run", "--quiet", "--release", "--package", "bartizan-bench", "--", "hop", "--guests"]).arg(folder);
    if json {
        bench.arg("--json");
    }
    if !bench.status().context("cargo cannot be run")?.success() {
        bail!("the bench failed");
    }
    Ok(ExitCode::SUCCESS)
}
