//! Cleans up when this process dies without cleaning up itself, even by SIGKILL.
//!
//! `Drop` does not run in a process that is killed, nor for a `static` that the tests of a binary share. A guard is a
//! tiny shell that waits for the end of its standard input, which the kernel closes however we die.

use std::{
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

/// Waits with the shell's own `read`, so that no second process is left when the shell is killed.
const WAIT_FOR_END: &str = "while read -r _; do :; done; ";

/// Acts when this process ends, unless it is dropped before.
pub(crate) struct Guard {
    shell: Child,
    _pipe: Option<ChildStdin>,
}

impl Guard {
    /// Kills this process when ours ends.
    pub(crate) fn kill_process(pid: u32) -> Result<Self> {
        Self::start("kill -9 \"$1\"", &pid.to_string())
    }

    /// Removes this folder when our process ends: twice, since the processes that use it die at the same moment and
    /// may still write.
    pub(crate) fn remove_folder(folder: &Path) -> Result<Self> {
        let folder = folder.to_str().context("the path of a temporary folder is not UTF-8")?;
        Self::start("rm -rf -- \"$1\"; sleep 2; rm -rf -- \"$1\"", folder)
    }

    fn start(action: &str, argument: &str) -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", &format!("{WAIT_FOR_END}{action}"), "guard", argument])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is sent to the whole foreground process group; the guard has to outlive it.
            .process_group(0)
            .spawn()
            .context("cannot run sh")?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, _pipe: pipe })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Killed before its pipe closes, so that it does not act.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
