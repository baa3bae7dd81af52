//! A running control plane: its parts, and how it is stopped.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{guard::Guard, process::Component};

use super::components::{APISERVER, ETCD, Layout};

/// How long the API server may take to be ready again.
const RESTART: Duration = Duration::from_secs(60);

/// A real control plane in processes of its own.
///
/// Call [`ControlPlane::stop`] at the end of a test that passed. A control plane that is dropped without it is
/// stopped as well, but since something went wrong, a panic or an early return, its logs are kept and their path is
/// printed.
pub struct ControlPlane {
    pub(super) layout: Layout,
    /// In the order in which they were started; etcd first.
    pub(super) components: Vec<Component>,
    pub(super) folder: Option<TempDir>,
    /// Removes the folder if this process cannot.
    pub(super) guard: Option<Guard>,
    pub(super) keep: bool,
    pub(super) client: kube::Client,
    pub(super) program: PathBuf,
}

impl ControlPlane {
    /// The folder with logs, kubeconfigs and the audit log. It is removed with the control plane.
    pub fn folder(&self) -> &Path {
        &self.layout.folder
    }

    /// The address of the API server, as in `https://127.0.0.1:6443`.
    pub fn server(&self) -> &str {
        &self.layout.kubeconfigs.server
    }

    /// The names and process ids of the components that were started.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        self.components.iter().map(|component| (component.name(), component.id())).collect()
    }

    /// How the first component that does not run any more ended, with the end of its log; `None` while all run.
    pub fn failure(&mut self) -> Option<String> {
        self.components.iter_mut().find_map(Component::failure)
    }

    /// Stops the API server and its store, has something done to the store's folder, and starts both again, as when etcd is restored from
    /// a snapshot.
    ///
    /// # Errors
    /// When that cannot be done, or the API server is not ready in time.
    pub async fn with_store_stopped(&mut self, change: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        for name in [APISERVER, ETCD] {
            if let Some(component) = self.components.iter_mut().find(|component| component.name() == name) {
                component.terminate();
                component.wait_gone();
            }
        }
        change(&self.layout.folder.join("etcd"))?;
        for (name, arguments) in [(ETCD, self.layout.etcd()), (APISERVER, self.layout.apiserver())] {
            let started = Component::spawn(&self.program, name, &arguments, &self.layout.folder)?;
            if let Some(component) = self.components.iter_mut().find(|component| component.name() == name) {
                *component = started;
            }
        }
        crate::wait::wait_for("the API server", RESTART, async || {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            self.client.request_text(request).await?;
            Ok(Some(()))
        })
        .await
    }

    /// Stops everything in the right order, waits until it has ended, and removes the folder unless it is to be kept.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub async fn stop(mut self) -> Result<()> {
        // Waiting for processes blocks, and the runtime may have only one thread.
        tokio::task::spawn_blocking(move || {
            self.stop_processes();
            self.guard = None;
            match self.folder.take() {
                Some(folder) if self.keep => print_kept(folder),
                Some(folder) => {
                    let path = folder.path().to_path_buf();
                    return folder.close().with_context(|| format!("cannot remove {}", path.display()));
                }
                None => {}
            }
            Ok(())
        })
        .await
        .context("stopping the control plane was interrupted")?
    }

    /// Stops the clients, then the API server, then etcd: an API server whose etcd stopped first waits for it for
    /// minutes.
    fn stop_processes(&mut self) {
        let (servers, clients): (Vec<_>, Vec<_>) =
            self.components.drain(..).partition(|component| [ETCD, APISERVER].contains(&component.name()));
        for mut group in [clients].into_iter().chain(servers.into_iter().rev().map(|server| vec![server])) {
            // All of a group get SIGTERM before the first is waited for.
            group.iter_mut().for_each(Component::terminate);
            group.iter_mut().for_each(Component::wait_gone);
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop_processes();
        self.guard = None;
        match self.folder.take() {
            Some(folder) if self.keep => print_kept(folder),
            Some(folder) => print_kept_logs(folder),
            None => {}
        }
    }
}

/// Keeps a folder and prints where it is. To stderr and not as a log: this runs in tests, which have no logging.
fn print_kept(folder: TempDir) {
    let path = folder.keep();
    eprintln!("the control plane's folder is kept: {}", path.display());
}

/// Keeps a folder without etcd's data: tens of megabytes that nobody can read.
pub(super) fn print_kept_logs(folder: TempDir) {
    let _ = fs::remove_dir_all(folder.path().join("etcd"));
    print_kept(folder);
}
