//! The command `bartizan`, as people run it.

use std::process::{Command, Output};

use anyhow::{Context as _, Result};

use crate::stage::Stage;

/// Runs the built `bartizan` with these arguments, and waits for it.
///
/// # Errors
/// If it cannot be run.
pub fn bartizan(stage: &Stage, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(stage.plain_command().get_program());
    command.args(arguments).env_remove("BARTIZAN_SYSTEM_NAMESPACE").env_remove("RUST_LOG");
    // Somebody on the host's machine, with its rights.
    command.env("BARTIZAN_DEBUG_KEY_FILE", stage.debug_key_file());
    command.output().context("bartizan cannot be run")
}

/// Its exit code, stdout and stderr.
#[must_use]
pub fn code_and_output(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
