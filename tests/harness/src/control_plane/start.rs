//! The start: its order, and when each component is ready.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bartizan_build as build;
use k8s_openapi::api::{
    core::v1::{Node, ServiceAccount},
    storage::v1::StorageClass,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{guard::Guard, process::Component};

use super::{
    access::client_for,
    components::{APISERVER, ETCD, Layout, Ports},
    options::Options,
    running::{ControlPlane, print_kept_logs},
};

const CONTROLLER_MANAGER: &str = "kube-controller-manager";
const SCHEDULER: &str = "kube-scheduler";
const KWOK: &str = "kwok";

/// How long the whole start may take. It takes 4 s on two cores; a machine that builds something else meanwhile gets
/// plenty of time.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// How often a component's readiness is polled.
const POLL: Duration = Duration::from_millis(20);

/// The error of Go's network library when another process took a port first.
const PORT_TAKEN: &str = "address already in use";

impl Options {
    /// Starts the control plane and returns when it can be used: the API server
    /// is ready, the nodes are too, and the namespace `default` has its account.
    ///
    /// # Errors
    /// Names the component that failed and ends with the last lines of its log.
    pub async fn start(self) -> Result<ControlPlane> {
        ControlPlane::start_with(self).await
    }
}

impl ControlPlane {
    /// Starts a control plane with four nodes, see [`Options::start`].
    ///
    /// # Errors
    /// Names the component that failed and ends with the last lines of its log.
    pub async fn start() -> Result<Self> {
        Options::default().start().await
    }

    /// The options to start one with.
    pub fn options() -> Options {
        Options::default()
    }

    async fn start_with(options: Options) -> Result<Self> {
        let program = match options.program.clone() {
            Some(program) => program,
            None => tokio::task::spawn_blocking(|| build::control_plane(&build::silent))
                .await
                .context("building the control plane was interrupted")??,
        };
        match Self::attempt(&options, program.clone()).await {
            // Retry with other ports; losing the race twice is no race.
            Err(error) if format!("{error:#}").contains(PORT_TAKEN) => Self::attempt(&options, program).await,
            result => result,
        }
    }

    async fn attempt(options: &Options, program: PathBuf) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("bartizan-");
        let folder = match &options.root {
            Some(root) => builder.tempdir_in(root),
            None => builder.tempdir(),
        }
        .context("cannot make a temporary folder")?;
        let layout = Layout::write(folder.path(), Ports::free()?)?;
        let mut starting = Starting {
            program,
            components: Vec::new(),
            deadline: Instant::now() + START_DEADLINE,
            client: client_for(&layout.admin).await?,
            layout,
        };
        match starting.run(options.nodes).await {
            Ok(()) => {
                let guard = if options.keep { None } else { Some(Guard::remove_folder(folder.path())?) };
                Ok(Self {
                    layout: starting.layout,
                    components: starting.components,
                    folder: Some(folder),
                    guard,
                    keep: options.keep,
                    client: starting.client,
                    program: starting.program,
                })
            }
            Err(error) => Err(starting.abandon(folder, error)),
        }
    }
}

/// A control plane that is being started.
struct Starting {
    program: PathBuf,
    layout: Layout,
    components: Vec<Component>,
    deadline: Instant,
    client: Client,
}

impl Starting {
    async fn run(&mut self, nodes: usize) -> Result<()> {
        self.spawn(ETCD, self.layout.etcd())?;
        // An API server that finds no etcd retries only after a second.
        let etcd = ("127.0.0.1", self.layout.ports.etcd);
        self.until(ETCD, "listen", async |_| Ok(TcpStream::connect(etcd).await.is_ok())).await?;
        self.spawn(APISERVER, self.layout.apiserver())?;
        self.until(APISERVER, "be ready", async |client| {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            client.request_text(request).await?;
            Ok(true)
        })
        .await?;
        // Not earlier: each of them would fail once and wait a second or more, and load slows the API server, which
        // is busy with its own start.
        self.spawn(CONTROLLER_MANAGER, self.layout.controller_manager())?;
        self.spawn(SCHEDULER, self.layout.scheduler())?;
        self.spawn(KWOK, self.layout.kwok())?;
        self.create_storage_class().await?;
        self.create_nodes(nodes).await?;
        self.until(CONTROLLER_MANAGER, "make the default ServiceAccount", async |client| {
            let accounts: Api<ServiceAccount> = Api::namespaced(client, "default");
            Ok(accounts.get_opt("default").await?.is_some())
        })
        .await?;
        self.until(KWOK, "make the nodes ready", async |client| {
            let ready = Api::<Node>::all(client)
                .list(&ListParams::default())
                .await?
                .items
                .iter()
                .filter(|node| is_usable(node))
                .count();
            Ok(ready == nodes)
        })
        .await
    }

    fn spawn(&mut self, name: &'static str, arguments: Vec<String>) -> Result<()> {
        let component = Component::spawn(&self.program, name, &arguments, &self.layout.folder)?;
        self.components.push(component);
        Ok(())
    }

    /// Polls until the answer is yes. Fails at once when any component ends, and with the log of the component that
    /// is waited for when the deadline passes.
    async fn until(
        &mut self,
        name: &'static str,
        what: &str,
        mut ready: impl AsyncFnMut(Client) -> Result<bool>,
    ) -> Result<()> {
        loop {
            // A request may hang in a server that is starting.
            let answer = tokio::time::timeout(Duration::from_secs(5), ready(self.client.clone())).await;
            if let Ok(Ok(true)) = answer {
                return Ok(());
            }
            if let Some(failure) = self.components.iter_mut().find_map(Component::failure) {
                bail!("the control plane cannot start: {failure}");
            }
            if Instant::now() >= self.deadline {
                let last = match answer {
                    Ok(Ok(_)) => "not yet".to_owned(),
                    Ok(Err(error)) => format!("{error:#}"),
                    Err(_) => "no answer within 5 s".to_owned(),
                };
                let log = self
                    .components
                    .iter()
                    .find(|component| component.name() == name)
                    .map(Component::log_tail)
                    .unwrap_or_default();
                bail!(
                    "the control plane cannot start: {name} did not {what} within {} s ({last})\n{log}",
                    START_DEADLINE.as_secs()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn create_storage_class(&self) -> Result<()> {
        let path = build::control_plane_sources().join("manifests/storage-class.yaml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let class: StorageClass =
            serde_yaml_ng::from_str(&text).with_context(|| format!("cannot parse {}", path.display()))?;
        Api::<StorageClass>::all(self.client.clone())
            .create(&PostParams::default(), &class)
            .await
            .context("cannot create the default StorageClass")?;
        Ok(())
    }

    async fn create_nodes(&self, count: usize) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        for index in 0..count {
            let name = format!("node-{index}");
            // A range of its own per node, so that no two pods share an address.
            let range = format!("10.{}.{}.0/24", 128 + index / 256, index % 256);
            let node: Node = serde_json::from_value(json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": { "name": name, "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                } },
                "spec": { "podCIDR": range, "podCIDRs": [range] },
            }))
            .context("a node that we made is none")?;
            nodes
                .create(&PostParams::default(), &node)
                .await
                .with_context(|| format!("cannot create the node {name}"))?;
        }
        Ok(())
    }

    /// Stops what has been started and keeps the logs; the error says where.
    fn abandon(mut self, folder: TempDir, error: anyhow::Error) -> anyhow::Error {
        // Clients before servers, as in an ordinary stop; none has any work.
        while let Some(component) = self.components.pop() {
            drop(component);
        }
        print_kept_logs(folder);
        error
    }
}

/// Whether pods can be placed on a node: it is ready, and the node lifecycle
/// controller has noticed and removed its taints.
fn is_usable(node: &Node) -> bool {
    let ready = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let tainted = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).next().is_some();
    ready && !tainted
}
