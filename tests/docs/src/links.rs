//! Every relative link and anchor in the repository's Markdown resolves, every page below docs/ is reachable from its table of
//! contents, and every page that source code names exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use rstest::rstest;

use crate::repository::{at, files, read};

/// The page from which all others must be reachable.
const TABLE_OF_CONTENTS: &str = "docs/README.md";
/// Extensions of the files in which a page may be named.
const SOURCES: [&str; 9] = ["rs", "toml", "yaml", "go", "js", "py", "wit", "json", "md"];

/// A Markdown file: where it points, and where others may point to in it.
#[derive(Debug, Default)]
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

fn pages() -> Result<BTreeMap<PathBuf, Page>> {
    files(&["md"])?
        .into_iter()
        .map(|path| {
            let page = parse(&read(&path)?);
            Ok((path, page))
        })
        .collect()
}

fn parse(markdown: &str) -> Page {
    let mut page = Page::default();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.into_string());
            }
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&heading.take().unwrap_or_default());
                let nth = (1..).map(|number| format!("{slug}-{number}"));
                let free = std::iter::once(slug.clone()).chain(nth).find(|anchor| !page.anchors.contains(anchor));
                page.anchors.extend(free);
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    page
}

/// The anchor that GitHub gives a heading.
fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}

/// Where a link leads: a path from the root of the repository, and an anchor. `None` if it leads out of the repository.
fn target(page: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    if ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
        return None;
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (link, None),
    };
    if path.is_empty() {
        return Some((page.to_owned(), anchor));
    }
    let mut target = page.parent().unwrap_or(Path::new("")).to_owned();
    for component in Path::new(path).components() {
        match component {
            // Out of the repository: kept, so that it is reported as a page that is not there.
            Component::ParentDir if !target.pop() => target.push(".."),
            Component::ParentDir | Component::CurDir => {}
            other => target.push(other),
        }
    }
    Some((target, anchor))
}

/// Pages below docs/ that a text names, as `docs/design/scope.md`.
fn named_pages(text: &str) -> impl Iterator<Item = &str> {
    let is_of_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    text.split(move |c| !is_of_path(c))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| word.starts_with("docs/") && word.ends_with(".md"))
}

#[test]
fn every_relative_link_and_anchor_resolves() -> Result<()> {
    let pages = pages()?;
    let mut broken = Vec::new();
    for (path, page) in &pages {
        for link in &page.links {
            let Some((target, anchor)) = target(path, link) else { continue };
            let has_anchor = |anchor: &String| pages.get(&target).is_some_and(|page| page.anchors.contains(anchor));
            if !at(&target).exists() || anchor.is_some_and(|anchor| !has_anchor(&anchor)) {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    ensure!(broken.is_empty(), "broken links: {broken:#?}");
    Ok(())
}

#[test]
fn every_page_is_reachable_from_the_table_of_contents() -> Result<()> {
    let pages = pages()?;
    let mut reached = BTreeSet::new();
    let mut next = vec![PathBuf::from(TABLE_OF_CONTENTS)];
    while let Some(path) = next.pop() {
        let Some(page) = pages.get(&path).filter(|_| path.starts_with("docs")) else { continue };
        if reached.insert(path.clone()) {
            next.extend(page.links.iter().filter_map(|link| Some(target(&path, link)?.0)));
        }
    }
    let unreached: Vec<&PathBuf> =
        pages.keys().filter(|path| path.starts_with("docs") && !reached.contains(*path)).collect();
    ensure!(unreached.is_empty(), "no way from {TABLE_OF_CONTENTS} to {unreached:?}");
    Ok(())
}

#[test]
fn every_page_that_a_source_file_names_exists() -> Result<()> {
    let mut missing = Vec::new();
    // This file's own tests name pages that never were.
    let own = Path::new("tests/docs");
    for path in files(&SOURCES)?.into_iter().filter(|path| !path.starts_with(own)) {
        let text = read(&path)?;
        let unknown = named_pages(&text).filter(|page| !at(Path::new(page)).exists());
        missing.extend(unknown.map(|page| format!("{}: {page}", path.display())));
    }
    ensure!(missing.is_empty(), "no such pages: {missing:#?}");
    Ok(())
}

#[rstest]
#[case("Keep, hold, Retain", "keep-hold-retain")]
#[case("All of them: /metrics", "all-of-them-metrics")]
#[case("Two Providers, one parent", "two-providers-one-parent")]
#[case("snake_case and kebab-case", "snake_case-and-kebab-case")]
fn an_anchor_is_that_of_github(#[case] heading: &str, #[case] expected: &str) {
    assert_eq!(slug(heading), expected);
}

#[test]
fn a_heading_that_occurs_twice_has_two_anchors_and_code_in_it_counts() {
    let page = parse("# Pods\n\n## Pods\n\n## One: `bartizan explain`\n\n    # no heading [no](link.md)\n");
    assert_eq!(page.anchors, ["one-bartizan-explain", "pods", "pods-1"].map(str::to_owned).into());
    assert_eq!(page.links, Vec::<String>::new());
}

#[rstest]
#[case("scope.md", "docs/design/scope.md", None)]
#[case("../README.md#design", "docs/README.md", Some("design"))]
#[case("#drift", "docs/design/reconcile.md", Some("drift"))]
#[case("../../../other/a.md", "../other/a.md", None)]
fn a_link_is_relative_to_its_page(#[case] link: &str, #[case] path: &str, #[case] anchor: Option<&str>) {
    let found = target(Path::new("docs/design/reconcile.md"), link);
    assert_eq!(found, Some((path.into(), anchor.map(str::to_owned))));
    assert_eq!(target(Path::new("README.md"), "https://example.com/a.md"), None);
}

#[test]
fn a_page_is_named_by_its_path_from_the_root() {
    let text = "// See docs/a-b.md, (docs/design/c.md) or docs/d.md. Not ../docs/e.md, docs/ or docs/f.txt.";
    assert_eq!(named_pages(text).collect::<Vec<_>>(), ["docs/a-b.md", "docs/design/c.md", "docs/d.md"]);
}
