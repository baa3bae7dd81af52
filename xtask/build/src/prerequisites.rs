//! Checks what a build needs from the machine before anything is compiled, and adds the WebAssembly target with rustup.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::{control_plane_sources, go::go_version, languages::runs, workspace_root};

/// The target that providers are compiled for.
pub(crate) const GUEST_TARGET: &str = "wasm32-unknown-unknown";

/// Checks for a C compiler and, if `go` is set, for Go; then adds the WebAssembly target unless it is installed. `say` receives
/// one line about what is being installed.
///
/// # Errors
/// One line for each missing prerequisite that cannot be installed here, with what to do.
pub fn check_prerequisites(go: bool, say: &dyn Fn(&str)) -> Result<()> {
    let mut missing: Vec<String> = Vec::new();
    if go && let Err(error) = go_version(&control_plane_sources()) {
        missing.push(format!("missing prerequisite: {error}"));
    }
    let compiler = std::env::var("CC").ok().filter(|cc| !cc.is_empty()).unwrap_or_else(|| "cc".to_owned());
    missing.extend(missing_c_compiler(&compiler));
    if !has_wasm_target() && missing.is_empty() {
        missing.extend(add_wasm_target(say));
    }
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    Ok(())
}

/// Whether the standard library for [`GUEST_TARGET`] is installed.
fn has_wasm_target() -> bool {
    // In the workspace, so that rustup picks the toolchain of rust-toolchain.toml.
    let libraries = Command::new("rustc")
        .current_dir(workspace_root())
        .args(["--print", "target-libdir", "--target", GUEST_TARGET])
        .stderr(Stdio::null())
        .output();
    libraries.is_ok_and(|output| {
        output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}

/// Installs the target for the workspace's toolchain; an error message if that fails.
fn add_wasm_target(say: &dyn Fn(&str)) -> Option<String> {
    say(&format!("the Rust target {GUEST_TARGET} is not installed: running `rustup target add {GUEST_TARGET}`"));
    let mut rustup = Command::new("rustup");
    rustup.current_dir(workspace_root()).args(["target", "add", GUEST_TARGET]).stdin(Stdio::null());
    let missing = format!("missing prerequisite: the Rust target {GUEST_TARGET}");
    match rustup.output() {
        Err(_) => Some(format!(
            "{missing}: rustup is not in the PATH: install it (https://rustup.rs), or the target with what installed rustc"
        )),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            let reason = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
            Some(format!("{missing}: `rustup target add {GUEST_TARGET}` failed: {}", reason.trim()))
        }
        Ok(_) => None,
    }
}

/// rustc links with it, and the cryptography of the Kubernetes client is partly written in C.
fn missing_c_compiler(compiler: &str) -> Option<String> {
    // CC may carry arguments ("ccache gcc").
    let words: Vec<&str> = compiler.split_whitespace().collect();
    let found = !words.is_empty() && runs(&[&words[..], &["--version"]].concat());
    (!found).then(|| {
        format!("missing prerequisite: a C compiler (`{compiler}`): install gcc or clang, on Debian `apt-get install build-essential`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missing_where_these_tests_could_be_built() -> Result<()> {
        check_prerequisites(false, &|line| eprintln!("{line}"))
    }

    #[test]
    fn a_missing_c_compiler_is_one_line_that_says_how_to_install_one() {
        let message = missing_c_compiler("bartizan-no-such-compiler -O2").unwrap_or_default();
        assert_eq!(
            message,
            "missing prerequisite: a C compiler (`bartizan-no-such-compiler -O2`): install gcc or clang, on Debian \
             `apt-get install build-essential`"
        );
    }
}
