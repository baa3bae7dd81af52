//! Builds the Go programs of the tests: the control plane, a registry, Helm, actionlint.

use std::path::PathBuf;

use anyhow::Result;

use crate::{Observer, control_plane_sources, go, workspace_root};

/// The release of Kubernetes in go.mod. The API server derives from the version that is stamped into it which APIs and features
/// exist; without one it assumes 0.0.0.
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
    go::program("the control plane", "control-plane", &control_plane_sources(), &linker_flags(), observer)
}

/// Builds `tests/registry` into `target/registry/` and returns the program's path, as [`control_plane`] does.
///
/// # Errors
/// As [`control_plane`].
pub fn registry(observer: Observer<'_>) -> Result<PathBuf> {
    go::program("the registry", "registry", &workspace_root().join("tests/registry"), "-s -w", observer)
}

/// Builds `tests/helm` into `target/helm/` and returns the program's path, as [`control_plane`] does.
///
/// # Errors
/// As [`control_plane`].
pub fn helm(observer: Observer<'_>) -> Result<PathBuf> {
    go::program("Helm", "helm", &workspace_root().join("tests/helm"), "-s -w", observer)
}

/// Builds `tests/actionlint` into `target/actionlint/` and returns the program's path, as [`control_plane`] does.
///
/// # Errors
/// As [`control_plane`].
pub fn actionlint(observer: Observer<'_>) -> Result<PathBuf> {
    go::program("actionlint", "actionlint", &workspace_root().join("tests/actionlint"), "-s -w", observer)
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

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::Result;

    use super::{KUBERNETES_MAJOR, KUBERNETES_MINOR, KUBERNETES_PATCH, control_plane_sources};

    #[test]
    fn the_stamped_version_is_the_one_in_go_mod() -> Result<()> {
        let go_mod = fs::read_to_string(control_plane_sources().join("go.mod"))?;
        let required = format!("k8s.io/kubernetes v{KUBERNETES_MAJOR}.{KUBERNETES_MINOR}.{KUBERNETES_PATCH}");
        assert!(go_mod.contains(&required), "go.mod does not require {required}");
        Ok(())
    }
}
