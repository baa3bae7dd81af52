//! What lies in the folder of providers, and when a file may be read: once it has been the same for a moment, so that one that is
//! being written is left alone. The files are only looked at here, by their metadata; the decision is without I/O.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;

/// How long a file must have been the same. Editors, `cp` and `kubectl cp` write in steps that are shorter.
pub(super) const SETTLE: Duration = Duration::from_millis(200);
/// How long after something happened files are looked at for the first time: who renames a file into place is done by then.
pub(super) const GLANCE: Duration = Duration::from_millis(20);
/// What the names of files end with that matter.
const SUFFIXES: [&str; 3] = [".wasm", ".yaml", ".yml"];

/// What tells one content of a file from another without reading it. Nobody can set the time of the last change of an inode,
/// and every write moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of a file, or of what a link leads to.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::new(&std::fs::metadata(path)?))
    }

    fn new(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// How long ago the last change was; `None` if that is in the future, by a clock that is not this one.
    fn age(&self, now: SystemTime) -> Option<Duration> {
        let (seconds, nanos) = (u64::try_from(self.changed.0).ok()?, u32::try_from(self.changed.1).ok()?);
        now.duration_since(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)).ok()
    }
}

/// Which folder it is, whatever its name leads to.
pub(super) type Identity = (u64, u64);

/// A folder as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Which folder it was; `None`: there was none.
    pub(super) folder: Option<Identity>,
    /// Modules and documents by name.
    pub(super) files: BTreeMap<String, Stamp>,
}

/// Looks at the folder.
///
/// # Errors
/// If it is no folder, or cannot be read.
pub(super) fn scan(folder: &Path) -> anyhow::Result<Scan> {
    let title = || format!("--providers {}", folder.display());
    let metadata = match std::fs::metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Scan::default()),
        Err(error) => return Err(error).with_context(title),
        Ok(metadata) => metadata,
    };
    anyhow::ensure!(metadata.is_dir(), "{}: is not a folder; name the folder that holds the modules", title());
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(title)? {
        let entry = entry.with_context(title)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let matters = !name.starts_with('.') && SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
        if !matters {
            continue;
        }
        // A link that leads nowhere, as in the middle of a swap, is no file.
        if let Ok(metadata) = std::fs::metadata(entry.path())
            && metadata.is_file()
        {
            files.insert(name, Stamp::new(&metadata));
        }
    }
    Ok(Scan { folder: Some((metadata.dev(), metadata.ino())), files })
}

/// Which files have settled, from one scan to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Settling {
    last: Option<BTreeMap<String, Stamp>>,
    settled: BTreeMap<String, Stamp>,
}

/// What a scan brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Files that are new or changed, and have settled.
    pub(super) changed: BTreeMap<String, Stamp>,
    /// Files that are gone for good.
    pub(super) gone: Vec<String>,
    /// Something has not settled: scan again.
    pub(super) again: bool,
}

impl Settling {
    /// What is there and has not settled.
    pub(super) fn fresh(&self, scan: BTreeMap<String, Stamp>) -> impl Iterator<Item = (String, Stamp)> {
        scan.into_iter().filter(|(name, stamp)| self.settled.get(name) != Some(stamp))
    }

    /// Takes a scan. What is the same as in the one before, or was not changed for a moment, has settled; so has what is missing
    /// for the second time, since who replaces a file may delete it first.
    pub(super) fn take(&mut self, scan: BTreeMap<String, Stamp>, now: SystemTime) -> News {
        let mut news = News::default();
        let before = self.last.take().unwrap_or_default();
        for (name, stamp) in &scan {
            if self.settled.get(name) == Some(stamp) {
                continue;
            }
            let old = stamp.age(now).is_some_and(|age| age >= SETTLE);
            if old || before.get(name) == Some(stamp) {
                self.settled.insert(name.clone(), *stamp);
                news.changed.insert(name.clone(), *stamp);
            } else {
                news.again = true;
            }
        }
        let missing: Vec<String> = self.settled.keys().filter(|name| !scan.contains_key(*name)).cloned().collect();
        for name in missing {
            if before.contains_key(&name) {
                news.again = true;
            } else {
                self.settled.remove(&name);
                news.gone.push(name);
            }
        }
        self.last = Some(scan);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs())
    }

    fn stamp(size: u64, changed: i64) -> Stamp {
        Stamp { device: 1, inode: 1, size, modified: (0, 0), changed: (changed, 0) }
    }

    fn files(files: &[(&str, Stamp)]) -> BTreeMap<String, Stamp> {
        files.iter().map(|(name, stamp)| ((*name).to_owned(), *stamp)).collect()
    }

    fn news(changed: &[(&str, Stamp)], gone: &[&str], again: bool) -> News {
        News { changed: files(changed), gone: gone.iter().map(|name| (*name).to_owned()).collect(), again }
    }

    #[test]
    fn an_old_file_is_read_at_once_and_a_fresh_one_when_it_is_the_same_twice() {
        let mut settling = Settling::default();
        let (old, fresh) = (stamp(1, NOW - 10), stamp(2, NOW));
        let scan = files(&[("a.wasm", old), ("b.wasm", fresh)]);
        assert_eq!(settling.take(scan.clone(), now()), news(&[("a.wasm", old)], &[], true));
        assert_eq!(settling.fresh(scan.clone()).collect::<Vec<_>>(), [("b.wasm".to_owned(), fresh)]);
        assert_eq!(settling.take(scan.clone(), now()), news(&[("b.wasm", fresh)], &[], false));
        assert_eq!(settling.take(scan, now()), News::default());
    }

    #[test]
    fn a_file_that_grows_is_left_alone_and_what_was_read_of_it_stays() {
        let mut settling = Settling::default();
        settling.take(files(&[("a.wasm", stamp(1, NOW - 10))]), now());
        for size in 2..5 {
            assert_eq!(settling.take(files(&[("a.wasm", stamp(size, NOW))]), now()), news(&[], &[], true));
        }
        let whole = stamp(4, NOW);
        assert_eq!(settling.take(files(&[("a.wasm", whole)]), now()), news(&[("a.wasm", whole)], &[], false));
    }

    #[test]
    fn a_file_whose_clock_is_ahead_settles_all_the_same() {
        let mut settling = Settling::default();
        let ahead = stamp(1, NOW + 100);
        assert_eq!(settling.take(files(&[("a.wasm", ahead)]), now()), news(&[], &[], true));
        assert_eq!(settling.take(files(&[("a.wasm", ahead)]), now()), news(&[("a.wasm", ahead)], &[], false));
    }

    #[test]
    fn what_is_replaced_by_deleting_it_first_was_never_gone() {
        let mut settling = Settling::default();
        settling.take(files(&[("a.wasm", stamp(1, NOW - 10))]), now());
        assert_eq!(settling.take(files(&[]), now()), news(&[], &[], true));
        let other = stamp(2, NOW - 1);
        assert_eq!(settling.take(files(&[("a.wasm", other)]), now()), news(&[("a.wasm", other)], &[], false));
        assert_eq!(settling.take(files(&[]), now()), news(&[], &[], true));
        assert_eq!(settling.take(files(&[]), now()), news(&[], &["a.wasm"], false));
        assert_eq!(settling.take(files(&[]), now()), News::default());
    }

    #[test]
    fn a_missing_folder_is_an_empty_one_and_a_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(scan(&folder.path().join("missing")).unwrap(), Scan::default());
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message =
            format!("--providers {}: is not a folder; name the folder that holds the modules", file.display());
        assert_eq!(scan(&file).unwrap_err().to_string(), message);
    }

    #[test]
    fn only_modules_and_documents_count_and_links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("..2026")).unwrap();
        std::fs::create_dir(at("folder.wasm")).unwrap();
        std::fs::write(at("..2026/a.wasm"), "12345").unwrap();
        std::os::unix::fs::symlink("..2026", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.wasm", at("a.wasm")).unwrap();
        std::os::unix::fs::symlink("..data/none.wasm", at("none.wasm")).unwrap();
        for name in ["b.yaml", "c.yml", "README.md", ".hidden.wasm", ".wasm"] {
            std::fs::write(at(name), "").unwrap();
        }
        let scan = scan(folder.path()).unwrap();
        assert_eq!(scan.files.keys().collect::<Vec<_>>(), ["a.wasm", "b.yaml", "c.yml"]);
        assert_eq!(scan.files["a.wasm"].size, 5);
    }
}
