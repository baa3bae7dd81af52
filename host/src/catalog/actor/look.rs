//! The actor looks at its folder.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::super::Origin;
use super::super::fetch::Holding;
use super::super::folder::{self, News, SETTLE, Scan, Stamp};
use super::Catalog;

/// Time between two looks at a folder that is not there yet.
const AWAIT: Duration = Duration::from_secs(1);
/// Time between two looks at one that is, whatever its watch says: some file systems tell nothing, and so does a link that comes
/// to lead elsewhere. It costs the metadata of a few files.
const LOOK: Duration = Duration::from_secs(10);

/// Largest document: an API server takes no larger object.
const DOCUMENT_BYTES: u64 = 1 << 20;
/// Looks after which a start no longer waits for files that are being written.
const FIRST_LOOKS: u32 = 10;

impl Catalog {
    async fn scanned(&self) -> anyhow::Result<anyhow::Result<Scan>> {
        let path = self.settings.folder.clone();
        spawn_blocking(move || folder::scan(&path)).await.context("the folder")
    }

    fn holding(&self, file: &str, stamp: Stamp) -> Holding {
        Holding::File { path: self.settings.folder.join(file), stamp }
    }

    /// Looks which modules are new, and has them compiled while they settle, if there is a cache to find the code in again.
    pub(super) async fn glance(&mut self) -> anyhow::Result<()> {
        if self.settings.cache.is_none() {
            return Ok(());
        }
        // What cannot be read is said by the look that counts.
        let files = self.scanned().await?.map(|scan| scan.files).unwrap_or_default();
        for (file, stamp) in self.settling.fresh(files).filter(|(file, _)| file.ends_with(".wasm")) {
            let holding = self.holding(&file, stamp);
            self.shelf.put_ahead(&Origin::File(file), holding);
        }
        Ok(())
    }

    /// Looks at the folder, and says when to look again.
    pub(super) async fn scan(&mut self) -> anyhow::Result<Duration> {
        let scan = match self.scanned().await? {
            Ok(scan) => scan,
            Err(error) => {
                // What is known of it stays: nothing vanished that could not be seen.
                self.say_of_folder(Some(format!("{error:#}; nothing of it is loaded or dropped until then")));
                self.scanned_once();
                return Ok(LOOK);
            }
        };
        // What happened between the look and the watch was not told.
        let unwatched = self.watch.follow(scan.folder);
        let exists = scan.folder.is_some();
        self.say_what_is_missing(&scan);
        let News { changed, gone, again } = self.settling.take(scan.files, SystemTime::now());
        let news = !changed.is_empty() || !gone.is_empty();
        for (file, stamp) in changed {
            if file.ends_with(".wasm") {
                let holding = self.holding(&file, stamp);
                self.shelf.put(&Origin::File(file), holding);
            } else {
                let path = self.settings.folder.join(&file);
                let text = match stamp.size {
                    0..=DOCUMENT_BYTES => tokio::fs::read_to_string(path).await.map_err(|error| error.to_string()),
                    size => Err(format!("it has {size} bytes, more than {DOCUMENT_BYTES}")),
                };
                // It is reported as a document that is no Provider, with this as the reason.
                self.documents.insert(file, text.unwrap_or_else(|reason| format!("# cannot be read: {reason}")));
            }
        }
        for file in gone {
            warn!("{file} is gone from the folder of providers; what it declared or serves stays as it is");
            self.documents.remove(&file);
            self.shelf.remove(&Origin::File(file));
        }
        // Modules that have not settled yet are part of the first look, too; one that never does is not waited for.
        self.looks = self.looks.saturating_add(1);
        if !again || self.looks > FIRST_LOOKS {
            self.scanned_once();
        }
        if news {
            self.publish();
        }
        Ok(match (again || unwatched, exists) {
            (true, _) => SETTLE,
            (false, true) => LOOK,
            (false, false) => AWAIT,
        })
    }

    fn scanned_once(&mut self) {
        if !self.scanned {
            self.scanned = true;
            self.publish();
        }
    }

    fn say_what_is_missing(&mut self, scan: &Scan) {
        let has_modules = scan.files.keys().any(|file| file.ends_with(".wasm"));
        let problem = match (scan.folder, has_modules) {
            (None, _) => Some("no such folder; nothing is loaded from it until it is there".to_owned()),
            (Some(_), false) => Some("no modules (*.wasm) in it; they are loaded as they come".to_owned()),
            (Some(_), true) => None,
        };
        let title = |problem| format!("--providers {}: {problem}", self.settings.folder.display());
        self.say_of_folder(problem.map(title));
    }

    fn say_of_folder(&mut self, problem: Option<String>) {
        if problem != self.problem {
            if let Some(problem) = &problem {
                warn!("{problem}");
            }
            self.problem = problem;
        }
    }
}
