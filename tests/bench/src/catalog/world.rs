//! A fresh control plane with the providers of one host, and a watch on their parents.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bartizan_e2e::{Host, ModuleCopy, deploy_copies};
use bartizan_harness::{ControlPlane, HostProcess, build};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::host;

/// How many parents are written at the same time.
pub(crate) const WRITERS: usize = 32;

/// The control plane, and a folder with modules.
pub(crate) struct World {
    pub(crate) cluster: ControlPlane,
    folder: TempDir,
    kubeconfig: PathBuf,
}

impl World {
    pub(crate) async fn new() -> Result<Self> {
        // No nodes: nothing here has pods.
        let cluster = ControlPlane::options().nodes(0).start().await?;
        let crd = bartizan_e2e::crd_file("providers.bartizan.dev");
        cluster.kubectl_ok(&["apply", "-f", crd.to_str().context("a path")?], None).await?;
        let access = build::workspace_root().join("deploy/access");
        cluster.kubectl_ok(&["apply", "-k", access.to_str().context("a path")?], None).await?;
        let kubeconfig = cluster.kubeconfig_for_service_account(bartizan_e2e::NAMESPACE, "bartizan").await?;
        let folder = tempfile::Builder::new().prefix("bartizan-bench-").tempdir().context("temporary folder")?;
        std::fs::create_dir(folder.path().join("providers")).context("folder of providers")?;
        Ok(Self { cluster, folder, kubeconfig })
    }

    pub(crate) fn providers(&self) -> PathBuf {
        self.folder.path().join("providers")
    }

    /// Starts the host for these providers, and waits until it is ready.
    pub(crate) async fn host(&self, program: &Path, copies: &[ModuleCopy]) -> Result<Host> {
        deploy_copies(&self.cluster, program, copies).await?;
        self.start(program, "bench").await
    }

    /// Starts another one beside it, which stands by.
    pub(crate) async fn standby(&self, program: &Path) -> Result<Host> {
        self.start(program, "standby").await
    }

    /// Starts a host of this identity, and waits until it is ready.
    pub(crate) async fn start(&self, program: &Path, identity: &str) -> Result<Host> {
        let mut command = host::command(program, self.folder.path(), &self.kubeconfig);
        command.env("BARTIZAN_IDENTITY", identity);
        let log = self.cluster.folder().join("logs").join(format!("bartizan-{identity}.log"));
        host::ready(HostProcess::spawn(command, log)?, Duration::from_secs(120)).await
    }

    /// Forgets what was compiled.
    pub(crate) fn forget_compiled(&self) -> Result<()> {
        match std::fs::remove_dir_all(self.folder.path().join("compiled")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("compile cache"),
            _ => Ok(()),
        }
    }
}

/// The value in the status of each parent, by name, as last watched.
pub(crate) struct Parents {
    copies: Vec<ModuleCopy>,
    cluster: kube::Client,
    shown: watch::Sender<HashMap<String, String>>,
    _tasks: JoinSet<()>,
    edits: usize,
}

impl Parents {
    /// Parents of providers made of `triple`.
    pub(crate) fn watch(world: &World, copies: &[ModuleCopy]) -> Self {
        let shown: watch::Sender<HashMap<String, String>> = watch::Sender::default();
        let mut tasks = JoinSet::new();
        for copy in copies {
            let (parents, shown) = (copy.parents(world.cluster.client()), shown.clone());
            let events = watcher::watcher(parents, watcher::Config::default()).default_backoff();
            tasks.spawn(events.for_each(move |event| {
                take(&shown, event);
                std::future::ready(())
            }));
        }
        Self { copies: copies.to_vec(), cluster: world.cluster.client(), shown, _tasks: tasks, edits: 0 }
    }

    /// Creates so many parents of each provider, and waits until each shows its value.
    pub(crate) async fn converge(&self, each: usize) -> Result<()> {
        let all = self.copies.iter().flat_map(|copy| (0..each).map(move |number| (copy, number)));
        let applied = all.map(|(copy, number)| copy.apply(self.cluster.clone(), number, json!({"value": "0"})));
        stream::iter(applied).buffer_unordered(WRITERS).try_collect::<()>().await?;
        let wanted = self.copies.len() * each;
        let timeout = Duration::from_secs(60) + Duration::from_millis(100) * u32::try_from(wanted)?;
        self.until("all parents to converge", timeout, |shown| {
            shown.values().filter(|value| *value == "0").count() >= wanted
        })
        .await
    }

    /// Edits a parent, and returns the time from the response until its status shows the edit.
    pub(crate) async fn edit(&mut self, copy: usize, number: usize) -> Result<Duration> {
        self.edits += 1;
        let value = self.edits.to_string();
        let copy = self.copies.get(copy).context("no such provider")?;
        copy.apply(self.cluster.clone(), number, json!({"value": value})).await?;
        let started = Instant::now();
        let name = copy.parent_name(number);
        let is_there = |shown: &HashMap<String, String>| shown.get(&name) == Some(&value);
        self.until(&format!("{name} to show an edit"), Duration::from_secs(60), is_there).await?;
        Ok(started.elapsed())
    }

    async fn until(
        &self,
        what: &str,
        timeout: Duration,
        mut is_so: impl FnMut(&HashMap<String, String>) -> bool,
    ) -> Result<()> {
        let mut shown = self.shown.subscribe();
        match tokio::time::timeout(timeout, shown.wait_for(|shown| is_so(shown))).await {
            Ok(ended) => ended.map(|_| ()).context("the bench's watches have ended"),
            Err(_) => bail!("waited {} s for {what}", timeout.as_secs()),
        }
    }
}

fn take(shown: &watch::Sender<HashMap<String, String>>, event: watcher::Result<Event<DynamicObject>>) {
    match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => {
            if let Some(value) = object.data.pointer("/status/value").and_then(serde_json::Value::as_str) {
                shown.send_if_modified(|shown| {
                    shown.insert(object.name_any(), value.to_owned()).as_deref() != Some(value)
                });
            }
        }
        Ok(_) => {}
        // It lists again, which distorts the figures, so that the reason is printed.
        Err(error) => eprintln!("the bench's own watch broke: {error}"),
    }
}
