//! Which files of a crate import which, and the cycles among them.

use std::collections::{BTreeMap, BTreeSet};

use crate::module::{self, Module, Path};
use crate::tokens::tokens;

/// The modules of a crate, and the file of each.
#[derive(Default)]
pub(crate) struct Crate {
    modules: BTreeMap<Path, Module>,
    files: BTreeMap<Path, String>,
}

/// How often a path is followed through re-exports, at most: there is none that goes round, or rustc would refuse it.
const HOPS: usize = 16;

impl Crate {
    /// Reads a crate from its root file; `source` returns the content of a file, if there is one.
    pub(crate) fn read(root: &str, source: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut read = Self::default();
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        read.file(&Path::new(), root, folder, source);
        read
    }

    fn file(&mut self, path: &Path, file: &str, folder: &str, source: &dyn Fn(&str) -> Option<String>) {
        let Some(text) = source(file) else { return };
        for (inner, module) in module::read(&tokens(&text)) {
            let path = [path.clone(), inner.clone()].concat();
            let folder = [vec![folder.to_owned()], inner].concat().join("/");
            for child in &module.children {
                let names = [format!("{folder}/{child}.rs"), format!("{folder}/{child}/mod.rs")];
                if let Some(name) = names.into_iter().find(|name| source(name).is_some()) {
                    let path = [path.clone(), vec![child.clone()]].concat();
                    self.file(&path, &name, &format!("{folder}/{child}"), source);
                }
            }
            self.files.insert(path.clone(), file.to_owned());
            self.modules.insert(path, module);
        }
    }

    /// For each file, the files that it imports something from.
    pub(crate) fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (path, module) in &self.modules {
            let file = self.files[path].as_str();
            let targets = module.references.iter().filter_map(|reference| self.resolve(path, reference, HOPS));
            let others = targets.map(|target| self.files[&target].as_str()).filter(|target| *target != file);
            found.entry(file).or_default().extend(others);
        }
        found
    }

    /// The module that a path, written in `from`, leads to: that which declares the item at its end, through all re-exports.
    /// None if it is in another crate.
    fn resolve(&self, from: &Path, path: &[String], hops: usize) -> Option<Path> {
        let mut at = from.clone();
        let mut rest = path;
        let mut anchored = false;
        while let [first, tail @ ..] = rest {
            match first.as_str() {
                "crate" => at.clear(),
                "super" => {
                    at.pop()?;
                }
                "self" => {}
                _ => break,
            }
            (anchored, rest) = (true, tail);
        }
        while let [name, tail @ ..] = rest {
            let child = [at.clone(), vec![name.clone()]].concat();
            if self.modules.contains_key(&child) {
                (anchored, at, rest) = (true, child, tail);
                continue;
            }
            let module = &self.modules[&at];
            if !module.items.contains(name)
                && let Some(hops) = hops.checked_sub(1)
                && (anchored || module.reexports.contains_key(name))
                && let Some(target) = self.reexported(&at, module, name, tail, hops)
            {
                return target;
            }
            break;
        }
        anchored.then_some(at)
    }

    /// Where a name leads that a module re-exports, with what follows it in the path: `Some(None)` into another crate, `None`
    /// if the module does not re-export the name.
    fn reexported(&self, at: &Path, module: &Module, name: &str, tail: &[String], hops: usize) -> Option<Option<Path>> {
        if let Some(path) = module.reexports.get(name) {
            // A module may re-export what a private import of the same name brought in: such a path leads nowhere new.
            return Some(self.resolve(at, &[path, tail].concat(), hops));
        }
        module.globs.iter().find_map(|glob| {
            let target = self.resolve(at, glob, hops)?;
            let found = &self.modules[&target];
            let declared = found.items.contains(name) || found.children.contains(name);
            if declared || found.reexports.contains_key(name) || !found.globs.is_empty() {
                return Some(self.resolve(&target, &[&["self".to_owned(), name.to_owned()], tail].concat(), hops));
            }
            None
        })
    }

    /// The cycles, each beginning with its first file by name. Only those that contain no smaller one: once a
    /// small cycle is gone, the test reports what is left of the larger ones.
    pub(crate) fn cycles(&self) -> Vec<Vec<&str>> {
        let imports = self.imports();
        let mut found: BTreeSet<(usize, Vec<&str>)> = BTreeSet::new();
        for (file, targets) in &imports {
            for target in targets {
                if let Some(mut cycle) = way(&imports, target, file) {
                    let first = cycle.iter().enumerate().min_by_key(|(_, name)| **name).map_or(0, |(index, _)| index);
                    cycle.rotate_left(first);
                    found.insert((cycle.len(), cycle));
                }
            }
        }
        let mut smallest: Vec<Vec<&str>> = Vec::new();
        for (_, cycle) in found {
            if !smallest.iter().any(|small| small.iter().all(|file| cycle.contains(file))) {
                smallest.push(cycle);
            }
        }
        smallest
    }
}

/// The shortest way along imports from one file to another, both included.
fn way<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(file) = queue.pop_front() {
        if file == to {
            let mut way = vec![to];
            while let Some(before) = came_from.get(way[way.len() - 1]).filter(|_| way[way.len() - 1] != from) {
                way.push(before);
            }
            way.reverse();
            return Some(way);
        }
        for next in imports.get(file).into_iter().flatten() {
            if *next != from && !came_from.contains_key(next) {
                came_from.insert(next, file);
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycles(files: &[(&str, &str)]) -> Vec<String> {
        let source = |name: &str| files.iter().find(|(file, _)| *file == name).map(|(_, text)| (*text).to_owned());
        let read = Crate::read(files[0].0, &source);
        read.cycles().iter().map(|cycle| cycle.join(" -> ")).collect()
    }

    #[test]
    fn files_that_import_each_other_are_a_cycle_at_any_distance() {
        let root = ("src/lib.rs", "mod a; mod b; mod c; mod d;");
        let two = [root, ("src/a.rs", "use crate::b::B;"), ("src/b.rs", "fn f() { crate::a::g() }")];
        assert_eq!(cycles(&two), ["src/a.rs -> src/b.rs"]);
        let three = [
            root,
            ("src/a.rs", "use crate::b::B;"),
            ("src/b.rs", "use super::{c::C, d::D};"),
            ("src/c.rs", "pub(crate) fn c(a: &crate::a::A) {}"),
            ("src/d.rs", "struct D;"),
        ];
        assert_eq!(cycles(&three), ["src/a.rs -> src/b.rs -> src/c.rs"]);
        let none = [root, ("src/a.rs", "use crate::b::B; use crate::c::C;"), ("src/b.rs", "use crate::c::C;")];
        assert_eq!(cycles(&none), Vec::<String>::new());
    }

    #[test]
    fn a_parent_that_only_declares_and_reexports_its_child_does_not_import_it() {
        let child = ("src/a/b.rs", "use super::Shared; pub struct B;");
        let root = ("src/lib.rs", "mod a;");
        let reexports = [root, ("src/a.rs", "mod b; pub use b::B; pub struct Shared;"), child];
        assert_eq!(cycles(&reexports), Vec::<String>::new());
        for parent in ["mod b; use b::B; pub struct Shared;", "mod b; pub struct Shared; fn f() { b::g() }"] {
            assert_eq!(cycles(&[root, ("src/a.rs", parent), child]), ["src/a.rs -> src/a/b.rs"], "{parent}");
        }
    }

    #[test]
    fn a_reexport_is_followed_to_the_file_that_declares_the_item() {
        let files = [
            ("src/lib.rs", "mod a; pub use a::B;"),
            ("src/a/mod.rs", "mod b; mod c; pub(crate) use b::B; pub(crate) use c::*;"),
            ("src/a/b.rs", "use super::C; pub struct B;"),
            ("src/a/c.rs", "use crate::B; pub struct C;"),
        ];
        assert_eq!(cycles(&files), ["src/a/b.rs -> src/a/c.rs"]);
    }

    #[test]
    fn other_crates_unit_tests_and_inline_modules_make_no_cycle() {
        let files = [
            ("src/main.rs", "mod a; mod b; fn main() { a::run() }"),
            (
                "src/a.rs",
                "use crate::b::B; mod inner { use super::A; } struct A; #[cfg(test)] mod tests { use super::A; }",
            ),
            ("src/b.rs", "use serde::a::A; use std::a; pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
        ];
        assert_eq!(cycles(&files), Vec::<String>::new());
    }
}
