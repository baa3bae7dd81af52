//! Options of a control plane before it starts.

use std::path::PathBuf;

/// The default number of nodes: as many as the servers of the store in the talk, so that each gets its own.
const DEFAULT_NODES: usize = 4;

/// Keeps every cluster's folder when it is set to `1`, to inspect what a failing test left behind.
const KEEP_VARIABLE: &str = "BARTIZAN_KEEP_CLUSTER";

/// The options of a [`ControlPlane`](crate::ControlPlane); [`Options::start`] starts it.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are started"]
pub struct Options {
    pub(super) nodes: usize,
    pub(super) keep: bool,
    pub(super) root: Option<PathBuf>,
    pub(super) program: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: DEFAULT_NODES,
            keep: std::env::var_os(KEEP_VARIABLE).is_some_and(|value| value == "1"),
            root: None,
            program: None,
        }
    }
}

impl Options {
    /// The number of fake nodes, 4 by default; 0 is possible.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Keeps the folder with logs, audit log and data after the stop. By default
    /// only the logs are kept, and only when the cluster ends without
    /// [`ControlPlane::stop`](crate::ControlPlane::stop) (a panic, an early return); the environment
    /// variable `BARTIZAN_KEEP_CLUSTER=1` makes keeping the default.
    pub fn keep_folder(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Where the cluster's own temporary folder is created, the system's folder for temporary files by default.
    pub fn root_dir(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// The program to start instead of the one that [`crate::build::control_plane`] builds.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }
}
