//! Compiled modules on disk, so that a restart does not compile again.
//!
//! Cached code runs as native code: whoever can write to the cache controls the host. So the folder must belong to this
//! process's user and be writable by nobody else, or it is not used at all. In addition an entry is used only if its checksum
//! matches; anything else (a torn write, bit rot, an entry of another version) is compiled again and overwritten.
//!
//! An entry is two files: the code, which is mapped into memory as it is, and its checksum beside it. The checksum protects
//! against accidents, not against attackers, whom the folder's mode keeps out; so it is a fast one (CRC-32; SHA-256 would take
//! most of the time of a load).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bartizan_contract::digest::hex;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::engine::{Allocation, Engines};

/// Files to keep, two per entry; the oldest are removed first. An entry is a few megabytes.
const FILES: usize = 128;
/// Bits of a mode that let others than the owner write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Extension of the file with the code, and of the one with its checksum.
const CODE: &str = "cwasm";
const CHECKSUM: &str = "crc32";
/// Bytes to read at once for the checksum.
const CHUNK: usize = 64 * 1024;

/// A folder of compiled modules.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    owner: u32,
    /// Hash of what compiled code depends on besides the module: wasmtime, its settings, this crate, the machine.
    environment: String,
    temporary: AtomicU64,
}

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("the folder cannot be used: {0}; choose one that this process can write to")]
    Unusable(io::Error),
    #[error("it is not a folder (symbolic links are not followed); name the folder itself")]
    NotAFolder,
    #[error("the folder belongs to user {owner}, and this process runs as {user}; choose a folder of its own")]
    ForeignOwner { owner: u32, user: u32 },
    #[error("the folder is writable by others (mode {mode:04o}); run chmod 700 on it")]
    WritableByOthers { mode: u32 },
}

impl Cache {
    /// Creates the folder if it is missing, and checks who can write to it.
    pub(crate) fn open(dir: &Path, engine: &Engine) -> Result<Self, CacheError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(CacheError::Unusable)?;
        let metadata = fs::symlink_metadata(dir).map_err(CacheError::Unusable)?;
        if !metadata.is_dir() {
            return Err(CacheError::NotAFolder);
        }
        let mode = metadata.mode() & 0o7777;
        if mode & WRITABLE_BY_OTHERS != 0 {
            return Err(CacheError::WritableByOthers { mode });
        }
        let cache = Self {
            dir: dir.to_owned(),
            owner: metadata.uid(),
            environment: environment(engine),
            temporary: AtomicU64::new(0),
        };
        let user = cache.probe().map_err(CacheError::Unusable)?;
        if user != cache.owner {
            return Err(CacheError::ForeignOwner { owner: cache.owner, user });
        }
        Ok(cache)
    }

    /// The compiled module, if there is an entry and it is intact.
    pub(crate) fn get(&self, engines: &Engines, sha256: &[u8; 32]) -> Option<(Component, Allocation)> {
        let path = self.path(sha256);
        match self.check(&path).and_then(|()| engines.place(|engine| deserialize(engine, &path))) {
            Ok(placed) => Some(placed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), "a cached module cannot be used and is compiled again: {error}");
                None
            }
        }
    }

    /// Stores a compiled module. A failure only costs time at the next start.
    pub(crate) fn put(&self, code: &[u8], sha256: &[u8; 32]) {
        let path = self.path(sha256);
        let written = self
            .write(&path, code)
            .and_then(|()| self.write(&path.with_extension(CHECKSUM), &crc32fast::hash(code).to_le_bytes()))
            .and_then(|()| self.prune());
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), "a compiled module could not be cached: {error}");
        }
    }

    fn path(&self, sha256: &[u8; 32]) -> PathBuf {
        self.dir.join(format!("{}-{}", hex(sha256), self.environment)).with_extension(CODE)
    }

    /// Checks that the code is intact and was written by this process's user.
    fn check(&self, path: &Path) -> io::Result<()> {
        let mut sum = [0; 4];
        self.open_own(&path.with_extension(CHECKSUM))?.read_exact(&mut sum)?;
        let mut code = self.open_own(path)?;
        let mut hasher = crc32fast::Hasher::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match code.read(&mut chunk)? {
                0 => break,
                bytes => hasher.update(&chunk[..bytes]),
            }
        }
        if hasher.finalize().to_le_bytes() == sum {
            Ok(())
        } else {
            Err(io::Error::other("its checksum does not match"))
        }
    }

    fn open_own(&self, path: &Path) -> io::Result<File> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.uid() != self.owner || metadata.mode() & WRITABLE_BY_OTHERS != 0 {
            return Err(io::Error::other("it belongs to another user, or is writable by others"));
        }
        Ok(file)
    }

    /// Writes to a temporary file and renames it: no reader sees a partial file, and the old one stays valid where it is mapped.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (temporary, mut file) = self.create_temporary()?;
        let written = file.write_all(bytes).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // The first error is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn create_temporary(&self) -> io::Result<(PathBuf, File)> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!(".{}-{number}.tmp", std::process::id()));
        // A process with the same id that crashed may have left one.
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((path, file))
    }

    /// Finds the user of this process, as the owner of a file that it writes.
    fn probe(&self) -> io::Result<u32> {
        let (path, file) = self.create_temporary()?;
        let user = file.metadata()?.uid();
        fs::remove_file(path)?;
        Ok(user)
    }

    fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Another process may have removed it in the meantime.
            if let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) {
                files.push((modified, entry.path()));
            }
        }
        files.sort();
        let surplus = files.len().saturating_sub(FILES);
        for (_, path) in files.into_iter().take(surplus) {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }
}

fn deserialize(engine: &Engine, path: &Path) -> io::Result<Component> {
    // SAFETY: wasmtime requires that the file was made from a component by an engine of the same settings, and does not change
    // while it is mapped. The folder belongs to this process's user and nobody else can write to it (`open`), the same is
    // true of the file itself (`open_own`), and it has the checksum that was written with it (`check`), so that it is
    // neither torn nor corrupt. This host replaces such files only by renaming, which leaves mapped files as they are. An
    // entry of another wasmtime, of other settings or another processor has another name, and wasmtime refuses it too.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize_file(engine, path) };
    component.map_err(io::Error::other)
}

/// Hash of everything that determines what compiled code looks like and may do.
fn environment(engine: &Engine) -> String {
    let mut hasher = ShaHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    // This crate decides what may be loaded: an entry of an older version passed older checks.
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    hex(&hasher.0.finalize()[..8])
}

struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Unused: the digest is read instead.
    fn finish(&self) -> u64 {
        0
    }
}
