//! Copies of folders.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Copies a folder with all that is below it, which are folders and files.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            ensure!(kind.is_file(), "{} is no file", entry.path().display());
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
