//! Builds Go programs, unless they were built from the same sources before.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{Lock, Observer, key::Key, run_observed, target_dir};

/// Builds the program in `sources` into `target/<name>/<name>` and returns its path. `what` names it in errors.
///
/// # Errors
/// When Go is missing or the build fails; the error then ends with the last lines of the build's output.
pub(crate) fn program(
    what: &str,
    name: &str,
    sources: &Path,
    linker_flags: &str,
    observer: Observer<'_>,
) -> Result<PathBuf> {
    let folder = target_dir().join(name);
    let program = folder.join(name);
    let key_file = folder.join(format!("{name}.key"));
    let key = key(sources, linker_flags)?;

    let _lock = Lock::take(&folder.join(".lock"))?;
    if program.is_file() && fs::read_to_string(&key_file).is_ok_and(|built| built == key) {
        return Ok(program);
    }
    // The old program may be running: go writes a new file, and the rename leaves the running process the old one.
    let fresh = folder.join(format!("{name}.new"));
    let mut go = Command::new("go");
    go.current_dir(sources)
        .env("CGO_ENABLED", "0")
        .args(["build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", linker_flags, "-o"])
        .arg(&fresh)
        .arg(".");
    run_observed(what, &mut go, observer)?;
    fs::rename(&fresh, &program).with_context(|| format!("cannot replace {}", program.display()))?;
    fs::write(&key_file, key).with_context(|| format!("cannot write {}", key_file.display()))?;
    Ok(program)
}

/// Changes with everything that the program depends on.
fn key(sources: &Path, linker_flags: &str) -> Result<String> {
    let mut names: Vec<String> = fs::read_dir(sources)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .with_context(|| format!("cannot read {}", sources.display()))?
        .into_iter()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".go") || name == "go.mod" || name == "go.sum")
        .collect();
    names.sort();

    let mut key = Key::new(&format!("{} {linker_flags}", go_version(sources)?));
    for name in names {
        key = key.file(sources, &name)?;
    }
    Ok(key.finish())
}

/// The version of Go that builds in this folder. It may be newer than the `go` in the PATH if go.mod asks for it.
pub(crate) fn go_version(sources: &Path) -> Result<String> {
    let output = Command::new("go")
        .current_dir(sources)
        .args(["env", "GOVERSION"])
        .output()
        .context("cannot run go: install Go 1.26 or later (https://go.dev/dl/)")?;
    if !output.status.success() {
        bail!(
            "this version of Go cannot be used: install Go 1.26 or later (https://go.dev/dl/): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::Result;

    use super::key;

    #[test]
    fn the_key_changes_with_a_source_and_not_with_a_stage() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("go.mod"), "module x\n\ngo 1.26.0\n")?;
        fs::write(folder.path().join("main.go"), "package main\n")?;
        let before = key(folder.path(), "-s")?;
        fs::write(folder.path().join("stage.yaml"), "kind: Stage\n")?;
        assert_eq!(key(folder.path(), "-s")?, before);
        assert_ne!(key(folder.path(), "-w")?, before);
        fs::write(folder.path().join("main.go"), "package main\n\nfunc main() {}\n")?;
        assert_ne!(key(folder.path(), "-s")?, before);
        Ok(())
    }
}
