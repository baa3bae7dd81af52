//! Says in one line each what is missing on this machine, before a build fails in a hundred.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::{control_plane_sources, go::go_version, workspace_root};

/// Checks that Go, the WebAssembly target and a C compiler are there.
///
/// # Errors
/// One line for each missing prerequisite, with what to install.
pub fn check_prerequisites() -> Result<()> {
    let missing: Vec<String> = [go(), wasm_target(), c_compiler()].into_iter().flatten().collect();
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    Ok(())
}

/// The control plane is a Go program.
fn go() -> Option<String> {
    let error = go_version(&control_plane_sources()).err()?;
    Some(format!("missing prerequisite: {error}"))
}

/// Providers are compiled for it.
fn wasm_target() -> Option<String> {
    let advice = "missing prerequisite: the Rust target wasm32-unknown-unknown: \
                  run `rustup target add wasm32-unknown-unknown` in this workspace";
    // In the workspace, so that rustup picks the toolchain of rust-toolchain.toml.
    let libraries = Command::new("rustc")
        .current_dir(workspace_root())
        .args(["--print", "target-libdir", "--target", "wasm32-unknown-unknown"])
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match libraries {
        Some(folder) if std::path::Path::new(&folder).is_dir() => None,
        _ => Some(advice.to_owned()),
    }
}

/// rustc links with it, and the cryptography of the API client is partly in C.
fn c_compiler() -> Option<String> {
    let compiler = std::env::var("CC").ok().filter(|cc| !cc.is_empty()).unwrap_or_else(|| "cc".to_owned());
    // CC may carry arguments ("ccache gcc").
    let mut words = compiler.split_whitespace();
    let found = words.next().is_some_and(|program| {
        Command::new(program)
            .args(words)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    (!found).then(|| {
        format!("missing prerequisite: a C compiler (`{compiler}`): install gcc or clang, on Debian `apt-get install build-essential`")
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::check_prerequisites;

    #[test]
    fn nothing_is_missing_where_these_tests_could_be_built() -> Result<()> {
        check_prerequisites()
    }
}
