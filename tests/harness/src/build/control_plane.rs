//! Builds the Go program that is the control plane, and reuses it while its sources stay the same.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{Lock, Observer, control_plane_sources, run_observed, target_dir};

/// The release of Kubernetes that go.mod names. The API server derives from the
/// version it is linked with which APIs and features exist; without one it
/// takes itself for 0.0.0.
const KUBERNETES_MAJOR: &str = "1";
const KUBERNETES_MINOR: &str = "36";
const KUBERNETES_PATCH: &str = "3";

/// Builds `tests/control-plane` into `target/control-plane/` and returns the
/// program's path. Minutes the first time, milliseconds while the Go sources,
/// the modules and the Go version stay what they were.
///
/// # Errors
/// When Go is missing or the build fails; the error then ends with the last
/// lines of the build's output.
pub fn control_plane(observer: Observer<'_>) -> Result<PathBuf> {
    let sources = control_plane_sources();
    let folder = target_dir().join("control-plane");
    let program = folder.join("control-plane");
    let key_file = folder.join("control-plane.key");
    let key = key(&sources)?;

    let _lock = Lock::take(&folder.join(".lock"))?;
    if program.is_file() && fs::read_to_string(&key_file).is_ok_and(|built| built == key) {
        return Ok(program);
    }
    // A control plane may be running from the old program: go writes beside it
    // and the rename leaves the running one its file.
    let fresh = folder.join("control-plane.new");
    let mut go = Command::new("go");
    go.current_dir(&sources)
        .env("CGO_ENABLED", "0")
        .args(["build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", &linker_flags(), "-o"])
        .arg(&fresh)
        .arg(".");
    run_observed("the control plane", &mut go, observer)?;
    fs::rename(&fresh, &program).with_context(|| format!("cannot replace {}", program.display()))?;
    fs::write(&key_file, key).with_context(|| format!("cannot write {}", key_file.display()))?;
    Ok(program)
}

/// Strips what only a debugger reads (a third of the size) and stamps the version.
fn linker_flags() -> String {
    let version = "k8s.io/component-base/version";
    format!(
        "-s -w -X {version}.gitVersion=v{KUBERNETES_MAJOR}.{KUBERNETES_MINOR}.{KUBERNETES_PATCH} \
         -X {version}.gitMajor={KUBERNETES_MAJOR} -X {version}.gitMinor={KUBERNETES_MINOR} \
         -X {version}.gitTreeState=clean"
    )
}

/// What the program depends on, as one string: it is rebuilt when this changes.
fn key(sources: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(sources)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .with_context(|| format!("cannot read {}", sources.display()))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "go")
                || path.ends_with("go.mod")
                || path.ends_with("go.sum")
        })
        .collect();
    files.sort();

    let mut hash = Sha256::new();
    hash.update(go_version(sources)?);
    hash.update(linker_flags());
    for file in files {
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        // The length keeps two files from passing for one.
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(content.len().to_le_bytes());
        hash.update(&content);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The Go that would build in this folder, which may be a newer one than the
/// `go` in the PATH: go.mod can ask for it.
pub(super) fn go_version(sources: &Path) -> Result<String> {
    let output = Command::new("go")
        .current_dir(sources)
        .args(["env", "GOVERSION"])
        .output()
        .context("cannot run go: install Go 1.26 or later (https://go.dev/dl/)")?;
    if !output.status.success() {
        bail!(
            "this Go does not do: install Go 1.26 or later (https://go.dev/dl/): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::Result;

    use super::{KUBERNETES_MAJOR, KUBERNETES_MINOR, KUBERNETES_PATCH, control_plane_sources, key};

    #[test]
    fn the_stamped_version_is_the_one_in_go_mod() -> Result<()> {
        let go_mod = fs::read_to_string(control_plane_sources().join("go.mod"))?;
        let required = format!("k8s.io/kubernetes v{KUBERNETES_MAJOR}.{KUBERNETES_MINOR}.{KUBERNETES_PATCH}");
        assert!(go_mod.contains(&required), "go.mod does not require {required}");
        Ok(())
    }

    #[test]
    fn the_key_changes_with_a_source_and_not_with_a_stage() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("go.mod"), "module x\n\ngo 1.26.0\n")?;
        fs::write(folder.path().join("main.go"), "package main\n")?;
        let before = key(folder.path())?;
        fs::write(folder.path().join("stage.yaml"), "kind: Stage\n")?;
        assert_eq!(key(folder.path())?, before);
        fs::write(folder.path().join("main.go"), "package main\n\nfunc main() {}\n")?;
        assert_ne!(key(folder.path())?, before);
        Ok(())
    }
}
