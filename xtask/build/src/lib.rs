//! Builds the programs and modules that tests, the demo and the benches run, each once for the same sources.
//!
//! All functions block: call them from `spawn_blocking` in async code. Processes that build the same thing at the same time
//! exclude each other with file locks.
//!
//! Almost without dependencies, because `cargo xtask` is compiled with it before it can print its first line.

mod cargo;
mod control_plane;
mod go;
mod key;
mod languages;
mod prerequisites;
mod progress;

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

pub use cargo::{Profile, cargo, forget_package, guests, host, programs};
pub use control_plane::{actionlint, control_plane, helm, registry};
pub use languages::{Language, Module, hello_in};
pub use prerequisites::check_prerequisites;
pub use progress::Progress;

/// Receives the output of a build tool, a line at a time, as it is printed.
pub type Observer<'a> = &'a (dyn Fn(&str) + Sync);

/// The [`Observer`] that ignores the output.
pub fn silent(_line: &str) {}

/// How many lines of a failed build's output its error repeats: a compiler error with its context, not the whole build.
const KEPT_LINES: usize = 60;

/// The root folder of the workspace.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // xtask/build is two folders below the root.
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The folder that everything is built into: `CARGO_TARGET_DIR`, or `target` in
/// the workspace.
///
/// A relative `CARGO_TARGET_DIR` counts from the workspace root, because tests
/// run in their package's folder and would each see another one.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => workspace_root().join(dir),
        None => workspace_root().join("target"),
    }
}

/// The folder with the Go module of the control plane, its stages and manifests.
pub fn control_plane_sources() -> PathBuf {
    workspace_root().join("tests/control-plane")
}

/// Holds a lock file until it is dropped; other processes that take the same one wait.
struct Lock {
    _file: File,
}

impl Lock {
    fn take(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let file = File::create(path).with_context(|| format!("cannot create the lock {}", path.display()))?;
        file.lock().with_context(|| format!("cannot take the lock {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

/// Runs a build to its end. Its output goes to the observer, and the last lines of it into the error if it fails.
fn run_observed(what: &str, command: &mut Command, observer: Observer<'_>) -> Result<()> {
    // All of them report failures and progress on stderr.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot run {program} to build {what}"))?;
    let mut kept = VecDeque::with_capacity(KEPT_LINES);
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = line.with_context(|| format!("cannot read the output of {program}"))?;
            let line = String::from_utf8_lossy(&line).into_owned();
            observer(&line);
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {program}"))?;
    if !status.success() {
        let output = Vec::from(kept).join("\n");
        bail!("cannot build {what}: {program} ended with {status}\n{output}");
    }
    Ok(())
}
