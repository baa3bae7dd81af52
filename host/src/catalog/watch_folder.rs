//! Tells when something happens in a folder. The folder is watched and not its files: editors and ConfigMaps rename, and a file
//! that was renamed away is watched in vain.

use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tracing::warn;

use super::folder::Identity;

/// A watch that follows the folder's name to whatever folder it leads.
pub(super) struct FolderWatch {
    path: PathBuf,
    to: mpsc::Sender<()>,
    watching: Option<(Identity, RecommendedWatcher)>,
    failed: bool,
}

impl FolderWatch {
    /// A watch that is not begun yet, and what it will tell: that something happened, however much.
    pub(super) fn new(path: &Path) -> (Self, mpsc::Receiver<()>) {
        // One message says it all: what happens while it waits is seen with it.
        let (to, from) = mpsc::channel(1);
        (Self { path: path.to_owned(), to, watching: None, failed: false }, from)
    }

    /// Watches this folder if it does not yet; none: there is none. Returns whether it began: what happened just before was
    /// not told.
    pub(super) fn follow(&mut self, folder: Option<Identity>) -> bool {
        let Some(folder) = folder else {
            self.watching = None;
            return false;
        };
        if self.watching.as_ref().is_some_and(|(watched, _)| *watched == folder) {
            return false;
        }
        let to = self.to.clone();
        let tell = move |event: notify::Result<notify::Event>| {
            if event.as_ref().map_or(true, |event| matters(&event.kind)) {
                // Full: somebody will look anyway.
                let _ = to.try_send(());
            }
        };
        let begun = notify::recommended_watcher(tell).and_then(|mut watcher| {
            watcher.watch(&self.path, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match begun {
            Ok(watcher) => {
                (self.watching, self.failed) = (Some((folder, watcher)), false);
                true
            }
            Err(error) => {
                if !self.failed {
                    let path = self.path.display();
                    warn!("--providers {path}: cannot be watched, and is looked at now and then instead: {error}");
                }
                (self.watching, self.failed) = (None, true);
                false
            }
        }
    }
}

/// Reading a file is no news, and the host reads.
fn matters(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, MetadataKind, ModifyKind, RemoveKind, RenameMode};

    use super::*;

    #[test]
    fn reading_is_no_news() {
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
