//! Tests of the documentation: its links (`links`), its tables of reasons (`reasons`), its page on the layout (`layout`), the tests
//! that it names (`named_tests`), and that the code of its pages compiles.

#[cfg(test)]
mod layout;
#[cfg(test)]
mod links;
#[cfg(test)]
mod named_tests;
#[cfg(test)]
mod reasons;
#[cfg(test)]
mod repository;

/// The provider of the page for authors who begin. Its indented blocks would be taken for Rust: all of them are fenced.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/authors/first-provider.md")]
pub struct FirstProvider;
