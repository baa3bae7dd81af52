//! Fetching: from what an origin holds to the bytes of a module. A new kind of origin is a variant here.

use std::path::PathBuf;

use bartizan_contract::digest::digest_of;
use bartizan_runtime::Runtime;

use super::folder::Stamp;
use super::module_store::{Load, Outcome};
use super::{Trouble, load};

/// What an origin holds, as far as it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    /// A file that had settled with this stamp.
    File {
        /// Where.
        path: PathBuf,
        /// What it was like.
        stamp: Stamp,
    },
    /// The bytes themselves.
    Bytes(bytes::Bytes),
}

/// What fetching came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fetched {
    /// The bytes.
    Bytes(bytes::Bytes),
    /// It changed meanwhile, and will be looked at again.
    Changed,
    /// It cannot be a module.
    Refused(Trouble),
}

/// Fetches what an origin holds and makes a module of it, if it is another than the one that is known. Blocking.
pub(super) fn try_load(runtime: &Runtime, wanted: &Load) -> Outcome {
    let bytes = match fetch(&wanted.holding, runtime.module_bytes()) {
        Fetched::Bytes(bytes) => bytes,
        Fetched::Changed => return Outcome::Changed,
        Fetched::Refused(trouble) => return Outcome::Refused(trouble),
    };
    if wanted.known.as_ref().is_some_and(|known| *known == digest_of(&bytes)) {
        return Outcome::Same;
    }
    match load(runtime, &bytes) {
        Ok(loaded) => Outcome::Loaded(Box::new(loaded)),
        Err(reason) => Outcome::Refused(Trouble::Invalid(reason)),
    }
}

/// Fetches no more than `limit` bytes. Blocking.
fn fetch(holding: &Holding, limit: usize) -> Fetched {
    let (path, stamp) = match holding {
        Holding::Bytes(bytes) => return Fetched::Bytes(bytes.clone()),
        Holding::File { path, stamp } => (path, stamp),
    };
    match usize::try_from(stamp.size) {
        Ok(size) if size <= limit => {}
        size => {
            let bytes = size.unwrap_or(usize::MAX);
            let error = bartizan_runtime::LoadError::TooLarge { bytes, limit };
            return Fetched::Refused(Trouble::Invalid(error.to_string()));
        }
    }
    let read = std::fs::read(path);
    // What was read is what had settled only if that is there still.
    match (Stamp::of(path), read) {
        (Ok(now), Ok(bytes)) if now == *stamp => Fetched::Bytes(bytes.into()),
        (Ok(now), Err(error)) if now == *stamp => {
            Fetched::Refused(Trouble::Unavailable(format!("cannot be read: {error}")))
        }
        _ => Fetched::Changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_settled_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        std::fs::write(&path, "12345").unwrap();
        let holding = Holding::File { path: path.clone(), stamp: Stamp::of(&path).unwrap() };
        assert_eq!(fetch(&holding, 5), Fetched::Bytes("12345".into()));
        let message = "the module has 5 bytes, more than the limit of 4; build it optimised and stripped";
        assert_eq!(fetch(&holding, 4), Fetched::Refused(Trouble::Invalid(message.to_owned())));
        std::fs::write(&path, "123456").unwrap();
        assert_eq!(fetch(&holding, 5), Fetched::Changed);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(fetch(&holding, 5), Fetched::Changed);
    }
}
