//! One-time keys for whoever may read the host's own files, and so may do what the host does: `bartizan debug-key` makes one in the host's
//! container, for `kubectl exec` and what is built on it. An address proves nothing: behind a mesh's sidecar everybody is loopback.
//!
//! The host keeps a secret in a file. A key is a time, a random number and the HMAC-SHA256 of both with that secret: it
//! counts once, and only for a minute, so that whoever reads it on its way gains nothing.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Bytes of the secret: as many as the hash has.
const SECRET_BYTES: usize = 32;
/// Seconds for which a key counts.
const VALID: u64 = 60;
/// Most keys that were used and are still valid. Only who has the secret can make one.
const MOST_USED: usize = 1024;
/// Bytes of the random number.
const NONCE_BYTES: usize = 16;

/// The secret of one host and the keys that were used.
pub(crate) struct OneTimeKeys {
    secret: [u8; SECRET_BYTES],
    /// The keys that were used, with the end of their validity.
    used: Mutex<BTreeMap<String, u64>>,
}

impl OneTimeKeys {
    /// With the secret in this file, which is made unless there is one that only this user can read. Hosts that share it share the secret:
    /// a key that one of them took counts at the other for the rest of its minute.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn open(file: &Path) -> anyhow::Result<Self> {
        let secret = match own_secret(file) {
            Some(secret) => secret,
            None => write_secret(file).with_context(|| format!("--debug-key-file {}", file.display()))?,
        };
        Ok(Self { secret, used: Mutex::default() })
    }

    /// Whether this key counts. It does so once.
    pub(crate) fn admits(&self, key: &str) -> bool {
        self.admits_at(key, now())
    }

    fn admits_at(&self, key: &str, now: u64) -> bool {
        let Some((said, its_code)) = key.rsplit_once('.') else { return false };
        let made = said.split_once('.').and_then(|(made, _)| made.parse::<u64>().ok());
        let Some(made) = made.filter(|made| made.abs_diff(now) <= VALID) else { return false };
        let (Ok(its_code), Ok(code)) = (BASE64.decode(its_code), code(&self.secret, said)) else { return false };
        if code.verify_slice(&its_code).is_err() {
            return false;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, end| *end >= now);
        used.len() < MOST_USED && used.insert(said.to_owned(), made.saturating_add(VALID)).is_none()
    }
}

/// The secret in a file that nobody else can read.
fn own_secret(file: &Path) -> Option<[u8; SECRET_BYTES]> {
    let metadata = std::fs::symlink_metadata(file).ok()?;
    let is_own = metadata.is_file()
        && metadata.permissions().mode() & 0o077 == 0
        && metadata.uid() == std::fs::metadata("/proc/self").ok()?.uid();
    std::fs::read(file).ok().filter(|_| is_own)?.try_into().ok()
}

/// Writes a new secret to a file that only this user can read.
fn write_secret(file: &Path) -> anyhow::Result<[u8; SECRET_BYTES]> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).context("no random numbers")?;
    // Beside it first: a reader sees all of it or none, and never with the rights of a file that was there before.
    let beside = file.with_extension(format!("{}.new", std::process::id()));
    let _ = std::fs::remove_file(&beside);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?.write_all(&secret)?;
    std::fs::rename(beside, file)?;
    Ok(secret)
}

/// Makes a key with the secret in a file.
///
/// # Errors
/// If that cannot be read, or holds none.
pub(crate) fn make(file: &Path) -> anyhow::Result<String> {
    let secret = std::fs::read(file).with_context(|| format!("--debug-key-file {}", file.display()))?;
    let secret: [u8; SECRET_BYTES] = secret
        .try_into()
        .map_err(|_| anyhow::anyhow!("--debug-key-file {}: no file of a running host", file.display()))?;
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).context("no random numbers for a one-time key")?;
    let said = format!("{}.{}", now(), BASE64.encode(nonce));
    Ok(format!("{said}.{}", BASE64.encode(code(&secret, &said)?.finalize().into_bytes())))
}

/// The code of this text.
fn code(secret: &[u8; SECRET_BYTES], said: &str) -> anyhow::Result<Hmac<Sha256>> {
    // HMAC takes a key of any length (RFC 2104).
    let mut code = Hmac::<Sha256>::new_from_slice(secret).context("no HMAC for one-time keys")?;
    code.update(said.as_bytes());
    Ok(code)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_once_and_for_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let keys = OneTimeKeys::open(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let key = make(&file).unwrap();
        assert!(keys.admits(&key));
        assert!(!keys.admits(&key), "twice");
        let late = make(&file).unwrap();
        assert!(!keys.admits_at(&late, now() + VALID + 2));
        assert!(!keys.admits_at(&late, now() - VALID - 2));
        for forged in ["", ".", "..", "1.2.3", &late[..late.len() - 1], &late.replacen('.', ".0", 1)] {
            assert!(!keys.admits(forged), "{forged}");
        }
        assert!(keys.admits(&late), "a forged one uses nothing up");
        // A host that starts again takes the keys that are on their way.
        let key = make(&file).unwrap();
        assert!(OneTimeKeys::open(&file).unwrap().admits(&key));
        // A secret that others can read is none.
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let next = OneTimeKeys::open(&file).unwrap();
        let key = make(&file).unwrap();
        assert!(!keys.admits(&key) && next.admits(&key));
    }

    #[test]
    fn used_keys_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let keys = OneTimeKeys::open(&file).unwrap();
        for _ in 0..MOST_USED {
            assert!(keys.admits(&make(&file).unwrap()));
        }
        let key = make(&file).unwrap();
        assert!(!keys.admits(&key), "too many at once");
        assert_eq!(keys.used.lock().unwrap().len(), MOST_USED);
        // They are forgotten as they expire.
        let later = now() + VALID + 5;
        let said = format!("{later}.00");
        let key = format!("{said}.{}", BASE64.encode(code(&keys.secret, &said).unwrap().finalize().into_bytes()));
        assert!(keys.admits_at(&key, later));
        assert_eq!(keys.used.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_file_of_another_program_is_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "short").unwrap();
        let error = make(&file).unwrap_err().to_string();
        assert!(error.ends_with("no file of a running host"), "{error}");
        assert!(make(&folder.path().join("none")).is_err());
    }
}
