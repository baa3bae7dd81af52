//! The files of this repository, as paths from its root.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Folders that hold no text of this repository's own.
const SKIPPED: [&str; 4] = ["target", "node_modules", "venv", "__pycache__"];

/// Where a path from the root is.
pub(crate) fn at(path: &Path) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(at(path)).with_context(|| path.display().to_string())
}

/// All files with one of these extensions.
pub(crate) fn files(extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(Path::new(""), &mut found)?;
    let has_extension = |path: &PathBuf| path.extension().is_some_and(|own| extensions.iter().any(|one| own == *one));
    found.retain(has_extension);
    ensure!(!found.is_empty(), "no files found in {}", at(Path::new("")).display());
    found.sort();
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(at(folder)).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        let path = folder.join(&name);
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) && !name.starts_with('.') {
            walk(&path, found)?;
        } else if kind.is_file() {
            found.push(path);
        }
    }
    Ok(())
}
