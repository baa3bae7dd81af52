//! From the content of an origin to a loaded module: reads the bytes, and loads them unless that module is loaded already.

use bartizan_contract::digest::digest_of;
use bartizan_runtime::{LoadError, Runtime};
use tracing::info;

use super::Trouble;
use super::folder::Stamp;
use super::module::{ModuleError, load, recall};
use super::module_store::{Content, Load, Outcome};

/// The result of reading a content.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fetched {
    /// The bytes.
    Bytes(bytes::Bytes),
    /// The file changed meanwhile; the next scan of its folder finds it again.
    Changed,
    /// It cannot be a module.
    Refused(Trouble),
    /// It cannot be read now.
    Failed(String),
}

/// Compilations that may take too long before the module is refused.
const TIMEOUTS: u32 = 3;

/// Reads the content of an origin and makes a module of it, unless it is the module that is known already. Blocking.
pub(super) fn try_load(runtime: &Runtime, wanted: &Load) -> Outcome {
    let bytes = match fetch(&wanted.content, runtime.module_bytes()) {
        Fetched::Bytes(bytes) => bytes,
        Fetched::Changed => return Outcome::Changed,
        Fetched::Refused(trouble) => return Outcome::Refused(trouble),
        Fetched::Failed(reason) => return Outcome::Failed { reason, most: None },
    };
    if wanted.known.as_ref().is_some_and(|known| *known == digest_of(&bytes)) {
        return Outcome::Same;
    }
    if !wanted.compiles {
        let cached = recall(runtime, &digest_of(&bytes));
        return cached.map_or(Outcome::NotCached, |loaded| Outcome::Loaded(Box::new(loaded)));
    }
    match load(runtime, &bytes, &|| !wanted.gives_way.is_asked()) {
        Ok(loaded) => Outcome::Loaded(Box::new(loaded)),
        // It is compiled anew once the others are done.
        Err(ModuleError::Load(LoadError::CompileEnded)) => {
            info!(module = %wanted.origin, "its compilation makes room for a smaller module, and begins anew");
            Outcome::NotCached
        }
        Err(ModuleError::Load(error)) if error.may_pass() => {
            // On a busy machine a compilation may take long once, and a module that always does is not tried for ever.
            let most = matches!(error, LoadError::CompileTimeout { .. }).then_some(TIMEOUTS);
            Outcome::Failed { reason: error.to_string(), most }
        }
        Err(error) => Outcome::Refused(Trouble::Invalid(error.to_string())),
    }
}

/// Reads no more than `limit` bytes. Blocking.
fn fetch(content: &Content, limit: usize) -> Fetched {
    let (path, stamp) = match content {
        Content::Bytes(bytes) => return Fetched::Bytes(bytes.clone()),
        Content::File { path, stamp } => (path, stamp),
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
    // The bytes are those of the settled file only if its stamp is still the same.
    match (Stamp::of(path), read) {
        (Ok(now), Ok(bytes)) if now == *stamp => Fetched::Bytes(bytes.into()),
        (Ok(now), Err(error)) if now == *stamp => Fetched::Failed(format!("cannot be read: {error}")),
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
        let content = Content::File { path: path.clone(), stamp: Stamp::of(&path).unwrap() };
        assert_eq!(fetch(&content, 5), Fetched::Bytes("12345".into()));
        let message = "the module has 5 bytes, more than the limit of 4; build it optimised and stripped";
        assert_eq!(fetch(&content, 4), Fetched::Refused(Trouble::Invalid(message.to_owned())));
        std::fs::write(&path, "123456").unwrap();
        assert_eq!(fetch(&content, 5), Fetched::Changed);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(fetch(&content, 5), Fetched::Changed);
    }
}
