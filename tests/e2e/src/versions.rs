//! Other versions of a module without building any: the same bytes except for a text that occurs in them once.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// A module with one text replaced by another of the same length, so that nothing in it moves.
///
/// # Errors
/// If the text does not occur exactly once, or the lengths differ.
pub fn patched(module: &[u8], old: &str, new: &str) -> Result<Vec<u8>> {
    ensure!(old.len() == new.len(), "{new:?} does not fit in place of {old:?}");
    let (old, new) = (old.as_bytes(), new.as_bytes());
    let places: Vec<usize> =
        module.windows(old.len()).enumerate().filter(|(_, w)| *w == old).map(|(at, _)| at).collect();
    ensure!(places.len() == 1, "it stands at {places:?}");
    let mut module = module.to_vec();
    module[places[0]..places[0] + new.len()].copy_from_slice(new);
    Ok(module)
}

/// Replaces a file atomically: written beside it, then renamed.
///
/// # Errors
/// If it cannot be written.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = path.with_extension("part");
    std::fs::write(&aside, bytes).with_context(|| format!("{} cannot be written", aside.display()))?;
    std::fs::rename(&aside, path).with_context(|| format!("{} cannot be put in place", path.display()))
}
