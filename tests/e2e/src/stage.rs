//! A control plane with Bartizan deployed, except for the host itself, which tests start and stop as they like.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use bartizan_harness::{AuditMark, AuditRequest, ControlPlane, HostProcess, build};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::host::Host;
use crate::programs::{Programs, Provider, crd_file};

/// The host's own namespace.
pub const NAMESPACE: &str = "bartizan-system";
/// The host's user name.
pub const ACCOUNT: &str = "system:serviceaccount:bartizan-system:bartizan";
/// A provider's user name.
#[must_use]
pub fn account_of(provider: &str) -> String {
    format!("system:serviceaccount:bartizan-providers:provider-{provider}")
}

/// How many stages a test process may have at the same time: each takes several hundred MiB.
static ROOM: Semaphore = Semaphore::const_new(4);

/// A control plane with the host's account, the providers' CRDs and rights, and a folder with their modules.
pub struct Stage {
    /// The control plane.
    pub cluster: ControlPlane,
    programs: &'static Programs,
    folder: TempDir,
    kubeconfig: PathBuf,
    /// Released last, when everything has stopped.
    _room: SemaphorePermit<'static>,
}

impl Stage {
    /// A stage for these providers.
    ///
    /// # Errors
    /// If something cannot be built, started or applied.
    pub async fn start(providers: &[Provider]) -> Result<Self> {
        let stage = Self::bare().await?;
        for provider in providers {
            stage.deploy(*provider).await?;
            stage.add_module(*provider).await?;
        }
        Ok(stage)
    }

    /// A stage without a provider: the host's account is there, and its folder of modules is empty.
    ///
    /// # Errors
    /// If something cannot be built, started or applied.
    pub async fn bare() -> Result<Self> {
        let programs = Programs::get().await?;
        let room = ROOM.acquire().await.context("no room for another stage")?;
        let cluster = ControlPlane::start().await?;
        let folder = tempfile::Builder::new().prefix("bartizan-e2e-").tempdir().context("no temporary folder")?;
        std::fs::create_dir(folder.path().join("providers")).context("no folder for the modules")?;
        apply_file(&cluster, &crd_file("providers.bartizan.dev")).await?;
        apply_folder(&cluster, &build::workspace_root().join("deploy/access")).await?;
        let (namespace, name) = (NAMESPACE, "bartizan");
        let kubeconfig = cluster.kubeconfig_for_service_account(namespace, name).await?;
        Ok(Self { cluster, programs, folder, kubeconfig, _room: room })
    }

    /// Applies what a provider needs, and waits until its CRD is served.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn deploy(&self, provider: Provider) -> Result<()> {
        if let Some(file) = provider.crd_file() {
            apply_file(&self.cluster, &file).await?;
        }
        apply_folder(&self.cluster, &provider.deploy_folder()).await?;
        let crd = format!("crd/{}", provider.crd());
        self.cluster.kubectl_ok(&["wait", "--for=condition=Established", "--timeout=60s", &crd], None).await?;
        Ok(())
    }

    /// Gives a provider the rights to write the objects of a kind, by the plural and the group of that.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn grant(&self, provider: Provider, plural: &str, group: &str) -> Result<()> {
        let rule = format!("--resource={plural}.{group}");
        let verbs = "--verb=get,list,watch,create,patch,delete";
        self.cluster.kubectl_ok(&["create", "clusterrole", plural, &rule, verbs], None).await?;
        let (role, user) = (format!("--clusterrole={plural}"), format!("--user={}", account_of(provider.name())));
        self.cluster.kubectl_ok(&["create", "clusterrolebinding", plural, &role, &user], None).await?;
        Ok(())
    }

    /// Puts a provider's module into the folder, and beside it the document that it ships.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub async fn add_module(&self, provider: Provider) -> Result<()> {
        // The document first: a module without one is granted what its manifest asks for.
        if let Some(document) = provider.document() {
            let to = self.providers().join(format!("{}.yaml", provider.name()));
            std::fs::copy(document, to).context("the document cannot be copied")?;
        }
        let to = self.providers().join(format!("{}.wasm", provider.name()));
        std::fs::copy(self.programs.module(provider)?, to).context("the module cannot be copied")?;
        Ok(())
    }

    /// Where the built module of a provider is.
    ///
    /// # Errors
    /// If it was not built.
    pub fn module(&self, provider: Provider) -> Result<&Path> {
        self.programs.module(provider)
    }

    /// The folder that the host takes its modules from.
    #[must_use]
    pub fn providers(&self) -> PathBuf {
        self.folder.path().join("providers")
    }

    /// A path in the stage's own folder, which is removed with it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The kubeconfig of the host's account.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where hosts keep the secret of their one-time keys.
    #[must_use]
    pub fn debug_key_file(&self) -> PathBuf {
        self.path("debug.key")
    }

    /// `bartizan run` as the host's account on the stage's folder; arguments may be added.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command_with(&self.kubeconfig)
    }

    /// Like [`Stage::command`], with another kubeconfig.
    #[must_use]
    pub fn command_with(&self, kubeconfig: &Path) -> Command {
        let mut command = self.plain_command_with(kubeconfig);
        command.arg("--trust-manifests").arg("--providers").arg(self.providers());
        command
    }

    /// `bartizan run` as the host's account on any free port, without further options. Modules are compiled once per
    /// stage.
    #[must_use]
    pub fn plain_command(&self) -> Command {
        self.plain_command_with(&self.kubeconfig)
    }

    fn plain_command_with(&self, kubeconfig: &Path) -> Command {
        let mut command = Command::new(&self.programs.host);
        command.args(["run", "--listen", "127.0.0.1:0", "--kubeconfig"]).arg(kubeconfig);
        command.arg("--cache-dir").arg(self.path("compiled"));
        command.env("BARTIZAN_DEBUG_KEY_FILE", self.debug_key_file());
        // As the containers of one pod: what replaces a host that was killed need not wait until its lease expires.
        command.env("BARTIZAN_IDENTITY", "test");
        // The environment of whoever runs the tests must not change what the host does.
        for variable in [
            "RUST_LOG",
            "KUBECONFIG",
            "BARTIZAN_PROVIDERS",
            "BARTIZAN_LISTEN",
            "BARTIZAN_LOG_FORMAT",
            "BARTIZAN_LEADER_ELECT",
        ] {
            command.env_remove(variable);
        }
        command
    }

    /// Starts a prepared command; its log is in the control plane's folder, which is kept on failure.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn spawn(&self, command: Command) -> Result<HostProcess> {
        let logs = self.cluster.folder().join("logs");
        let number = std::fs::read_dir(&logs).map_or(0, Iterator::count);
        HostProcess::spawn(command, logs.join(format!("bartizan-{number}.log")))
    }

    /// Starts the host with a prepared command and waits for its address.
    ///
    /// # Errors
    /// If it ends, or does not listen in time.
    pub async fn listening(&self, command: Command) -> Result<Host> {
        Host::listening(self.spawn(command)?).await
    }

    /// Starts the host and waits until it is ready.
    ///
    /// # Errors
    /// If it is not in time, with the end of its log.
    pub async fn host(&self) -> Result<Host> {
        let mut host = self.listening(self.command()).await?;
        host.ready().await?;
        Ok(host)
    }

    /// Position in the audit log from which requests are to be counted.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn mark(&self) -> Result<AuditMark> {
        self.cluster.audit_mark()
    }

    /// The host's requests to the API server since then, under its own account and impersonated. Without those about its Lease, which it
    /// renews every 2 s.
    ///
    /// # Errors
    /// If the audit log cannot be read.
    pub fn requests_since(&self, mark: AuditMark) -> Result<Vec<AuditRequest>> {
        let mut requests = self.cluster.audit_requests_since(ACCOUNT, mark)?;
        requests.retain(|request| request.resource != "leases");
        Ok(requests)
    }

    /// The host's writes since then, each in a line: verb, resource, name and code. Without the status of its
    /// Providers, such as the number of parents, whose timing is arbitrary.
    ///
    /// # Errors
    /// If the audit log cannot be read.
    pub fn writes_since(&self, mark: AuditMark) -> Result<Vec<String>> {
        let requests = self.requests_since(mark)?;
        Ok(requests
            .iter()
            .filter(|request| request.is_write() && request.resource != "providers")
            .map(describe)
            .collect())
    }

    /// Runs kubectl as the admin, with `stdin` if it is not empty, and returns what it printed on stdout.
    ///
    /// # Errors
    /// If it ends with another exit code than 0.
    pub async fn kubectl(&self, arguments: &[&str], stdin: &str) -> Result<String> {
        self.cluster.kubectl_ok(arguments, (!stdin.is_empty()).then_some(stdin)).await
    }

    /// Runs kubectl as the admin, which must fail, and returns what it printed on stderr, without the end of line.
    ///
    /// # Errors
    /// If it succeeds.
    pub async fn kubectl_refused(&self, arguments: &[&str], stdin: &str) -> Result<String> {
        let output = self.cluster.kubectl_output(arguments, (!stdin.is_empty()).then_some(stdin)).await?;
        ensure!(output.code == Some(1), "`kubectl {arguments:?}` was not refused: {output:?}");
        Ok(output.stderr.trim_end().to_owned())
    }

    /// Stops the control plane and removes all its files, at the end of a test that passed.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub async fn stop(self) -> Result<()> {
        self.cluster.stop().await
    }
}

/// Applies a kustomization.
async fn apply_folder(cluster: &ControlPlane, folder: &Path) -> Result<()> {
    apply(cluster, "-k", folder).await
}

async fn apply_file(cluster: &ControlPlane, file: &Path) -> Result<()> {
    apply(cluster, "-f", file).await
}

async fn apply(cluster: &ControlPlane, how: &str, path: &Path) -> Result<()> {
    let path = path.to_str().context("the workspace's path is not UTF-8")?;
    cluster.kubectl_ok(&["apply", how, path], None).await?;
    Ok(())
}

/// A request in a line.
fn describe(request: &AuditRequest) -> String {
    let AuditRequest { verb, resource, subresource, namespace, name, code, .. } = request;
    let code = code.map_or_else(|| "unanswered".to_owned(), |code| code.to_string());
    let subresource = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
    format!("{verb} {resource}{subresource} {namespace}/{name}: {code}")
}
