//! A terminal: types lines, shows what they print and how long they took.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bartizan_harness::ControlPlane;
use bartizan_harness::build::{self, workspace_root};
use bartizan_harness::wait::wait_for;
use tempfile::TempDir;

/// Longer than anything that is waited for here takes.
const LONG: Duration = Duration::from_secs(90);

/// Longer than any line takes, those of Helm and uninstall included, each of which has its own limit.
const LONGEST: Duration = Duration::from_secs(300);

/// What a line printed, on stdout and stderr together, and how it ended.
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) code: Option<i32>,
}

/// Where people type: in the root of the repository, with `kubectl`, `helm` and `bartizan` at hand.
pub(crate) struct Shell {
    folder: TempDir,
    kubeconfig: PathBuf,
    task: Option<(String, Instant, usize)>,
    /// Each task with its time and the number of its lines.
    pub(crate) done: Vec<(String, Duration, usize)>,
}

impl Shell {
    pub(crate) fn new(cluster: &ControlPlane, host: &Path, helm: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bartizan-trial-").tempdir().context("no temporary folder")?;
        symlink(host, folder.path().join("bartizan"))?;
        symlink(helm, folder.path().join("helm"))?;
        let kubectl = cluster.kubectl();
        let script = format!("#!/bin/sh\nexec {} kubectl \"$@\"\n", kubectl.get_program().to_string_lossy());
        let file = folder.path().join("kubectl");
        std::fs::write(&file, script)?;
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(Self { folder, kubeconfig: cluster.admin_kubeconfig().to_owned(), task: None, done: Vec::new() })
    }

    /// A path of its own, which is removed with it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// A task begins, and the one before has ended.
    pub(crate) fn begin(&mut self, task: &str) {
        self.end();
        println!("\n# {task}");
        self.task = Some((task.to_owned(), Instant::now(), 0));
    }

    /// The last task has ended.
    pub(crate) fn end(&mut self) {
        if let Some((task, began, lines)) = self.task.take() {
            self.done.push((task, began.elapsed(), lines));
        }
    }

    async fn run(&self, line: &str) -> Result<Said> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(self.folder.path().to_owned()).chain(std::env::split_paths(&path));
        let mut bash = Command::new("bash");
        bash.args(["-o", "pipefail", "-c", line]).current_dir(workspace_root());
        bash.env("PATH", std::env::join_paths(paths)?).env("KUBECONFIG", &self.kubeconfig).env("KUBERC", "off");
        for folder in ["KUBECACHEDIR", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "DOCKER_CONFIG"] {
            bash.env(folder, self.folder.path().join(folder));
        }
        for variable in ["RUST_LOG", "BARTIZAN_SYSTEM_NAMESPACE", "BARTIZAN_REGISTRY_CA", "BARTIZAN_RELEASE"] {
            bash.env_remove(variable);
        }
        bash.env("BARTIZAN_DEBUG_KEY_FILE", self.path("debug.key"));
        let output = tokio::process::Command::from(bash).kill_on_drop(true).output();
        let output = tokio::time::timeout(LONGEST, output).await.with_context(|| format!("`{line}` hangs"))?;
        let output = output.context("there is no bash")?;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok(Said { text, code: output.status.code() })
    }

    fn show(&mut self, line: &str, said: &Said) {
        if let Some((_, _, lines)) = &mut self.task {
            *lines += 1;
        }
        println!("$ {line}\n{}", said.text.trim_end());
    }

    /// Types a line, which must succeed.
    pub(crate) async fn types(&mut self, line: &str) -> Result<String> {
        let said = self.run(line).await?;
        self.show(line, &said);
        ensure!(said.code == Some(0), "`{line}` ended with {:?}: {}", said.code, said.text);
        Ok(said.text)
    }

    /// Types a line, which must end with this exit code and say this.
    pub(crate) async fn is_told(&mut self, line: &str, code: i32, part: &str) -> Result<String> {
        let said = self.run(line).await?;
        self.show(line, &said);
        ensure!(said.code == Some(code) && said.text.contains(part), "`{line}`: no \"{part}\": {}", said.text);
        Ok(said.text)
    }

    /// Types a line again until it says this.
    pub(crate) async fn sees(&mut self, line: &str, part: &str) -> Result<String> {
        let mut last = None;
        let seen = wait_for(&format!("`{line}` to say \"{part}\""), LONG, async || {
            let said = self.run(line).await?;
            let found = said.text.contains(part);
            last = Some(said);
            Ok(found.then_some(()))
        })
        .await;
        let said = last.context("it was never run")?;
        self.show(line, &said);
        seen.with_context(|| said.text.clone())?;
        Ok(said.text)
    }
}

/// The programs of a trial.
pub(crate) async fn programs() -> Result<(PathBuf, PathBuf)> {
    let built =
        tokio::task::spawn_blocking(|| anyhow::Ok((build::host(&build::silent)?, build::helm(&build::silent)?)));
    built.await?
}
