//! The two controllers that are compared: how each is deployed and started, and when it is ready.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bartizan_harness::{ControlPlane, HostProcess, build};
use tempfile::TempDir;

use super::requests::Counter;
use crate::host;

/// The parents' CustomResourceDefinition, for both.
const CRD: &str = "tests/guests/triple/deploy/crd.yaml";
/// Where the built programs are.
pub(crate) struct Programs {
    pub(crate) host: PathBuf,
    pub(crate) baseline: PathBuf,
    pub(crate) module: PathBuf,
}

/// A controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Bartizan,
    Native,
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bartizan => "bartizan",
            Self::Native => "native",
        }
    }

    /// Its user name.
    pub(crate) fn user(self) -> &'static str {
        match self {
            Self::Bartizan => bartizan_e2e::ACCOUNT,
            Self::Native => "system:serviceaccount:bartizan-baseline:baseline",
        }
    }

    fn account(self) -> (&'static str, &'static str) {
        match self {
            Self::Bartizan => (bartizan_e2e::NAMESPACE, "bartizan"),
            Self::Native => ("bartizan-baseline", "baseline"),
        }
    }

    /// The kustomizations with its account and rights.
    fn deploy_folders(self) -> &'static [&'static str] {
        match self {
            Self::Bartizan => &["deploy/access", "tests/guests/triple/deploy"],
            Self::Native => &["tests/bench/baseline/deploy"],
        }
    }
}

/// A controller that is deployed, and can be started and stopped.
pub(crate) struct Deployed {
    subject: Subject,
    program: PathBuf,
    kubeconfig: PathBuf,
    folder: TempDir,
    logs: PathBuf,
    starts: usize,
}

impl Deployed {
    /// Applies what it needs; the kind is served when this returns.
    pub(crate) async fn new(subject: Subject, cluster: &ControlPlane, programs: &Programs) -> Result<Self> {
        let root = build::workspace_root();
        let path = |name: &str| root.join(name).display().to_string();
        for crd in [CRD, "deploy/crds/providers.bartizan.dev.yaml"] {
            cluster.kubectl_ok(&["apply", "-f", &path(crd)], None).await?;
        }
        for folder in subject.deploy_folders() {
            cluster.kubectl_ok(&["apply", "-k", &path(folder)], None).await?;
        }
        cluster.kubectl_ok(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &path(CRD)], None).await?;
        let (namespace, account) = subject.account();
        let kubeconfig = cluster.kubeconfig_for_service_account(namespace, account).await?;
        let folder = tempfile::Builder::new().prefix("bartizan-bench-").tempdir().context("temporary folder")?;
        let providers = folder.path().join("providers");
        std::fs::create_dir(&providers).context("folder of providers")?;
        std::fs::copy(&programs.module, providers.join("triple.wasm"))
            .with_context(|| format!("--module {}", programs.module.display()))?;
        let program = match subject {
            Subject::Bartizan => programs.host.clone(),
            Subject::Native => programs.baseline.clone(),
        };
        Ok(Self { subject, program, kubeconfig, folder, logs: cluster.folder().join("logs"), starts: 0 })
    }

    /// Starts it, waits until it is ready, and returns the time that this took. The native one has no readiness
    /// probe; its requests since the start show when its caches are listed.
    pub(crate) async fn start(
        &mut self,
        counter: &mut Counter<'_>,
        timeout: Duration,
    ) -> Result<(HostProcess, Duration)> {
        self.starts += 1;
        let log = self.logs.join(format!("{}-{}.log", self.subject.name(), self.starts));
        let command = self.command();
        let started = Instant::now();
        let mut process = HostProcess::spawn(command, log)?;
        match self.subject {
            Subject::Native => {
                while !counter.now()?.has_listed() {
                    ensure!(started.elapsed() < timeout, "it has not listed: {}", process.lines().join("\n"));
                    ensure!(process.exited()?.is_none(), "it ended: {}", process.lines().join("\n"));
                    tokio::time::sleep(host::POLL).await;
                }
            }
            Subject::Bartizan => {
                process = host::ready(process, timeout).await?.process;
            }
        }
        Ok((process, started.elapsed()))
    }

    fn command(&self) -> Command {
        match self.subject {
            Subject::Bartizan => host::command(&self.program, self.folder.path(), &self.kubeconfig),
            Subject::Native => host::baseline(&self.program, &self.kubeconfig),
        }
    }
}
