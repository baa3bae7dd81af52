//! What a kubelet would do with the host's Deployment: run its container as often as it has replicas, with its arguments, environment and
//! account, mount the ConfigMaps that it names, and stop it as its pods go.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bartizan_e2e::NAMESPACE;
use bartizan_harness::{ControlPlane, HostProcess};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Volume};
use kube::Api;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// Longer than the time that the host gives work in flight after SIGTERM.
const GRACE: Duration = Duration::from_secs(30);
/// How often it looks.
const SYNC: Duration = Duration::from_millis(200);

/// Looks at the Deployment all the time.
pub(crate) struct Kubelet {
    pods: Arc<Mutex<Pods>>,
    task: JoinHandle<Result<()>>,
}

impl Kubelet {
    /// Begins.
    pub(crate) fn start(cluster: Arc<ControlPlane>, program: PathBuf, folder: PathBuf) -> Self {
        let pods = Arc::new(Mutex::new(Pods { program, folder, running: Vec::new(), started: 0, kubeconfig: None }));
        let synced = pods.clone();
        let task = tokio::spawn(async move {
            loop {
                synced.lock().await.sync(&cluster).await?;
                tokio::time::sleep(SYNC).await;
            }
        });
        Self { pods, task }
    }

    /// How a pod is asked: its address, and the file with the secret of its one-time keys.
    pub(crate) async fn server(&self, name: &str) -> Result<(String, PathBuf)> {
        self.pods.lock().await.server(name).with_context(|| format!("there is no pod {name}"))
    }

    /// Takes one away, as a drained node does.
    pub(crate) async fn drain(&self, name: &str) -> Result<()> {
        self.pods.lock().await.drain(name).await
    }

    /// Ends, with what went wrong.
    pub(crate) async fn stop(self) -> Result<()> {
        if self.task.is_finished() {
            return self.task.await?;
        }
        self.task.abort();
        let _ = self.task.await;
        for (_, process) in std::mem::take(&mut self.pods.lock().await.running) {
            stop(process).await?;
        }
        Ok(())
    }
}

fn key_file(folder: &Path, pod: &str) -> PathBuf {
    folder.join(format!("{pod}.key"))
}

/// The containers that run.
struct Pods {
    program: PathBuf,
    folder: PathBuf,
    running: Vec<(String, HostProcess)>,
    started: usize,
    kubeconfig: Option<PathBuf>,
}

impl Pods {
    /// Looks at the Deployment once, and does what is left to do.
    async fn sync(&mut self, cluster: &ControlPlane) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(cluster.client(), NAMESPACE);
        let spec = deployments.get_opt("bartizan").await?.filter(|it| it.metadata.deletion_timestamp.is_none());
        let spec = spec.and_then(|deployment| deployment.spec);
        let replicas = spec.as_ref().map_or(0, |spec| usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or_default());
        self.running.retain_mut(|(_, process)| matches!(process.exited(), Ok(None)));
        while self.running.len() > replicas {
            if let Some((_, process)) = self.running.pop() {
                stop(process).await?;
            }
        }
        let Some(pod) = spec.and_then(|spec| spec.template.spec) else {
            // Another installation has another account.
            self.kubeconfig = None;
            return Ok(());
        };
        self.mount(cluster, pod.volumes.as_deref().unwrap_or_default()).await?;
        let container = pod.containers.first().context("a pod without a container")?;
        while self.running.len() < replicas {
            self.start(cluster, container).await?;
        }
        Ok(())
    }

    async fn mount(&self, cluster: &ControlPlane, volumes: &[Volume]) -> Result<()> {
        let config_maps: Api<ConfigMap> = Api::namespaced(cluster.client(), NAMESPACE);
        let folder = self.folder.join("providers");
        std::fs::create_dir_all(&folder)?;
        let projected = volumes.iter().filter_map(|volume| volume.projected.as_ref()?.sources.as_ref()).flatten();
        let names: Vec<String> =
            projected.filter_map(|source| source.config_map.as_ref().map(|source| source.name.clone())).collect();
        for name in names {
            let found = config_maps.get_opt(&name).await?;
            for (file, bytes) in found.and_then(|found| found.binary_data).unwrap_or_default() {
                let path = folder.join(file);
                if std::fs::read(&path).ok().as_deref() != Some(&bytes.0) {
                    bartizan_e2e::replace(&path, &bytes.0)?;
                }
            }
        }
        Ok(())
    }

    async fn start(&mut self, cluster: &ControlPlane, container: &Container) -> Result<()> {
        if self.kubeconfig.is_none() {
            self.kubeconfig = Some(cluster.kubeconfig_for_service_account(NAMESPACE, "bartizan").await?);
        }
        self.started += 1;
        let name = format!("bartizan-{}", self.started);
        let at = |path: &str| self.folder.join(path.trim_start_matches('/')).to_string_lossy().into_owned();
        let mut command = Command::new(&self.program);
        for argument in container.args.iter().flatten() {
            // Paths of the container are below a folder of ours, and there is one network.
            let argument = argument.replace("=/providers", &format!("={}", at("providers")));
            let argument = argument.replace("=/cache", &format!("={}", at(&format!("cache-{name}"))));
            command.arg(argument.replace("0.0.0.0:8080", "127.0.0.1:0"));
        }
        command.env("BARTIZAN_IDENTITY", &name).env("BARTIZAN_DEBUG_KEY_FILE", key_file(&self.folder, &name));
        command.env("KUBECONFIG", self.kubeconfig.as_deref().context("no account")?).env_remove("RUST_LOG");
        let mut process = HostProcess::spawn(command, self.folder.join(format!("{name}.log")))?;
        process.wait_for_line("listening on http://", bartizan_e2e::SOON).await?;
        self.running.push((name, process));
        Ok(())
    }

    /// How one of them is asked: its address, and the file with the secret of its one-time keys.
    fn server(&self, name: &str) -> Option<(String, PathBuf)> {
        let (_, process) = self.running.iter().find(|(known, _)| known == name)?;
        let line = process.lines().into_iter().find(|line| line.contains("listening on http://"))?;
        let address = line.split("http://").nth(1)?.split([' ', '"']).next()?;
        Some((address.to_owned(), key_file(&self.folder, name)))
    }

    async fn drain(&mut self, name: &str) -> Result<()> {
        let at = self.running.iter().position(|(known, _)| known == name).context("no such pod")?;
        stop(self.running.remove(at).1).await
    }
}

async fn stop(mut process: HostProcess) -> Result<()> {
    process.sigterm()?;
    process.wait_exit(GRACE).await?;
    Ok(())
}
