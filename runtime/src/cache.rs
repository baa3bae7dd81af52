//! Compiled modules on disk, so that a restart does not compile again.
//!
//! What lies in the cache is run as native code: whoever can write there owns the host. So the folder must belong to this
//! process's user and be writable by nobody else, or it is not used at all. Beyond that an entry is only taken for what
//! this host wrote if its checksum says so; anything else (a torn write, bit rot, another version's entry) is compiled
//! again and overwritten.
//!
//! An entry is two files: the code, which is mapped into memory as it is, and its checksum beside it. The checksum is
//! against accidents, not against people, whom the folder's mode keeps out; so it is a fast one (CRC-32; SHA-256 would
//! take most of the time of a load).

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

/// Files that are kept, two for each entry; the oldest go first. An entry is a few megabytes.
const FILES: usize = 128;
/// Bits of a mode that let others than the owner write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Extension of the file with the code, and of the one with its checksum.
const CODE: &str = "cwasm";
const CHECKSUM: &str = "crc32";
/// Bytes that are read at once to be summed up.
const CHUNK: usize = 64 * 1024;

/// A folder of compiled modules.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    owner: u32,
    /// What compiled code depends on beside the module: wasmtime, its settings, this crate, the machine.
    environment: String,
    temporary: AtomicU64,
}

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("the folder cannot be used: {0}; give one that this process may write")]
    Unusable(io::Error),
    #[error("it is not a folder (links are not followed); give the folder itself")]
    NotAFolder,
    #[error("the folder belongs to user {owner}, and this process runs as {user}; give it a folder of its own")]
    ForeignOwner { owner: u32, user: u32 },
    #[error("others may write the folder (mode {mode:04o}); run chmod 700 on it")]
    WritableByOthers { mode: u32 },
}

impl Cache {
    /// Makes the folder if it is missing, and checks who may write it.
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

    /// The compiled module, if there is an entry and it is sound.
    pub(crate) fn get(&self, engines: &Engines, sha256: &[u8; 32]) -> Option<(Component, Allocation)> {
        let path = self.path(sha256);
        match self.check(&path).and_then(|()| engines.place(|engine| deserialize(engine, &path))) {
            Ok(placed) => Some(placed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), "a compiled module is not used and made again: {error}");
                None
            }
        }
    }

    /// Keeps a compiled module. A failure costs time at the next start and nothing else.
    pub(crate) fn put(&self, code: &[u8], sha256: &[u8; 32]) {
        let path = self.path(sha256);
        let written = self
            .write(&path, code)
            .and_then(|()| self.write(&path.with_extension(CHECKSUM), &crc32fast::hash(code).to_le_bytes()))
            .and_then(|()| self.prune());
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), "a compiled module was not kept: {error}");
        }
    }

    fn path(&self, sha256: &[u8; 32]) -> PathBuf {
        self.dir.join(format!("{}-{}", hex(sha256), self.environment)).with_extension(CODE)
    }

    /// Whether the code is what was written, by this process's user.
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
        if hasher.finalize().to_le_bytes() == sum { Ok(()) } else { Err(io::Error::other("its checksum is wrong")) }
    }

    fn open_own(&self, path: &Path) -> io::Result<File> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.uid() != self.owner || metadata.mode() & WRITABLE_BY_OTHERS != 0 {
            return Err(io::Error::other("it belongs to another user, or others may write it"));
        }
        Ok(file)
    }

    /// Writes beside the file and renames: no reader sees half of one, and who has mapped the old one keeps it.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (temporary, mut file) = self.create_temporary()?;
        let written = file.write_all(bytes).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // The error that is told is the first one.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn create_temporary(&self) -> io::Result<(PathBuf, File)> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!(".{}-{number}.tmp", std::process::id()));
        // A process of the same id that crashed may have left one.
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((path, file))
    }

    /// Writes a file and tells whose it is: this process's user.
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
            // Another process may have pruned it meanwhile.
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
    // SAFETY: wasmtime asks that the file is what an engine of the same settings made of a component, and is not changed
    // while it is mapped. It lies in a folder that belongs to this process's user and that nobody else may write
    // (`open`), belongs to that user itself and may be written by nobody else (`open_own`), and has the checksum that was
    // written with it (`check`), so that it is neither torn nor rotten. This host only ever replaces such files by
    // renaming, which leaves mapped ones as they are. An entry of another wasmtime, of other settings or another
    // processor has another name, and is refused by wasmtime too.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize_file(engine, path) };
    component.map_err(io::Error::other)
}

/// A hash of everything that decides what compiled code looks like and may do.
fn environment(engine: &Engine) -> String {
    let mut hasher = ShaHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    // The rules of what may be loaded are this crate's: an entry of an older one was judged by older rules.
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    hex(&hasher.0.finalize()[..8])
}

struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Never asked: the digest is read instead.
    fn finish(&self) -> u64 {
        0
    }
}
