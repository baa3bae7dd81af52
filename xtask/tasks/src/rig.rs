//! Rigs that disturb the host while it works.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use bartizan_harness::build::{self, Profile};

use crate::mutations;

/// The rigs that run on a control plane.
const RIGS: [&str; 3] = ["crash", "chaos", "memory"];
/// The rig without one: random lives of Cassandra clusters, a tenth of which are part of `cargo test`.
const LIVES: &str = "lives";
/// The rig without a host: changes of the engine that its tests must notice.
const MUTATIONS: &str = "mutations";
/// The number of lives.
const ALL_LIVES: &str = "10000";

/// `cargo xtask rig`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// crash: kill the host at every single write; chaos: let requests fail at random; memory: run it within a container's memory beside
    /// everything that takes some; lives: 10,000 random lives of Cassandra clusters, without a control plane; mutations: change the
    /// engine's decisions, which its tests must notice
    #[arg(value_parser = [RIGS[0], RIGS[1], RIGS[2], LIVES, MUTATIONS])]
    name: String,
    /// crash: start no run that would end later [default: run all points]; chaos: how long requests fail [default: 60]; memory: how long
    /// parents are created, 50 each second [default: 200]
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// crash: the point to begin with [default: from the date]; chaos: the seed of the faults [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Runs one rig; its exit code is the result.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.name == LIVES {
        ensure!(args.seconds.is_none() && args.seed.is_none(), "lives takes neither --seconds nor --seed");
        return Ok(if all_lives()? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if args.name == MUTATIONS {
        ensure!(args.seconds.is_none() && args.seed.is_none(), "mutations takes neither --seconds nor --seed");
        return Ok(if mutations::all()? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    build::control_plane(&build::silent)?;
    let mut rig = Command::new(program()?);
    rig.arg(&args.name);
    for (flag, value) in [("--seconds", args.seconds), ("--seed", args.seed)] {
        if let Some(value) = value {
            rig.args([flag, &value.to_string()]);
        }
    }
    let status = rig.status().context("the rig cannot be run")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs [`ALL_LIVES`]; returns whether they passed.
pub(crate) fn all_lives() -> Result<bool> {
    let mut cargo = build::cargo();
    // The whole workspace, of which this is some, as in every other step: with its features, nothing is compiled again.
    cargo.env("BARTIZAN_LIVES", ALL_LIVES).args(["test", "--workspace", "--test", "cluster"]);
    cargo.args(["--", "--nocapture", "random::"]);
    Ok(cargo.status().context("cargo cannot be run")?.success())
}

/// Runs the rigs, each for about a minute, or whole; returns whether they passed.
pub(crate) fn all(whole: bool) -> Result<bool> {
    // The last one times what it does, and runs alone.
    let [crash, chaos, memory] = RIGS;
    Ok(side_by_side(&[crash, chaos], whole)? && side_by_side(&[memory], whole)?)
}

fn side_by_side(names: &[&str], whole: bool) -> Result<bool> {
    // Apart from the faults, the chaos rig needs time to start, to converge and to see that nothing happens any more.
    let seconds = |name| match name {
        "crash" | "memory" if whole => None,
        "crash" => Some("60"),
        "memory" => Some("25"),
        _ => Some("35"),
    };
    let program = program()?;
    let mut running = Vec::new();
    for &name in names {
        let arguments: Vec<&str> =
            [name].into_iter().chain(seconds(name).into_iter().flat_map(|s| ["--seconds", s])).collect();
        println!("$ cargo xtask rig {}", arguments.join(" "));
        let mut rig = Command::new(&program);
        rig.args(arguments).stdin(Stdio::null());
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

/// The program of the rigs.
fn program() -> Result<PathBuf> {
    build::programs(&["bartizan-rig"], Profile::Dev, &build::silent)?.pop().context("no rig was built")
}
