//! Downloaded modules on disk, by their digests, and what each reference resolved to: a restart needs no registry, and a tag
//! that moved in the meantime changes nothing.
//!
//! Every module that is read is verified against the digest in its name. What a reference resolved to cannot be verified like
//! that, so only this user may have write access to the folder.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bartizan_contract::digest::{digest_of, digits, sha256_hex};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// Modules to keep although no reference resolves to them any more, for rollbacks.
const SPARE: usize = 16;
/// Bits of a mode that let others than the owner write to it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The store; keeps nothing if it has no folder.
#[derive(Debug, Default)]
pub struct Store {
    folder: Option<PathBuf>,
    temporary: AtomicU64,
}

/// What an origin resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreEntry {
    /// The reference and the way to fetch it, as one string.
    pub origin: String,
    /// Digest of the manifest, for people who inspect the store.
    pub manifest: String,
    /// Digest of the module.
    pub module: String,
}

impl Store {
    /// Opens the store below the host's cache folder. If there is none, or others may write to it, nothing is kept.
    #[must_use]
    pub fn open(cache: Option<&Path>) -> Self {
        let folder = cache.and_then(|cache| match prepare(cache) {
            Ok(folder) => Some(folder),
            Err(error) => {
                warn!("--cache-dir {}: modules from registries are not stored there: {error}", cache.display());
                None
            }
        });
        Self { folder, temporary: AtomicU64::new(0) }
    }

    /// What an origin resolved to, with the module.
    #[must_use]
    pub fn get(&self, origin: &str) -> Option<(StoreEntry, Bytes)> {
        let text = fs::read(self.entry(origin)?).ok()?;
        let entry: StoreEntry = serde_json::from_slice(&text).ok().filter(|it: &StoreEntry| it.origin == origin)?;
        let module = self.module(&entry.module)?;
        Some((entry, module))
    }

    /// A module by its digest.
    #[must_use]
    pub fn module(&self, digest: &str) -> Option<Bytes> {
        let bytes = fs::read(self.file(digest)?).ok()?;
        (digest_of(&bytes) == digest).then(|| bytes.into())
    }

    /// Stores a module, and that its origin resolved to it. A failure is logged.
    pub fn put(&self, entry: &StoreEntry, module: &[u8]) {
        let (Some(file), Some(path)) = (self.file(&entry.module), self.entry(&entry.origin)) else { return };
        let kept = self.write(&file, module).and_then(|()| {
            let text = serde_json::to_vec(entry).map_err(io::Error::other)?;
            self.write(&path, &text)
        });
        if let Err(error) = kept {
            warn!(
                "a module from a registry could not be stored as {}: {error}; a restart needs the registry",
                file.display()
            );
        }
        self.prune();
    }

    /// Removes the entry of an origin, so that it is resolved again when it is needed next.
    pub fn forget(&self, origin: &str) {
        if let Some(path) = self.entry(origin) {
            let _ = fs::remove_file(path);
        }
    }

    fn entry(&self, origin: &str) -> Option<PathBuf> {
        let name = sha256_hex(origin.as_bytes());
        Some(self.folder.as_ref()?.join(format!("{name}.json")))
    }

    fn file(&self, digest: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{}.wasm", digits(digest)?)))
    }

    /// Writes a file atomically.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let fresh = path.with_extension(format!("{}-{number}.new", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&fresh, path));
        if written.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        written
    }

    /// Removes the oldest modules that no entry names.
    fn prune(&self) {
        let Some(entries) = self.folder.as_ref().and_then(|folder| fs::read_dir(folder).ok()) else { return };
        let paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        let has = |path: &&PathBuf, extension: &str| path.extension().is_some_and(|found| found == extension);
        let entries = paths.iter().filter(|path| has(path, "json"));
        let named: Vec<PathBuf> = entries
            .filter_map(|path| serde_json::from_slice::<StoreEntry>(&fs::read(path).ok()?).ok())
            .filter_map(|entry| self.file(&entry.module))
            .collect();
        let mut spare: Vec<(SystemTime, &PathBuf)> = paths
            .iter()
            .filter(|path| has(path, "wasm") && !named.contains(path))
            .filter_map(|path| Some((fs::metadata(path).ok()?.modified().ok()?, path)))
            .collect();
        spare.sort_unstable_by(|a, b| b.cmp(a));
        for (_, path) in spare.into_iter().skip(SPARE) {
            let _ = fs::remove_file(path);
        }
    }
}

fn prepare(cache: &Path) -> io::Result<PathBuf> {
    let folder = cache.join("oci");
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    for path in [cache, &folder] {
        let metadata = fs::symlink_metadata(path)?;
        if !metadata.is_dir() || metadata.mode() & WRITABLE_BY_OTHERS != 0 {
            let message =
                format!("{} is not a folder that only its owner can write to; run chmod 700 on it", path.display());
            return Err(io::Error::other(message));
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn entry(origin: &str, module: &[u8]) -> StoreEntry {
        StoreEntry { origin: origin.to_owned(), manifest: digest_of(b"manifest"), module: digest_of(module) }
    }

    #[test]
    fn an_entry_is_kept_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let entry = entry("a:1", b"module");
        Store::open(Some(folder.path())).put(&entry, b"module");
        let store = Store::open(Some(folder.path()));
        assert_eq!(store.get("a:1"), Some((entry, Bytes::from_static(b"module"))));
        assert_eq!(store.get("a:2"), None);
        store.forget("a:1");
        assert_eq!(store.get("a:1"), None);
        // The module itself is still there.
        assert_eq!(store.module(&digest_of(b"module")), Some(Bytes::from_static(b"module")));
        assert_eq!(store.module("sha256:../../etc/passwd"), None);
    }

    #[test]
    fn a_module_that_does_not_match_its_digest_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path()));
        store.put(&entry("a:1", b"module"), b"module");
        fs::write(store.file(&digest_of(b"module")).unwrap(), b"modulf").unwrap();
        assert_eq!(store.get("a:1"), None);
        assert_eq!(store.module(&digest_of(b"module")), None);
    }

    #[test]
    fn surplus_modules_that_no_entry_names_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path()));
        for number in 0..=u8::try_from(SPARE).unwrap() + 1 {
            store.put(&entry("a:1", &[number]), &[number]);
        }
        let modules = fs::read_dir(folder.path().join("oci"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "wasm"));
        assert_eq!(modules.count(), SPARE + 1);
        assert!(store.get("a:1").is_some());
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        for store in [Store::open(Some(folder.path())), Store::open(None)] {
            store.put(&entry("a:1", b"module"), b"module");
            assert_eq!(store.get("a:1"), None);
        }
    }
}
