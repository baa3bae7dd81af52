//! One component of the control plane as a child process: log, exit and stop.

use std::{
    fs::{self, File},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long a component may take to stop after SIGTERM. The API server drains for a second or two; anything longer
/// hangs.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How often a stopping process is polled: the standard library cannot wait for a child with a deadline.
const POLL: Duration = Duration::from_millis(2);

/// How many lines of a log an error includes.
const LOG_TAIL: usize = 20;

/// Sends a signal to a child. One that has already ended is no error.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).context("a process id is larger than any")?;
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot send {signal} to process {pid}")),
    }
}

/// Describes an exit status.
pub(crate) fn describe_end(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// A running component.
pub(crate) struct Component {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// The component exits when this closes, which it does when we die.
    _pipe: Option<ChildStdin>,
}

impl Component {
    /// Starts a component; its output goes to `<folder>/logs/<name>.log`.
    pub(crate) fn spawn(program: &Path, name: &'static str, arguments: &[String], folder: &Path) -> Result<Self> {
        let log = folder.join("logs").join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let errors = output.try_clone().context("cannot duplicate a file handle")?;
        let mut child = Command::new(program)
            .arg(name)
            .args(arguments)
            .current_dir(folder)
            // kwok reads ~/.kwok and others may follow: the user's home must not change what a test sees.
            .env("HOME", folder)
            .env("BARTIZAN_EXIT_WITH_STDIN", "1")
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            // Ctrl-C must reach only us, who stop the components in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} with {}", program.display()))?;
        let pipe = child.stdin.take();
        Ok(Self { name, child, log, _pipe: pipe })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended with the end of its log; `None` while it runs.
    pub(crate) fn failure(&mut self) -> Option<String> {
        let end = match self.child.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => describe_end(status),
            Err(error) => format!("cannot be waited for: {error}"),
        };
        Some(format!("{} {end}\n{}", self.name, self.log_tail()))
    }

    /// The last lines of its log under a line that says where the rest is.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
        format!("the last lines of {}:\n{}", self.log.display(), tail.join("\n"))
    }

    /// Sends SIGTERM without waiting.
    pub(crate) fn terminate(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = signal(self.child.id(), Signal::SIGTERM);
        }
    }

    /// Waits until it has ended, with SIGKILL after the grace period.
    pub(crate) fn wait_gone(&mut self) {
        let deadline = Instant::now() + STOP_GRACE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.terminate();
        self.wait_gone();
    }
}
