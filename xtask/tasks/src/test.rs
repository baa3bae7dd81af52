//! Everything that must hold before a change lands.

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use bartizan_harness::build::{self, Language, Module};

use crate::steps::Steps;
use crate::{generate, image, mutations, rig};

/// `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave out the end-to-end tests: what needs no control plane takes seconds once built
    #[arg(long, conflicts_with = "all")]
    no_e2e: bool,
    /// Run as well what takes minutes more: the Helm charts, the image, the crash rig at every write, all random lives of Cassandra clusters,
    /// mutations of the engine
    #[arg(long)]
    all: bool,
}

/// Packages whose tests start control planes.
const E2E: [&str; 2] = ["bartizan-harness", "bartizan-e2e"];
/// Their integration tests.
const E2E_TARGETS: [&str; 3] = ["control_plane", "host_process", "scenarios"];
/// Those that need what takes longer to build than the project itself.
const ALL_TARGETS: [&str; 2] = ["packaging", "trial"];
/// How many of these tests run side by side: as many as tests/e2e/src/stage.rs has room for. They wait for most of their time, so
/// that one per core, the default, would leave half of a small machine idle.
const E2E_THREADS: &str = "4";

/// Runs the steps, those that are cheapest to fail first, and prints how long each took.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let steps = Steps::default();
    let passed = all_steps(args, &steps);
    println!("\n{}", steps.summary());
    if !passed? {
        return Ok(ExitCode::FAILURE);
    }
    println!("all tests passed");
    Ok(ExitCode::SUCCESS)
}

/// Whether all of them passed; the first that does not ends the run.
fn all_steps(args: &Args, steps: &Steps) -> Result<bool> {
    if !steps.time("cargo fmt --check", || cargo(&["fmt", "--all", "--check"]))? {
        return Ok(false);
    }
    if !lints_and_builds(args, steps)? {
        return Ok(false);
    }
    steps.time("generated files", generate::check)?;
    let exclude: Vec<&str> = E2E.iter().flat_map(|package| ["--exclude", package]).collect();
    let spared = if args.no_e2e { &exclude[..] } else { &[] };
    // Every selection is made from the whole workspace, so that cargo compiles for all of them with the same features.
    let test = |name: &str, what: &[&str]| steps.time(name, || cargo(&[&["test", "--workspace"], what].concat()));
    if !test("tests: build", &[spared, &["--no-run"]].concat())?
        || !test("unit tests", &[spared, &["--lib", "--bins"]].concat())?
        || !test("property and integration tests", &[&exclude[..], &["--test", "*"]].concat())?
        || !test("doc tests", &[spared, &["--doc"]].concat())?
    {
        return Ok(false);
    }
    if args.no_e2e {
        steps.left_out("end-to-end tests and rigs: --no-e2e");
        return Ok(true);
    }
    let mut targets: Vec<&str> = E2E_TARGETS.iter().flat_map(|target| ["--test", target]).collect();
    targets.extend(["--", "--test-threads", E2E_THREADS]);
    if !test("end-to-end tests", &targets)? || !steps.time("rigs", || rig::all(args.all))? {
        return Ok(false);
    }
    if args.all {
        let packaging: Vec<&str> = ALL_TARGETS.iter().flat_map(|target| ["--test", target]).collect();
        steps.time("Helm: build", || build::helm(&build::silent))?;
        if !test("packaging", &packaging)? {
            return Ok(false);
        }
        if !steps.time("release workflow", workflows)? {
            return Ok(false);
        }
        return Ok(steps.time("random lives of Cassandra clusters", rig::all_lives)?
            && steps.time("mutations of the engine", mutations::all)?
            && steps.time("image", || image::check(steps))?);
    }
    steps.left_out(
        "the Helm charts, the image, the crash rig at every write, nine tenths of the random lives, and mutations of the engine: need --all",
    );
    if std::env::var_os("BARTIZAN_UPSTREAM_SAMPLES").is_none() {
        steps.left_out("published examples of other projects: BARTIZAN_UPSTREAM_SAMPLES is not set");
    }
    Ok(true)
}

/// Lints, and side by side with them what other compilers build: each has phases that use one core only.
fn lints_and_builds(args: &Args, steps: &Steps) -> Result<bool> {
    let clippy = || cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]);
    let (linted, builds) = std::thread::scope(|scope| {
        let mut builds = vec![scope.spawn(|| steps.time("providers (beside clippy)", modules))];
        if !args.no_e2e {
            builds.push(scope.spawn(|| steps.time("control plane and registry (beside clippy)", go_programs)));
            builds.push(
                scope.spawn(|| steps.time("providers in other languages (beside clippy)", || other_languages(steps))),
            );
        }
        let linted = steps.time("cargo clippy", clippy);
        (linted, builds.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>())
    });
    for build in builds {
        build.map_err(|_| anyhow!("a build panicked"))??;
    }
    linted
}

/// Builds the providers of other languages, or notes what this machine lacks for one.
fn other_languages(steps: &Steps) -> Result<()> {
    for language in Language::ALL {
        if let Module::LeftOut(reason) = build::hello_in(language, &build::silent)? {
            steps.left_out(&reason);
        }
    }
    Ok(())
}

/// Runs cargo on the workspace and shows its output; returns whether it succeeded.
fn cargo(arguments: &[&str]) -> Result<bool> {
    println!("$ cargo {}", arguments.join(" "));
    Ok(build::cargo().args(arguments).status().context("cargo cannot be run")?.success())
}

/// Whether the workflows are valid.
fn workflows() -> Result<bool> {
    let mut lint = std::process::Command::new(build::actionlint(&build::silent)?);
    // Without shellcheck, which not every machine has.
    lint.current_dir(build::workspace_root()).args(["-shellcheck=", ".github/workflows/release.yml"]);
    Ok(lint.status().context("actionlint cannot be run")?.success())
}

/// Silent like the other builds beside clippy, which prints.
fn modules() -> Result<()> {
    generate::modules(&build::silent).map(|_| ())
}

fn go_programs() -> Result<()> {
    build::control_plane(&build::silent)?;
    build::registry(&build::silent)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_integration_test_that_needs_a_control_plane_is_forgotten() -> Result<()> {
        let mut found = BTreeSet::new();
        for folder in ["tests/harness/tests", "tests/e2e/tests"] {
            for entry in std::fs::read_dir(build::workspace_root().join(folder))? {
                let path = entry?.path();
                found.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
            }
        }
        assert_eq!(found, E2E_TARGETS.iter().chain(&ALL_TARGETS).map(|target| (*target).to_owned()).collect());
        Ok(())
    }
}
