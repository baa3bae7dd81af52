//! The documents name tests as proofs: a proof that was renamed away is none.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use bartizan_build as build;

/// Folders whose sources hold tests.
const SOURCES: [&str; 12] = [
    "contract",
    "engine",
    "simulation",
    "runtime",
    "registry",
    "host",
    "sdk",
    "plugins",
    "tests/e2e",
    "tests/harness",
    "tests/rigs",
    "xtask",
];
/// A name of a test is a sentence: nothing shorter in a document is meant as one.
const WORDS: usize = 4;

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, extension, found)?;
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// The texts in backquotes that look like the name of a test.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_name = move |name: &&str| name.split('_').count() >= WORDS && name.split('_').all(is_word);
    // No metric has a name that is a sentence.
    text.split('`').skip(1).step_by(2).filter(is_name).filter(|name| !name.starts_with("bartizan_"))
}

#[test]
fn every_test_that_the_documents_name_exists() -> Result<()> {
    let root = build::workspace_root();
    let (mut documents, mut sources) = (Vec::new(), Vec::new());
    files(&root.join("docs"), "md", &mut documents)?;
    for folder in SOURCES {
        files(&root.join(folder), "rs", &mut sources)?;
    }
    let mut functions = BTreeSet::new();
    for source in sources {
        let text = fs::read_to_string(&source).with_context(|| source.display().to_string())?;
        let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
        functions.extend(names.map(str::to_owned));
    }
    let mut missing = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).with_context(|| document.display().to_string())?;
        let unknown = named(&text).filter(|name| !functions.contains(*name));
        missing.extend(unknown.map(|name| format!("{}: {name}", document.display())));
    }
    ensure!(missing.is_empty(), "no such tests: {missing:#?}");
    Ok(())
}
