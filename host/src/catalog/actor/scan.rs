//! How the actor scans its folder.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::super::Origin;
use super::super::folder::{self, Changes, SETTLE, Scan, Stamp};
use super::super::module_store::Content;
use super::CatalogActor;
use crate::catalog::documents::DocumentError;
use crate::kubernetes::error::text;

/// Time between two scans of a folder that does not exist yet.
const ABSENT: Duration = Duration::from_secs(1);
/// Time between two scans of a folder that nothing was reported of: some file systems report no events, nor does a symbolic link
/// that is changed. A scan reads the metadata of a few files.
const PERIOD: Duration = Duration::from_secs(10);

/// Largest document: an API server takes no larger object.
const DOCUMENT_BYTES: u64 = 1 << 20;
/// Scans after which a start no longer waits for files that are being written.
const FIRST_SCANS: u32 = 10;

impl CatalogActor {
    async fn read_folder(&self) -> anyhow::Result<anyhow::Result<Scan>> {
        let path = self.settings.folder.clone();
        spawn_blocking(move || folder::scan(&path)).await.context("the folder")
    }

    fn file_content(&self, file: &str, stamp: Stamp) -> Content {
        Content::File { path: self.settings.folder.join(file), stamp }
    }

    /// Finds new modules, and has them compiled while they settle if there is a cache to find the code in again.
    pub(super) async fn scan_early(&mut self) -> anyhow::Result<()> {
        if self.settings.cache.is_none() {
            return Ok(());
        }
        // An error is logged by the full scan that follows.
        let files = self.read_folder().await?.map(|scan| scan.files).unwrap_or_default();
        for (file, stamp) in self.settling.fresh(files).filter(|(file, _)| file.ends_with(".wasm")) {
            let content = self.file_content(&file, stamp);
            self.store.put_ahead(&Origin::File(file), content);
        }
        Ok(())
    }

    /// Scans the folder, and returns the time until the next scan.
    pub(super) async fn scan(&mut self) -> anyhow::Result<Duration> {
        let scan = match self.read_folder().await? {
            Ok(scan) => scan,
            Err(error) => {
                // Everything that is known of it stays: a folder that cannot be read is not an empty one.
                self.log_folder_problem(Some(format!(
                    "{}; nothing of it is loaded or dropped until then",
                    text(&error)
                )));
                self.complete_first_scan();
                return Ok(PERIOD);
            }
        };
        // What changed between the scan and the start of the watch was not reported.
        let watch_began = self.watch.follow(scan.folder);
        let exists = scan.folder.is_some();
        self.log_what_is_missing(&scan);
        let Changes { changed, gone, unsettled } = self.settling.take(scan.files, SystemTime::now());
        let has_changes = !changed.is_empty() || !gone.is_empty();
        for (file, stamp) in changed {
            if file.ends_with(".wasm") {
                let content = self.file_content(&file, stamp);
                self.store.put(&Origin::File(file), content);
            } else {
                let path = self.settings.folder.join(&file);
                let text = match stamp.size {
                    0..=DOCUMENT_BYTES => tokio::fs::read_to_string(path)
                        .await
                        .map_err(|error| DocumentError::Unreadable(error.to_string())),
                    bytes => Err(DocumentError::TooLarge { bytes, limit: DOCUMENT_BYTES }),
                };
                self.documents.insert(file, text);
            }
        }
        for file in gone {
            warn!("{file} is gone from the folder of providers; what it declared or serves stays as it is");
            self.documents.remove(&file);
            self.store.remove(&Origin::File(file));
        }
        // The first scan includes modules that have not settled yet, but does not wait for one that never does.
        self.scans = self.scans.saturating_add(1);
        if !unsettled || self.scans > FIRST_SCANS {
            self.complete_first_scan();
        }
        if has_changes {
            self.publish();
        }
        Ok(match (unsettled || watch_began, exists) {
            (true, _) => SETTLE,
            (false, true) => PERIOD,
            (false, false) => ABSENT,
        })
    }

    fn complete_first_scan(&mut self) {
        if !self.scanned {
            self.scanned = true;
            self.publish();
        }
    }

    fn log_what_is_missing(&mut self, scan: &Scan) {
        let has_modules = scan.files.keys().any(|file| file.ends_with(".wasm"));
        let problem = match (scan.folder, has_modules) {
            (None, _) => Some("no such folder; nothing is loaded from it until it is there".to_owned()),
            (Some(_), false) => Some("no modules (*.wasm) in it; they are loaded as they come".to_owned()),
            (Some(_), true) => None,
        };
        let title = |problem| format!("--providers {}: {problem}", self.settings.folder.display());
        self.log_folder_problem(problem.map(title));
    }

    fn log_folder_problem(&mut self, problem: Option<String>) {
        if problem != self.folder_problem {
            if let Some(problem) = &problem {
                warn!("{problem}");
            }
            self.folder_problem = problem;
        }
    }
}
