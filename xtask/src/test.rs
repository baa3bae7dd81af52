//! Everything that must hold before a change lands.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result};
use bartizan_harness::build::{self, Language, Module};

use crate::{generate, rig};

/// `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the end-to-end tests out: what needs no control plane, in seconds once built.
    #[arg(long)]
    no_e2e: bool,
}

/// Runs the steps in the order in which they are cheapest to fail.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    build::check_prerequisites()?;
    let started = Instant::now();
    let without_e2e = ["--exclude", "bartizan-e2e", "--exclude", "bartizan-harness"];
    let mut tests = vec!["test", "--workspace"];
    if args.no_e2e {
        tests.extend(without_e2e);
    }
    if !cargo(&["fmt", "--all", "--check"])? {
        return Ok(ExitCode::FAILURE);
    }
    // The long builds side by side: each has stretches that keep one core busy only.
    let (linted, built, languages) = std::thread::scope(|scope| {
        let control_plane = scope.spawn(|| if args.no_e2e { Ok(()) } else { go_programs() });
        let languages = scope.spawn(|| if args.no_e2e { Ok(Vec::new()) } else { other_languages() });
        let linted = cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
        (linted, control_plane.join(), languages.join())
    });
    built.map_err(|_| anyhow::anyhow!("the build of the control plane panicked"))??;
    let left_out = languages.map_err(|_| anyhow::anyhow!("the build of the other languages' providers panicked"))??;
    if !linted? {
        return Ok(ExitCode::FAILURE);
    }
    generate::check()?;
    if !cargo(&tests)? {
        return Ok(ExitCode::FAILURE);
    }
    if !args.no_e2e && !rig::all()? {
        return Ok(ExitCode::FAILURE);
    }
    if std::env::var_os("BARTIZAN_UPSTREAM_SAMPLES").is_none() && !args.no_e2e {
        println!("left out: the published examples of other projects (BARTIZAN_UPSTREAM_SAMPLES is not set)");
    }
    for sentence in left_out {
        println!("{sentence}");
    }
    println!("all tests passed in {} s", started.elapsed().as_secs());
    Ok(ExitCode::SUCCESS)
}

/// Builds the providers of other languages; what could not be built on this machine, a sentence each.
fn other_languages() -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    for language in Language::ALL {
        if let Module::LeftOut(sentence) = build::hello_in(language, &build::silent)? {
            left_out.push(sentence);
        }
    }
    Ok(left_out)
}

/// Runs cargo on the workspace with its output shown; whether it succeeded.
fn cargo(arguments: &[&str]) -> Result<bool> {
    println!("$ cargo {}", arguments.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments)
        .current_dir(build::workspace_root())
        .status()
        .context("cargo cannot be run")?;
    Ok(status.success())
}

fn go_programs() -> Result<()> {
    build::control_plane(&build::silent)?;
    build::registry(&build::silent)?;
    Ok(())
}
