//! The files in the folder of providers, and when one may be read: once its metadata have not changed for a moment, so that a file
//! that is being written is left alone. Only metadata are read here, and what has settled is decided without I/O.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;

/// How long a file must not have changed. Editors, `cp` and `kubectl cp` pause for less between two writes.
pub(super) const SETTLE: Duration = Duration::from_millis(200);
/// Time from an event to the early scan: a file that is renamed into place is there by then.
pub(super) const EARLY_SCAN: Duration = Duration::from_millis(20);
/// Suffixes of the files that count.
const SUFFIXES: [&str; 3] = [".wasm", ".yaml", ".yml"];

/// Tells one content of a file from another without reading it: no program can set the time of an inode's last change, and every
/// write moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    modified: UnixTime,
    changed: UnixTime,
}

/// A time in an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnixTime {
    seconds: i64,
    nanos: i64,
}

impl Stamp {
    /// The stamp of a file, or of the target of a symbolic link.
    ///
    /// # Errors
    /// If it does not exist.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::new(&std::fs::metadata(path)?))
    }

    fn new(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: UnixTime { seconds: metadata.mtime(), nanos: metadata.mtime_nsec() },
            changed: UnixTime { seconds: metadata.ctime(), nanos: metadata.ctime_nsec() },
        }
    }

    /// Time since the last change; `None` if that is in the future, by the clock of another machine.
    fn age(&self, now: SystemTime) -> Option<Duration> {
        let UnixTime { seconds, nanos } = self.changed;
        let (seconds, nanos) = (u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?);
        now.duration_since(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)).ok()
    }
}

/// Identity of a folder, whatever path leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

/// A folder at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Its identity; `None` if it does not exist.
    pub(super) folder: Option<Identity>,
    /// Modules and documents by name.
    pub(super) files: BTreeMap<String, Stamp>,
}

/// Reads the metadata of the folder and of its files.
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
        // A dangling symbolic link, as in the middle of a swap, is no file.
        if let Ok(metadata) = std::fs::metadata(entry.path())
            && metadata.is_file()
        {
            files.insert(name, Stamp::new(&metadata));
        }
    }
    let folder = Identity { device: metadata.dev(), inode: metadata.ino() };
    Ok(Scan { folder: Some(folder), files })
}

/// Decides from one scan to the next which files have settled.
#[derive(Clone, Debug, Default)]
pub(super) struct Settling {
    last: Option<BTreeMap<String, Stamp>>,
    settled: BTreeMap<String, Stamp>,
}

/// What changed with a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Files that are new or changed, and have settled.
    pub(super) changed: BTreeMap<String, Stamp>,
    /// Files that are gone for good.
    pub(super) gone: Vec<String>,
    /// Whether something has not settled yet, so that another scan is due.
    pub(super) unsettled: bool,
}

impl Settling {
    /// The files of a scan that have not settled.
    pub(super) fn fresh(&self, scan: BTreeMap<String, Stamp>) -> impl Iterator<Item = (String, Stamp)> {
        scan.into_iter().filter(|(name, stamp)| self.settled.get(name) != Some(stamp))
    }

    /// Takes a scan. A file has settled if it is the same as in the scan before, or has not changed for a moment. A file is gone if
    /// two scans in a row miss it, since some programs delete a file before they replace it.
    pub(super) fn take(&mut self, scan: BTreeMap<String, Stamp>, now: SystemTime) -> Changes {
        let mut changes = Changes::default();
        let before = self.last.take().unwrap_or_default();
        for (name, stamp) in &scan {
            if self.settled.get(name) == Some(stamp) {
                continue;
            }
            let old = stamp.age(now).is_some_and(|age| age >= SETTLE);
            if old || before.get(name) == Some(stamp) {
                self.settled.insert(name.clone(), *stamp);
                changes.changed.insert(name.clone(), *stamp);
            } else {
                changes.unsettled = true;
            }
        }
        let missing: Vec<String> = self.settled.keys().filter(|name| !scan.contains_key(*name)).cloned().collect();
        for name in missing {
            if before.contains_key(&name) {
                changes.unsettled = true;
            } else {
                self.settled.remove(&name);
                changes.gone.push(name);
            }
        }
        self.last = Some(scan);
        changes
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
        let at = |seconds| UnixTime { seconds, nanos: 0 };
        Stamp { device: 1, inode: 1, size, modified: at(0), changed: at(changed) }
    }

    fn files(files: &[(&str, Stamp)]) -> BTreeMap<String, Stamp> {
        files.iter().map(|(name, stamp)| ((*name).to_owned(), *stamp)).collect()
    }

    fn changes(changed: &[(&str, Stamp)], gone: &[&str], unsettled: bool) -> Changes {
        Changes { changed: files(changed), gone: gone.iter().map(|name| (*name).to_owned()).collect(), unsettled }
    }

    #[test]
    fn an_old_file_settles_at_once_and_a_fresh_one_when_two_scans_agree() {
        let mut settling = Settling::default();
        let (old, fresh) = (stamp(1, NOW - 10), stamp(2, NOW));
        let scan = files(&[("a.wasm", old), ("b.wasm", fresh)]);
        assert_eq!(settling.take(scan.clone(), now()), changes(&[("a.wasm", old)], &[], true));
        assert_eq!(settling.fresh(scan.clone()).collect::<Vec<_>>(), [("b.wasm".to_owned(), fresh)]);
        assert_eq!(settling.take(scan.clone(), now()), changes(&[("b.wasm", fresh)], &[], false));
        assert_eq!(settling.take(scan, now()), Changes::default());
    }

    #[test]
    fn a_file_that_grows_has_not_settled() {
        let mut settling = Settling::default();
        settling.take(files(&[("a.wasm", stamp(1, NOW - 10))]), now());
        for size in 2..5 {
            assert_eq!(settling.take(files(&[("a.wasm", stamp(size, NOW))]), now()), changes(&[], &[], true));
        }
        let whole = stamp(4, NOW);
        assert_eq!(settling.take(files(&[("a.wasm", whole)]), now()), changes(&[("a.wasm", whole)], &[], false));
    }

    #[test]
    fn a_file_from_the_future_settles_when_two_scans_agree() {
        let mut settling = Settling::default();
        let ahead = stamp(1, NOW + 100);
        assert_eq!(settling.take(files(&[("a.wasm", ahead)]), now()), changes(&[], &[], true));
        assert_eq!(settling.take(files(&[("a.wasm", ahead)]), now()), changes(&[("a.wasm", ahead)], &[], false));
    }

    #[test]
    fn a_file_that_is_deleted_and_replaced_was_never_gone() {
        let mut settling = Settling::default();
        settling.take(files(&[("a.wasm", stamp(1, NOW - 10))]), now());
        assert_eq!(settling.take(files(&[]), now()), changes(&[], &[], true));
        let other = stamp(2, NOW - 1);
        assert_eq!(settling.take(files(&[("a.wasm", other)]), now()), changes(&[("a.wasm", other)], &[], false));
        assert_eq!(settling.take(files(&[]), now()), changes(&[], &[], true));
        assert_eq!(settling.take(files(&[]), now()), changes(&[], &["a.wasm"], false));
        assert_eq!(settling.take(files(&[]), now()), Changes::default());
    }

    #[test]
    fn a_missing_folder_is_empty_and_a_file_is_an_error() {
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
