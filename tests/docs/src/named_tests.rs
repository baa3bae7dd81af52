//! The documents name tests as proofs: a proof that was renamed away is none.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::repository::{files, read};

/// A name of a test is a sentence: nothing shorter in a document is meant as one.
const WORDS: usize = 4;

/// What stands in backquotes and looks like the name of a test.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_name = move |name: &&str| name.split('_').count() >= WORDS && name.split('_').all(is_word);
    // No metric has a name that is a sentence.
    text.split('`').skip(1).step_by(2).filter(is_name).filter(|name| !name.starts_with("bartizan_"))
}

#[test]
fn every_test_that_the_documents_name_exists() -> Result<()> {
    let mut functions = BTreeSet::new();
    for source in files(&["rs"])? {
        let text = read(&source)?;
        let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
        functions.extend(names.map(str::to_owned));
    }
    let mut missing = Vec::new();
    for document in files(&["md"])?.iter().filter(|path| path.starts_with("docs")) {
        let text = read(document)?;
        let unknown = named(&text).filter(|name| !functions.contains(*name));
        missing.extend(unknown.map(|name| format!("{}: {name}", document.display())));
    }
    ensure!(missing.is_empty(), "no such tests: {missing:#?}");
    Ok(())
}
