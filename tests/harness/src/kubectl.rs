//! Runs the kubectl that is part of the control plane's program.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;

/// `kubectl` with this kubeconfig; arguments are to be added. Its cache is in `cache`, and preferences in the user's
/// home are not read: they would make results depend on the machine.
pub fn kubectl_command(program: &Path, kubeconfig: &Path, cache: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("kubectl").env("KUBECONFIG", kubeconfig).env("KUBECACHEDIR", cache).env("KUBERC", "off");
    command
}

/// The result of a run of kubectl.
#[derive(Clone, Debug)]
pub struct KubectlOutput {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr: errors and warnings.
    pub stderr: String,
    /// Its arguments, for messages.
    arguments: String,
}

impl KubectlOutput {
    /// Its stdout if it succeeded.
    ///
    /// # Errors
    /// When it failed, with its stderr.
    pub fn success(self) -> Result<String> {
        if self.code != Some(0) {
            let code = self.code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
            bail!("`kubectl {}` ended with {code}: {}", self.arguments, self.stderr.trim());
        }
        Ok(self.stdout)
    }
}

/// Runs a prepared kubectl to its end.
pub(crate) async fn run(mut command: Command, arguments: &[&str], stdin: Option<&str>) -> Result<KubectlOutput> {
    command.args(arguments);
    let mut child = tokio::process::Command::from(command)
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot run kubectl")?;
    let pipe = child.stdin.take();
    let feed = async {
        if let (Some(mut pipe), Some(text)) = (pipe, stdin) {
            // A kubectl that fails early does not read; its own error says more than our broken pipe. Dropping the
            // pipe ends its input.
            let _ = pipe.write_all(text.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.context("cannot wait for kubectl")?;
    Ok(KubectlOutput {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        arguments: arguments.join(" "),
    })
}
