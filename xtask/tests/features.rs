//! The demo, the tests and the rigs share what they compile. Cargo resolves features for the packages and targets that it is asked
//! to build: if two commands resolve them differently, half of the dependencies are compiled twice.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use bartizan_build as build;
use serde_json::Value;

/// What cargo would compile for a command: each package with its features and its profile.
fn units(command: &[&str]) -> Result<BTreeSet<String>> {
    let mut cargo = build::cargo();
    cargo.args(command);
    // Only the unstable unit graph shows what a command compiles without compiling it; the toolchain is pinned.
    cargo.env("RUSTC_BOOTSTRAP", "1").args(["-Z", "unstable-options", "--unit-graph"]);
    let output = cargo.output().context("cargo cannot be run")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let graph: Value = serde_json::from_slice(&output.stdout)?;
    let units = graph["units"].as_array().context("no units")?;
    // The programs and the tests themselves differ, of course: only what is compiled for others counts.
    let shared = units.iter().filter(|unit| unit["mode"] == "build" && unit["target"]["kind"][0] != "bin");
    let line = |unit: &Value| {
        let profile = &unit["profile"];
        format!(
            "{} {} {} opt-level={} debuginfo={}",
            unit["pkg_id"], unit["target"]["kind"], unit["features"], profile["opt_level"], profile["debuginfo"]
        )
    };
    Ok(shared.map(line).collect())
}

/// What `cargo xtask` builds before it hands over, what nested builds ask for, and the steps of `cargo xtask test`.
const COMMANDS: [&str; 10] = [
    "build --workspace --bin bartizan --bin bartizan-tasks",
    "build --workspace --bin bartizan-tasks",
    "build --workspace --bin bartizan",
    "build --workspace --bin bartizan-rig",
    "test --workspace --exclude bartizan-harness --exclude bartizan-e2e",
    "test --workspace --lib --bins",
    "test --workspace --doc",
    "test --workspace --test cluster",
    "test --workspace --test cluster --test objectstore",
    "test --workspace --test control_plane --test host_process --test scenarios",
];

#[test]
fn no_command_compiles_a_dependency_that_the_tests_compile_differently() -> Result<()> {
    let tests = units(&["test", "--workspace"])?;
    for command in COMMANDS {
        let compiled = units(&command.split(' ').collect::<Vec<_>>())?;
        let others: Vec<&str> = compiled.difference(&tests).map(String::as_str).collect();
        ensure!(
            others.is_empty(),
            "compiled again for `cargo {command}`; see \"Not used\" in xtask/tasks/Cargo.toml:\n{}",
            others.join("\n")
        );
    }
    Ok(())
}
