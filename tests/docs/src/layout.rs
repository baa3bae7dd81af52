//! The page on the layout is true: every function of the trip is where it says.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::repository::read;

/// The page.
const PAGE: &str = "docs/layout.md";

/// The steps of the trip: function and file.
fn trip(markdown: &str) -> Vec<(String, String)> {
    let rows = markdown.lines().filter(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect());
    let cells: Vec<Vec<&str>> = cells.collect();
    let steps = cells.iter().skip_while(|row| row.first() != Some(&"step")).skip(2);
    steps.take_while(|row| row.len() == 3).map(|row| (row[1].to_owned(), row[2].to_owned())).collect()
}

#[test]
fn every_function_of_the_trip_is_where_the_layout_says() -> Result<()> {
    let steps = trip(&read(Path::new(PAGE))?);
    ensure!(steps.len() >= 15, "{PAGE} has no table with the steps of the trip: {steps:?}");
    for (function, file) in steps {
        let source = read(Path::new(&file)).with_context(|| format!("{PAGE} names {file}"))?;
        let defined = [format!("fn {function}("), format!("fn {function}<")].iter().any(|text| source.contains(text));
        ensure!(defined, "{PAGE} names {function} in {file}, which has no such function");
    }
    Ok(())
}
