//! Builds the host and the provider modules with a nested cargo, also from inside `cargo test`.

use std::{ffi::OsStr, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{Lock, Observer, prerequisites::GUEST_TARGET, run_observed, target_dir, workspace_root};

/// The profile that providers are compiled with, see the root Cargo.toml.
const GUEST_PROFILE: &str = "guest";

/// Builds the provider modules of these packages and returns the path of each
/// `.wasm` file, in the order of the packages.
///
/// # Errors
/// When cargo fails; the error ends with the last lines of its output.
pub fn guests(packages: &[&str], observer: Observer<'_>) -> Result<Vec<PathBuf>> {
    let mut cargo = cargo_build();
    cargo.args(["--profile", GUEST_PROFILE, "--target", GUEST_TARGET]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    let _lock = Lock::take(&target_dir().join("bartizan-guests.lock"))?;
    run_observed("the provider modules", &mut cargo, observer)?;

    let folder = target_dir().join(GUEST_TARGET).join(GUEST_PROFILE);
    packages
        .iter()
        .map(|package| {
            // cargo names a library's file by its crate name.
            let module = folder.join(format!("{}.wasm", package.replace('-', "_")));
            ensure!(
                module.is_file(),
                "cargo built {package} but not {}: its library must be of crate-type cdylib and have the package's name",
                module.display()
            );
            Ok(module)
        })
        .collect()
}

/// Builds the host with the dev profile and returns the path of `bartizan`.
///
/// # Errors
/// When cargo fails; the error ends with the last lines of its output.
pub fn host(observer: Observer<'_>) -> Result<PathBuf> {
    let programs = programs(&["bartizan"], Profile::Dev, observer)?;
    programs.into_iter().next().context("no host was built")
}

/// How programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quickly, for tests.
    Dev,
    /// For figures that mean something.
    Release,
}

/// Builds programs of the workspace and returns the path of each, in their order.
///
/// # Errors
/// When cargo fails; the error ends with the last lines of its output.
pub fn programs(names: &[&str], profile: Profile, observer: Observer<'_>) -> Result<Vec<PathBuf>> {
    let mut cargo = cargo_build();
    // The whole workspace, of which they are some: with the features that `cargo test --workspace` builds with, or half of
    // the dependencies would be built twice.
    cargo.arg("--workspace");
    for name in names {
        cargo.args(["--bin", name]);
    }
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            cargo.arg("--release");
            "release"
        }
    };
    let _lock = Lock::take(&target_dir().join("bartizan-host.lock"))?;
    run_observed(&names.join(", "), &mut cargo, observer)?;
    names
        .iter()
        .map(|name| {
            let program = target_dir().join(folder).join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
            ensure!(program.is_file(), "cargo built {name} but not {}", program.display());
            Ok(program)
        })
        .collect()
}

/// Cargo in the workspace, as if called from a fresh shell.
pub fn cargo() -> Command {
    // Inside `cargo test`, CARGO is the cargo of the toolchain in use.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_package(&mut cargo);
    cargo.current_dir(workspace_root());
    cargo
}

fn cargo_build() -> Command {
    let mut cargo = cargo();
    cargo.args(["build", "--color", "never", "--target-dir"]).arg(target_dir());
    cargo
}

/// Removes what cargo has set in this process's environment about the package of the running test or program. A nested cargo
/// must not see it: build scripts that watch one of these variables would run again, and everything after them would be built
/// again.
pub fn forget_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if describes_a_package(&name) {
            command.env_remove(name);
        }
    }
}

/// Whether cargo sets this variable for the tests and programs that it runs. The user's own CARGO_HOME, CARGO_TARGET_DIR,
/// CARGO_BUILD_* and so on stay.
fn describes_a_package(name: &OsStr) -> bool {
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    const NAMES: [&str; 5] =
        ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "CARGO_MAKEFLAGS", "OUT_DIR"];
    name.to_str().is_some_and(|name| NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::describes_a_package;

    #[test]
    fn a_nested_cargo_sees_the_users_settings_and_not_the_tests_package() {
        for hidden in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_BIN_EXE_bartizan", "OUT_DIR"] {
            assert!(describes_a_package(OsStr::new(hidden)), "{hidden}");
        }
        for kept in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_JOBS", "CARGO_NET_OFFLINE", "PATH"] {
            assert!(!describes_a_package(OsStr::new(kept)), "{kept}");
        }
    }
}
