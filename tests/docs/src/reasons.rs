//! The tables of reasons: every reason of the host has a row, and every row a reason, the condition that carries it, what it
//! means and what to do.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};
use bartizan_contract::Reason;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::repository::read;

/// The page with the tables of the host's reasons.
const TROUBLESHOOTING: &str = "docs/administrators/troubleshoot.md";
/// Pages with tables of reasons: the host's, and those of the shipped providers.
const PAGES: [&str; 3] = [TROUBLESHOOTING, "docs/storage/minio.md", "docs/storage/cassandra.md"];
/// Heading of the first column of such a table.
const COLUMN: &str = "reason";

/// A row of a table of reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    /// The reason, if the first cell is one in backticks and nothing else.
    reason: Option<String>,
    /// The text of the other cells: condition, meaning, what to do; or type, when, what to do.
    cells: Vec<String>,
}

/// A cell: its text, and the code in it.
#[derive(Debug, Default)]
struct Cell {
    text: String,
    code: String,
}

/// The rows of all tables of reasons in a page, table by table.
fn tables(markdown: &str) -> Vec<Vec<Row>> {
    let (mut tables, mut rows, mut cells): (Vec<Vec<Row>>, Vec<Row>, Vec<Cell>) = Default::default();
    let mut of_reasons = false;
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::TableHead | Tag::TableRow) => cells.clear(),
            Event::Start(Tag::TableCell) => cells.push(Cell::default()),
            Event::Text(text) => cells.iter_mut().last().into_iter().for_each(|cell| cell.text.push_str(&text)),
            Event::Code(code) => cells.iter_mut().last().into_iter().for_each(|cell| {
                cell.text.push_str(&code);
                cell.code.push_str(&code);
            }),
            Event::End(TagEnd::TableHead) => of_reasons = cells.first().is_some_and(|cell| cell.text == COLUMN),
            Event::End(TagEnd::TableRow) if of_reasons => {
                let mut cells = cells.drain(..);
                let first = cells.next().unwrap_or_default();
                let reason = (first.text == first.code).then_some(first.code);
                rows.push(Row { reason, cells: cells.map(|cell| cell.text).collect() });
            }
            Event::End(TagEnd::Table) if of_reasons => tables.push(std::mem::take(&mut rows)),
            _ => {}
        }
    }
    tables
}

fn is_reason(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().all(|c| c.is_ascii_alphanumeric())
}

#[test]
fn every_reason_of_the_host_has_a_row() -> Result<()> {
    let tables = tables(&read(Path::new(TROUBLESHOOTING))?);
    let rows: BTreeSet<String> = tables.into_iter().flatten().filter_map(|row| row.reason).collect();
    let missing: Vec<&Reason> = Reason::ALL.iter().filter(|reason| !rows.contains(reason.as_str())).collect();
    ensure!(missing.is_empty(), "{TROUBLESHOOTING} has no row for {missing:?}");
    // The SDK's reasons stand there, too: they are the same for every provider.
    let sdk = ["Ready", "Settled", "SpecValid", "UnknownFields"];
    let unknown: Vec<&String> =
        rows.iter().filter(|row| row.parse::<Reason>().is_err() && !sdk.contains(&row.as_str())).collect();
    ensure!(unknown.is_empty(), "{TROUBLESHOOTING} has rows for reasons that the host never writes: {unknown:?}");
    Ok(())
}

#[test]
fn every_reason_has_a_condition_a_meaning_and_a_remedy_once() -> Result<()> {
    for path in PAGES {
        let tables = tables(&read(Path::new(path))?);
        ensure!(!tables.is_empty(), "{path} has no table of reasons");
        for table in tables {
            let mut seen = BTreeSet::new();
            for row in table {
                ensure!(row.cells.iter().all(|cell| !cell.is_empty()), "{path}: an empty cell: {row:?}");
                let Some(reason) = row.reason else { continue };
                ensure!(is_reason(&reason), "{path}: `{reason}` is not CamelCase");
                let condition = row.cells.first().cloned().unwrap_or_default();
                ensure!(seen.insert((reason.clone(), condition)), "{path}: `{reason}` is there twice");
            }
        }
    }
    Ok(())
}

#[test]
fn a_table_of_reasons_is_read_row_by_row() {
    let text =
        "| reason | condition |\n|---|---|\n| `A` | `Ready=True` |\n| any `B` | x |\n\n| other |\n|---|\n| `C` |\n";
    let row =
        |reason: Option<&str>, cell: &str| Row { reason: reason.map(str::to_owned), cells: vec![cell.to_owned()] };
    assert_eq!(tables(text), [vec![row(Some("A"), "Ready=True"), row(None, "x")]]);
}
