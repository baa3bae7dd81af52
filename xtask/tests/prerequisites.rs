//! What `cargo xtask` does on machines that lack something: the PATH holds nothing but tools made by the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

/// A folder with tools that record how they were called.
struct Machine(TempDir);

impl Machine {
    /// Everything but the WebAssembly target is there. Cargo fails, which ends every build.
    fn new() -> Result<Self> {
        let machine = Self(tempfile::tempdir()?);
        machine.tool("go", "[ $1 = env ] && echo go1.26.0")?;
        machine.tool("cc", "")?;
        machine.tool("rustc", "echo $TOOLS/libraries")?;
        machine.tool("rustup", "/bin/mkdir $TOOLS/libraries")?;
        machine.tool("cargo", "exit 1")?;
        Ok(machine)
    }

    fn tool(&self, name: &str, does: &str) -> Result<()> {
        let file = self.0.path().join(name);
        let folder = self.0.path().display();
        let lines = [
            "#!/bin/sh".to_owned(),
            format!("TOOLS={folder}"),
            format!("echo {name} $* >> $TOOLS/calls"),
            does.to_owned(),
        ];
        fs::write(&file, lines.join("\n"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn without(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.0.path().join(name))?)
    }

    fn xtask(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).env_remove("CC").env("CARGO", self.0.path().join("cargo"));
        command.env("CARGO_TARGET_DIR", self.0.path().join("target"));
        command.env("PATH", self.0.path());
        command.output().context("xtask cannot be run")
    }

    /// How the tools were called, by their names and first arguments.
    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.0.path().join("calls")).unwrap_or_default();
        calls.lines().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_missing_go_is_said_before_anything_is_compiled_or_installed() -> Result<()> {
    let machine = Machine::new()?;
    machine.without("go")?;
    let output = machine.xtask(&["demo"])?;
    assert_eq!(output.status.code(), Some(1));
    let expected = "error: missing prerequisite: cannot run go: install Go 1.26 or later (https://go.dev/dl/)\n";
    assert_eq!(stderr(&output), expected);
    assert_eq!(machine.calls(), ["cc --version", "rustc --print target-libdir"]);
    Ok(())
}

#[test]
fn the_wasm_target_is_added_before_anything_is_compiled() -> Result<()> {
    let machine = Machine::new()?;
    let output = machine.xtask(&["test", "--no-e2e"])?;
    let said = stderr(&output);
    let expected =
        "the Rust target wasm32-unknown-unknown is not installed: running `rustup target add wasm32-unknown-unknown`\n";
    assert!(said.contains(expected), "{said}");
    let calls = machine.calls();
    assert_eq!(&calls[..3], ["cc --version", "rustc --print target-libdir", "rustup target add"]);
    assert_eq!(calls[3], "cargo build --color");
    // And it is not added twice.
    machine.xtask(&["test", "--no-e2e"])?;
    assert_eq!(machine.calls().iter().filter(|call| call.starts_with("rustup")).count(), 1);
    Ok(())
}

#[test]
fn a_target_that_cannot_be_added_is_one_line_with_the_reason() -> Result<()> {
    let machine = Machine::new()?;
    machine.tool("rustup", "echo info: downloading >&2; echo error: no network >&2; exit 1")?;
    let output = machine.xtask(&["generate"])?;
    assert_eq!(output.status.code(), Some(1));
    let expected = "error: missing prerequisite: the Rust target wasm32-unknown-unknown: \
                    `rustup target add wasm32-unknown-unknown` failed: error: no network\n";
    assert!(stderr(&output).ends_with(expected), "{}", stderr(&output));
    assert!(!machine.calls().iter().any(|call| call.starts_with("cargo")));

    machine.without("rustup")?;
    let said = stderr(&machine.xtask(&["generate"])?);
    assert!(said.contains("rustup is not in the PATH: install it (https://rustup.rs)"), "{said}");
    Ok(())
}

#[test]
fn help_needs_nothing_at_all() -> Result<()> {
    let machine = Machine::new()?;
    for arguments in [&["--help"][..], &["help"], &[], &["demo", "--help"]] {
        let output = machine.xtask(arguments)?;
        assert!(output.status.success(), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("Usage: cargo xtask"), "{arguments:?}");
    }
    let output = machine.xtask(&["dmeo"])?;
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("error: there is no task `dmeo`\n"), "{}", stderr(&output));
    assert!(machine.calls().is_empty());
    Ok(())
}
