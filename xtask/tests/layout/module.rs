//! What one file of a crate declares, re-exports and refers to.

use std::collections::{BTreeMap, BTreeSet};

/// A module by the names on the way to it from the root of its crate; empty for the root.
pub(crate) type Path = Vec<String>;

/// A module, be it a file or written inside one.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// Names of modules that it declares in files of their own: `mod x;`.
    pub(crate) children: BTreeSet<String>,
    /// Names of other items that it declares.
    pub(crate) items: BTreeSet<String>,
    /// Names that it re-exports (`pub use`), and the paths that they stand for.
    pub(crate) reexports: BTreeMap<String, Path>,
    /// Modules of which it re-exports everything: `pub use x::*`.
    pub(crate) globs: Vec<Path>,
    /// Paths that it refers to, in imports and elsewhere, as they are written.
    pub(crate) references: Vec<Path>,
}

/// Keywords that declare an item, whose name follows.
const ITEMS: [&str; 9] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static", "macro_rules"];

/// Reads a file: its own module comes first, those written inside it follow with their paths below it.
pub(crate) fn read(tokens: &[String]) -> Vec<(Path, Module)> {
    let mut modules = vec![(Path::new(), Module::default())];
    read_body(tokens, 0, 0, &mut modules);
    modules
}

/// Reads tokens from `index` to the brace that closes the body of module number `current`.
fn read_body(tokens: &[String], mut index: usize, current: usize, modules: &mut Vec<(Path, Module)>) -> usize {
    let token = |index: usize| tokens.get(index).map_or("", String::as_str);
    let mut depth = 0_usize;
    while index < tokens.len() {
        match token(index) {
            "{" => depth += 1,
            "}" if depth == 0 => return index + 1,
            "}" => depth -= 1,
            "mod" if token(index + 2) == ";" => {
                modules[current].1.children.insert(token(index + 1).to_owned());
                index += 2;
            }
            "mod" if token(index + 2) == "{" => {
                let path = [modules[current].0.clone(), vec![token(index + 1).to_owned()]].concat();
                modules.push((path, Module::default()));
                let inner = modules.len() - 1;
                index = read_body(tokens, index + 3, inner, modules);
                continue;
            }
            // `impl Trait + use<'a>` is no import.
            "use" if token(index + 1) != "<" => {
                let public = index > 0 && is_public(tokens, index - 1);
                let mut imports = Vec::new();
                index = read_use(tokens, index + 1, &Path::new(), &mut imports);
                let module = &mut modules[current].1;
                for Import { path, name } in imports {
                    match (public, name) {
                        (true, Some(name)) => {
                            module.reexports.insert(name, path);
                        }
                        (true, None) => module.globs.push(path),
                        (false, _) => module.references.push(path),
                    }
                }
                continue;
            }
            keyword if ITEMS.contains(&keyword) => {
                let name = if token(index + 1) == "!" { index + 2 } else { index + 1 };
                modules[current].1.items.insert(token(name).to_owned());
            }
            _ if token(index + 1) == "::" && starts_path(tokens, index) => {
                let mut path = vec![token(index).to_owned()];
                while token(index + 1) == "::" && is_word(token(index + 2)) {
                    path.push(token(index + 2).to_owned());
                    index += 2;
                }
                modules[current].1.references.push(path);
            }
            _ => {}
        }
        index += 1;
    }
    index
}

/// Whether a path starts here, and is none of a macro's (`$crate::x`) or of a visibility (`pub(in crate::x)`).
fn starts_path(tokens: &[String], index: usize) -> bool {
    let before = index.checked_sub(1).and_then(|before| tokens.get(before)).map_or("", String::as_str);
    is_word(&tokens[index]) && !matches!(before, "::" | "$" | "." | "in")
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Whether the token at `index` ends `pub` or `pub(…)`.
fn is_public(tokens: &[String], index: usize) -> bool {
    match tokens[index].as_str() {
        "pub" => true,
        ")" => {
            let open = tokens[..index].iter().rposition(|token| token == "(");
            open.is_some_and(|open| open > 0 && tokens[open - 1] == "pub")
        }
        _ => false,
    }
}

/// One name that a `use` brings in; none for `*`.
struct Import {
    path: Path,
    name: Option<String>,
}

/// Reads a tree of a `use` behind `prefix`; returns the index behind its `;`, `,` or `}`.
fn read_use(tokens: &[String], mut index: usize, prefix: &Path, imports: &mut Vec<Import>) -> usize {
    let token = |index: usize| tokens.get(index).map_or(";", String::as_str);
    let mut path = prefix.clone();
    let mut name = None;
    loop {
        match token(index) {
            ";" | "," | "}" => {
                if path.len() > prefix.len() {
                    // `use a::{self}` brings in `a`.
                    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                        path.pop();
                    }
                    let name = name.or_else(|| path.last().cloned());
                    imports.push(Import { path, name });
                }
                return if token(index) == "}" { index } else { index + 1 };
            }
            "{" => {
                index += 1;
                while token(index) != "}" {
                    index = read_use(tokens, index, &path, imports);
                }
                // What stands before the braces is no import by itself.
                path.clone_from(prefix);
            }
            "*" => {
                imports.push(Import { path: std::mem::replace(&mut path, prefix.clone()), name: None });
            }
            "as" => {
                name = Some(token(index + 1).to_owned());
                index += 1;
            }
            "::" => {}
            word => path.push(word.to_owned()),
        }
        index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::tokens;

    fn paths(paths: &[Path]) -> Vec<String> {
        paths.iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn imports_reexports_paths_and_declarations_are_told_apart() {
        let source = "
            mod a; pub(crate) mod b;
            use crate::x::{self, Y, z::{Z as W, *}};
            pub(crate) use a::{One, Two as Three};
            pub use b::*;
            pub(in crate::q) struct S;
            fn f() { super::g(a::h()); std::mem::drop(1) }
            mod inner { use super::S; fn k() {} }
            macro_rules! m { () => { $crate::n() } }
        ";
        let modules = read(&tokens(source));
        let (_, file) = &modules[0];
        assert_eq!(file.children, ["a", "b"].map(str::to_owned).into());
        assert_eq!(file.items, ["S", "f", "m"].map(str::to_owned).into());
        let references =
            ["crate::x", "crate::x::Y", "crate::x::z::Z", "crate::x::z", "super::g", "a::h", "std::mem::drop"];
        assert_eq!(paths(&file.references), references);
        let reexports: Vec<_> =
            file.reexports.iter().map(|(name, path)| format!("{name}={}", path.join("::"))).collect();
        assert_eq!(reexports, ["One=a::One", "Three=a::Two"]);
        assert_eq!(paths(&file.globs), ["b"]);
        let (path, inner) = &modules[1];
        assert_eq!((path.join("::").as_str(), paths(&inner.references)), ("inner", vec!["super::S".to_owned()]));
    }
}
