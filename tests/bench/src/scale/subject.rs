//! The two controllers that are compared: how each is deployed, started, and known to be ready.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bartizan_e2e::Host;
use bartizan_harness::{ControlPlane, HostProcess, build};
use tempfile::TempDir;

use super::requests::Counter;

/// The parents' CustomResourceDefinition, for both.
const CRD: &str = "tests/guests/triple/deploy/crd.yaml";
/// How often it is asked whether a controller is ready.
const LOOK: Duration = Duration::from_millis(10);

/// Where the built programs are.
pub(crate) struct Programs {
    pub(crate) host: PathBuf,
    pub(crate) native: PathBuf,
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

    /// The user that it is for the API server.
    pub(crate) fn user(self) -> &'static str {
        match self {
            Self::Bartizan => bartizan_e2e::ACCOUNT,
            Self::Native => "system:serviceaccount:bartizan-native:native",
        }
    }

    fn account(self) -> (&'static str, &'static str) {
        match self {
            Self::Bartizan => (bartizan_e2e::NAMESPACE, "bartizan"),
            Self::Native => ("bartizan-native", "native"),
        }
    }

    /// The kustomizations with its account and rights.
    fn deploy_folders(self) -> &'static [&'static str] {
        match self {
            Self::Bartizan => &["deploy/access", "tests/guests/triple/deploy"],
            Self::Native => &["tests/native/deploy"],
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
        cluster.kubectl_ok(&["apply", "-f", &path(CRD)], None).await?;
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
            Subject::Native => programs.native.clone(),
        };
        Ok(Self { subject, program, kubeconfig, folder, logs: cluster.folder().join("logs"), starts: 0 })
    }

    /// Starts it and waits until it is ready: with the time that this took. The native one says nothing about that; the
    /// requests since its start say when its caches are listed.
    pub(crate) async fn start(
        &mut self,
        counter: &mut Counter<'_>,
        patience: Duration,
    ) -> Result<(HostProcess, Duration)> {
        self.starts += 1;
        let log = self.logs.join(format!("{}-{}.log", self.subject.name(), self.starts));
        let command = self.command();
        let started = Instant::now();
        let mut process = HostProcess::spawn(command, log)?;
        match self.subject {
            Subject::Native => {
                while !counter.now()?.has_listed() {
                    ensure!(started.elapsed() < patience, "it has not listed: {}", process.lines().join("\n"));
                    ensure!(process.exited()?.is_none(), "it ended: {}", process.lines().join("\n"));
                    tokio::time::sleep(LOOK).await;
                }
            }
            Subject::Bartizan => {
                let mut host = Host::listening(process).await?;
                while host.get("/readyz").await?.0 != 200 {
                    ensure!(started.elapsed() < patience, "not ready: {}", host.process.lines().join("\n"));
                    ensure!(host.process.exited()?.is_none(), "it ended: {}", host.process.lines().join("\n"));
                    tokio::time::sleep(LOOK).await;
                }
                process = host.process;
            }
        }
        Ok((process, started.elapsed()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if self.subject == Subject::Bartizan {
            let path = |name: &str| -> PathBuf { Path::join(self.folder.path(), name) };
            command.args(["run", "--trust-manifests", "--listen", "127.0.0.1:0"]);
            command.arg("--providers").arg(path("providers")).arg("--cache-dir").arg(path("compiled"));
        }
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        // Whatever the user of the bench has set must not change what is measured.
        for variable in ["RUST_LOG", "KUBECONFIG", "BARTIZAN_LOG_FORMAT", "BARTIZAN_SYSTEM_NAMESPACE"] {
            command.env_remove(variable);
        }
        command
    }
}
