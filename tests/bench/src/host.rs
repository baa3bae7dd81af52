//! The host and the native controller as processes, the same for every figure.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bartizan_e2e::Host;
use bartizan_harness::HostProcess;

/// How often readiness is polled.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// `bartizan run` with the folder's `providers`, and its compile cache beside them.
pub(crate) fn command(program: &Path, folder: &Path, kubeconfig: &Path) -> Command {
    let mut command = clean(program);
    command.args(["run", "--trust-manifests", "--listen", "127.0.0.1:0", "--kubeconfig"]).arg(kubeconfig);
    // What replaces a host that was killed need not wait until its lease expires.
    command.env("BARTIZAN_IDENTITY", "bench");
    command.arg("--providers").arg(folder.join("providers")).arg("--cache-dir").arg(folder.join("compiled"));
    command
}

/// The native controller.
pub(crate) fn baseline(program: &Path, kubeconfig: &Path) -> Command {
    let mut command = clean(program);
    command.arg("--kubeconfig").arg(kubeconfig);
    command
}

/// The environment of whoever runs the bench must not change what is measured.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for variable in
        ["RUST_LOG", "KUBECONFIG", "BARTIZAN_LOG_FORMAT", "BARTIZAN_LEADER_ELECT", "BARTIZAN_SYSTEM_NAMESPACE"]
    {
        command.env_remove(variable);
    }
    command
}

/// Waits until the host is ready, with every provider.
pub(crate) async fn ready(process: HostProcess, timeout: Duration) -> Result<Host> {
    let started = Instant::now();
    let mut host = Host::listening(process).await?;
    while !matches!(host.get("/readyz").await?, (200, text) if !text.contains("[ ]")) {
        ensure!(started.elapsed() < timeout, "not ready: {}", host.process.lines().join("\n"));
        ensure!(host.process.exited()?.is_none(), "it ended: {}", host.process.lines().join("\n"));
        tokio::time::sleep(POLL).await;
    }
    Ok(host)
}
