//! Modules that were downloaded, on disk by their digests, and what each reference stood for when it was resolved: a restart
//! needs no registry, and a tag that moved meanwhile changes nothing.
//!
//! Nothing is taken from here whose digest is not the one of its name. What a reference stood for has no such proof, so the
//! folder must be writable by nobody else.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{digest_of, sha256};
use crate::telemetry::recorder::sha256_hex;

/// Modules that are kept although no reference stands for them: versions before, to go back to.
const SPARE: usize = 16;
/// Bits of a mode that let others than the owner write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The folder, or nothing if there is none.
#[derive(Debug, Default)]
pub(crate) struct Store {
    folder: Option<PathBuf>,
    temporary: AtomicU64,
}

/// What a reference stood for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Remembered {
    /// The reference and how it was asked for, as one text.
    pub(crate) origin: String,
    /// Digest of the manifest, for people who look.
    pub(crate) manifest: String,
    /// Digest of the module.
    pub(crate) module: String,
}

impl Store {
    /// A store below the host's folder for caches. Without one, or if others may write it, nothing is kept.
    pub(crate) fn open(cache: Option<&Path>) -> Self {
        let folder = cache.and_then(|cache| match prepare(cache) {
            Ok(folder) => Some(folder),
            Err(error) => {
                warn!("--cache-dir {}: modules of registries are not kept there: {error}", cache.display());
                None
            }
        });
        Self { folder, temporary: AtomicU64::new(0) }
    }

    /// What was remembered of an origin, with the module.
    pub(crate) fn recall(&self, origin: &str) -> Option<(Remembered, Bytes)> {
        let text = fs::read(self.note(origin)?).ok()?;
        let remembered: Remembered =
            serde_json::from_slice(&text).ok().filter(|it: &Remembered| it.origin == origin)?;
        let module = self.module(&remembered.module)?;
        Some((remembered, module))
    }

    /// A module by its digest.
    pub(crate) fn module(&self, digest: &str) -> Option<Bytes> {
        let bytes = fs::read(self.file(digest)?).ok()?;
        (digest_of(&bytes) == digest).then(|| bytes.into())
    }

    /// Keeps a module, and what its origin stood for.
    pub(crate) fn keep(&self, remembered: &Remembered, module: &[u8]) {
        let (Some(file), Some(note)) = (self.file(&remembered.module), self.note(&remembered.origin)) else { return };
        let kept = self.write(&file, module).and_then(|()| {
            let text = serde_json::to_vec(remembered).map_err(io::Error::other)?;
            self.write(&note, &text)
        });
        if let Err(error) = kept {
            warn!(
                "a module of a registry could not be kept in {}: {error}; a restart needs the registry",
                file.display()
            );
        }
        self.tidy();
    }

    /// Forgets what an origin stood for: it is asked for anew when somebody wants it again.
    pub(crate) fn forget(&self, origin: &str) {
        if let Some(note) = self.note(origin) {
            let _ = fs::remove_file(note);
        }
    }

    fn note(&self, origin: &str) -> Option<PathBuf> {
        let name = sha256_hex(origin.as_bytes());
        Some(self.folder.as_ref()?.join(format!("{name}.json")))
    }

    fn file(&self, digest: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{}.wasm", sha256(digest)?)))
    }

    /// Whole or not at all.
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

    /// Removes the oldest modules that nothing stands for.
    fn tidy(&self) {
        let Some(entries) = self.folder.as_ref().and_then(|folder| fs::read_dir(folder).ok()) else { return };
        let paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        let has = |path: &&PathBuf, extension: &str| path.extension().is_some_and(|found| found == extension);
        let notes = paths.iter().filter(|path| has(path, "json"));
        let named: Vec<PathBuf> = notes
            .filter_map(|note| serde_json::from_slice::<Remembered>(&fs::read(note).ok()?).ok())
            .filter_map(|remembered| self.file(&remembered.module))
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
            let message = format!("{} is no folder that only its owner may write; run chmod 700 on it", path.display());
            return Err(io::Error::other(message));
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn remembered(origin: &str, module: &[u8]) -> Remembered {
        Remembered { origin: origin.to_owned(), manifest: digest_of(b"manifest"), module: digest_of(module) }
    }

    #[test]
    fn what_was_resolved_is_remembered_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let note = remembered("a:1", b"module");
        Store::open(Some(folder.path())).keep(&note, b"module");
        let store = Store::open(Some(folder.path()));
        assert_eq!(store.recall("a:1"), Some((note, Bytes::from_static(b"module"))));
        assert_eq!(store.recall("a:2"), None);
        store.forget("a:1");
        assert_eq!(store.recall("a:1"), None);
        // The bytes are still what they are.
        assert_eq!(store.module(&digest_of(b"module")), Some(Bytes::from_static(b"module")));
        assert_eq!(store.module("sha256:../../etc/passwd"), None);
    }

    #[test]
    fn what_is_not_what_its_name_says_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path()));
        store.keep(&remembered("a:1", b"module"), b"module");
        fs::write(store.file(&digest_of(b"module")).unwrap(), b"modulf").unwrap();
        assert_eq!(store.recall("a:1"), None);
        assert_eq!(store.module(&digest_of(b"module")), None);
    }

    #[test]
    fn modules_that_nothing_stands_for_go_when_there_are_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Some(folder.path()));
        for number in 0..=u8::try_from(SPARE).unwrap() + 1 {
            store.keep(&remembered("a:1", &[number]), &[number]);
        }
        let modules = fs::read_dir(folder.path().join("oci"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "wasm"));
        assert_eq!(modules.count(), SPARE + 1);
        assert!(store.recall("a:1").is_some());
    }

    #[test]
    fn a_folder_that_others_may_write_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        for store in [Store::open(Some(folder.path())), Store::open(None)] {
            store.keep(&remembered("a:1", b"module"), b"module");
            assert_eq!(store.recall("a:1"), None);
        }
    }
}
