//! The layout of the code: no import cycles between the files of a crate, and dependencies between crates, and between
//! the rooms of the host, run downwards only.
//!
//! A file *imports* another if it names something that the other declares: in a `use`, or with a path in code that starts with
//! `crate::`, `super::`, `self::` or the name of a child module. A path is followed through re-exports to the file that
//! declares the item. Three things are no import:
//! - a declaration (`mod child;`) and a re-export (`pub use child::Item;`, `pub(crate)` too): a parent that only declares its
//!   children and re-exports their items may be named by them;
//! - anything behind `#[cfg(test)]`: unit tests may build what they need with any part of their crate;
//! - the bodies of exported macros, which name their crate `$crate`: they are expanded elsewhere.
//!
//! Files that import each other, directly or through others, form a *cycle*: none can be understood, tested or moved alone.

mod graph;
mod layers;
mod module;
mod tokens;

use std::fs;

use anyhow::{Context as _, Result, ensure};
use bartizan_build as build;

use crate::graph::Crate;

#[test]
fn no_files_of_a_crate_import_each_other() -> Result<()> {
    let root = build::workspace_root();
    let mut wrong = Vec::new();
    for (folder, _) in layers::LAYERS {
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| format!("{folder}/{file}"));
        for file in roots.iter().filter(|file| root.join(file).is_file()) {
            let read = Crate::read(file, &|name| fs::read_to_string(root.join(name)).ok());
            let cycles: Vec<String> = read.cycles().iter().map(|cycle| cycle.join(" -> ")).collect();
            eprintln!(
                "{file}: {} imports, {} cycles",
                read.imports().values().map(|to| to.len()).sum::<usize>(),
                cycles.len()
            );
            wrong.extend(cycles);
        }
    }
    ensure!(wrong.is_empty(), "files that import each other:\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn rooms_of_the_host_import_downwards_only() -> Result<()> {
    let root = build::workspace_root();
    let host = Crate::read("host/src/main.rs", &|name| fs::read_to_string(root.join(name)).ok());
    let room = |file: &str| {
        let name = file.trim_start_matches("host/src/").split(['/', '.']).next().unwrap_or_default().to_owned();
        let level = layers::ROOMS.iter().position(|room| *room == name);
        level.with_context(|| format!("{file} has no place in ROOMS: which rooms may it know?"))
    };
    let mut wrong = Vec::new();
    for (file, imported) in host.imports() {
        for other in imported {
            if room(other)? > room(file)? {
                wrong.push(format!("{file} -> {other}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "imports that are not allowed:\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn crates_depend_downwards_only() -> Result<()> {
    let root = build::workspace_root();
    let workspace = fs::read_to_string(root.join("Cargo.toml"))?;
    let folders = layers::folders(&workspace);
    let mut wrong = Vec::new();
    for member in layers::members(&workspace) {
        if layers::FREE.iter().any(|free| member.starts_with(free)) {
            continue;
        }
        let layer = layers::LAYERS.iter().find(|(folder, _)| *folder == member);
        let (_, allowed) =
            layer.with_context(|| format!("{member} has no place in LAYERS: which crates may it know?"))?;
        let manifest = fs::read_to_string(root.join(&member).join("Cargo.toml"))?;
        let depends = layers::dependencies(&manifest, &folders);
        let upwards = depends.iter().filter(|folder| !allowed.contains(&folder.as_str()));
        wrong.extend(upwards.map(|folder| format!("{member} -> {folder}")));
    }
    ensure!(wrong.is_empty(), "dependencies that are not allowed:\n{}", wrong.join("\n"));
    Ok(())
}
