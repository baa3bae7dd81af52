//! Tests of the documentation: its links (`links`), its tables of reasons (`reasons`), its page on the layout (`layout`), and that the code of its pages compiles.

#[cfg(test)]
mod layout;
#[cfg(test)]
mod links;
#[cfg(test)]
mod reasons;

/// The provider of the page for authors who begin. Its indented blocks would be taken for Rust: all of them are fenced.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/authors/first-provider.md")]
pub struct FirstProvider;
