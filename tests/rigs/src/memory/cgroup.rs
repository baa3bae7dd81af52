//! A control group with a memory limit, as a container has one. Both versions of the kernel's interface are used, whichever there is; one
//! has to be root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Where control groups are.
const ROOT: &str = "/sys/fs/cgroup";
/// Moves itself into the group, and becomes the program.
const ENTER: &str = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;

/// Names of the files of one version.
struct Files {
    limit: &'static str,
    peak: &'static str,
    /// Its line `oom_kill N`.
    kills: &'static str,
}

const V1: Files =
    Files { limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes", kills: "memory.oom_control" };
const V2: Files = Files { limit: "memory.max", peak: "memory.peak", kills: "memory.events" };

/// A control group, removed when it is dropped.
pub(super) struct Cgroup {
    folder: PathBuf,
    files: &'static Files,
}

impl Cgroup {
    /// A new group with this limit.
    ///
    /// # Errors
    /// If there is no memory controller, or this process may not use it.
    pub(super) fn create(limit: u64) -> Result<Self> {
        let name = format!("bartizan-rig-{}", std::process::id());
        let (parent, files) = match Path::new(ROOT).join("memory") {
            v1 if v1.join(V1.limit).exists() => (v1, &V1),
            _ => (PathBuf::from(ROOT), &V2),
        };
        let folder = parent.join(name);
        fs::create_dir(&folder).with_context(|| format!("no control group can be made in {}", parent.display()))?;
        let group = Self { folder, files };
        if !group.folder.join(files.limit).exists() {
            bail!("the memory controller is not enabled in {}", parent.display());
        }
        fs::write(group.folder.join(files.limit), limit.to_string()).context("the memory limit cannot be set")?;
        Ok(group)
    }

    /// The same command, in this group.
    pub(super) fn enter(&self, command: &Command) -> Command {
        let mut inside = Command::new("/bin/sh");
        inside.args(["-c", ENTER]).arg(&self.folder).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// The most memory that its processes had together, in bytes, with what they have of files; `None` on a kernel that does not say.
    pub(super) fn peak(&self) -> Option<u64> {
        fs::read_to_string(self.folder.join(self.files.peak)).ok()?.trim().parse().ok()
    }

    /// How many of its processes were killed at the limit.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub(super) fn kills(&self) -> Result<u64> {
        let path = self.folder.join(self.files.kills);
        let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|count| count.parse().ok());
        count.with_context(|| format!("{} has no count of killed processes", path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It is empty by now; what cannot be removed does no harm.
        let _ = fs::remove_dir(&self.folder);
    }
}
