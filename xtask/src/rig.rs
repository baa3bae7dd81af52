//! Rigs that disturb the host: built with everything else, run by themselves.

use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use bartizan_harness::build;

use crate::progress;

/// The rigs there are that run on a control plane.
const RIGS: [&str; 2] = ["crash", "chaos"];
/// The one without: random lives of Cassandra clusters, of which `cargo test` does a tenth.
const LIVES: &str = "lives";
/// How many lives that is.
const ALL_LIVES: &str = "10000";

/// `cargo xtask rig`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// crash: kill the host at every single write. chaos: let requests fail at random. lives: 10,000 random lives of Cassandra
    /// clusters, without a control plane.
    #[arg(value_parser = [RIGS[0], RIGS[1], LIVES])]
    name: String,
    /// crash: begin no run that would end later; default: all points. chaos: how long requests fail; default: 60.
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// crash: the point to begin with; default: by the date. chaos: what happens; default: by the clock.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Runs one rig, and says with its exit code whether all was as it should be.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.name == LIVES {
        ensure!(args.seconds.is_none() && args.seed.is_none(), "lives takes neither --seconds nor --seed");
        return lives();
    }
    build::check_prerequisites()?;
    progress::step("control plane", build::control_plane)?;
    let mut rig = built()?;
    rig.arg(&args.name);
    for (flag, value) in [("--seconds", args.seconds), ("--seed", args.seed)] {
        if let Some(value) = value {
            rig.args([flag, &value.to_string()]);
        }
    }
    let status = rig.status().context("the rig cannot be run")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lives() -> Result<ExitCode> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(build::workspace_root()).env("BARTIZAN_LIVES", ALL_LIVES);
    cargo.args(["test", "--package", "cassandra", "--test", "cluster", "--", "--nocapture", "random::"]);
    let status = cargo.status().context("cargo cannot be run")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs all rigs side by side, each for about a minute; whether all was as it should be.
pub(crate) fn all() -> Result<bool> {
    // Beside the faults, the chaos rig takes its time to start, to converge and to see that nothing happens any more.
    let seconds = |name| if name == "crash" { "60" } else { "35" };
    let mut running = Vec::new();
    for name in RIGS {
        println!("$ cargo xtask rig {name} --seconds {}", seconds(name));
        let mut rig = built()?;
        rig.args([name, "--seconds", seconds(name)]).stdin(Stdio::null());
        running.push(rig.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("a rig cannot be run")?);
    }
    let mut good = true;
    for rig in running {
        let Output { status, stdout, stderr } = rig.wait_with_output().context("a rig cannot be waited for")?;
        print!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        good &= status.success();
    }
    Ok(good)
}

/// The program of the rigs, built as `cargo test --workspace` builds it: nothing is compiled for it twice.
fn built() -> Result<Command> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(build::workspace_root()).args(["build", "--quiet", "--workspace", "--bin", "bartizan-rig"]);
    cargo.arg("--target-dir").arg(build::target_dir());
    ensure!(cargo.status().context("cargo cannot be run")?.success(), "the rigs cannot be built");
    Ok(Command::new(build::target_dir().join("debug/bartizan-rig")))
}
