//! Reports changes in a folder. The folder is watched rather than its files: editors and mounted ConfigMaps replace files by
//! renaming others, and a watch would stay with the file that was replaced.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tracing::warn;

use super::folder::Identity;

/// A watch of the folder that a path leads to at the moment.
pub(super) struct FolderWatch {
    path: PathBuf,
    to: mpsc::Sender<()>,
    watching: Option<(Identity, RecommendedWatcher)>,
    failed: bool,
}

impl FolderWatch {
    /// A watch that has not started yet, and the receiver of its events: each means that something changed.
    pub(super) fn new(path: &Path) -> (Self, mpsc::Receiver<()>) {
        // One event is enough: the scan that it leads to sees every change before it.
        let (to, from) = mpsc::channel(1);
        (Self { path: path.to_owned(), to, watching: None, failed: false }, from)
    }

    /// Watches this folder, or nothing if there is none. Returns whether the watch started now, in which case changes just before
    /// were not reported.
    pub(super) fn follow(&mut self, folder: Option<Identity>) -> bool {
        let Some(folder) = folder else {
            self.watching = None;
            return false;
        };
        if self.watching.as_ref().is_some_and(|(watched, _)| *watched == folder) {
            return false;
        }
        let to = self.to.clone();
        let report = move |event: notify::Result<notify::Event>| {
            if event.as_ref().map_or(true, |event| matters(&event.kind)) {
                // If the channel is full, a scan is due anyway.
                let _ = to.try_send(());
            }
        };
        let started = notify::recommended_watcher(report).and_then(|mut watcher| {
            watcher.watch(&self.path, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match started {
            Ok(watcher) => {
                (self.watching, self.failed) = (Some((folder, watcher)), false);
                true
            }
            Err(error) => {
                if !self.failed {
                    let path = self.path.display();
                    warn!("--providers {path}: cannot be watched, and is scanned periodically instead: {error}");
                }
                (self.watching, self.failed) = (None, true);
                false
            }
        }
    }
}

/// Whether an event is a change. Reading a file is none, and the host itself reads.
fn matters(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, MetadataKind, ModifyKind, RemoveKind, RenameMode};

    use super::*;

    #[test]
    fn reading_a_file_is_no_change() {
        for (kind, expected) in [
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), false),
            (EventKind::Access(AccessKind::Close(AccessMode::Read)), false),
            (EventKind::Access(AccessKind::Close(AccessMode::Write)), true),
            (EventKind::Create(CreateKind::File), true),
            (EventKind::Modify(ModifyKind::Name(RenameMode::To)), true),
            (EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), true),
            (EventKind::Remove(RemoveKind::Folder), true),
        ] {
            assert_eq!(matters(&kind), expected, "{kind:?}");
        }
    }
}
