//! The control plane in the foreground, for manual use, and its kubectl.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use bartizan_harness::{ControlPlane, build, kubectl_command};

/// `cargo xtask cluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of fake nodes
    #[arg(long, default_value_t = 4)]
    nodes: usize,
}

/// Runs until Ctrl-C.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    build::control_plane(&build::silent)?;
    runtime()?.block_on(async {
        let cluster = ControlPlane::options().nodes(args.nodes).start().await?;
        println!("export KUBECONFIG={}", cluster.admin_kubeconfig().display());
        eprintln!(
            "API server at {}; `cargo xtask kubectl get nodes` uses $KUBECONFIG; Ctrl-C stops it",
            cluster.server()
        );
        tokio::signal::ctrl_c().await.context("Ctrl-C cannot be handled")?;
        cluster.stop().await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask kubectl`: keeps the caller's environment and kubectl's exit code.
pub(crate) fn kubectl(arguments: &[String]) -> Result<ExitCode> {
    let program = build::control_plane(&build::silent)?;
    let cache = build::target_dir().join("control-plane/kubectl-cache");
    // If empty, kubectl uses its default.
    let kubeconfig = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let status = kubectl_command(&program, kubeconfig.as_ref(), &cache)
        .args(arguments)
        .status()
        .context("kubectl cannot be run")?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

/// The async runtime of a task.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("async runtime")
}
