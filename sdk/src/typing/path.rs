//! The path of a field during deserialization: a linked list on the stack, which is only formatted for errors and unknown fields.

use std::fmt;

/// The path of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    /// The field at which deserialization started.
    Root(&'static str),
    /// A field of an object, or a key of a map.
    Field(&'a Path<'a>, &'a str),
    /// An element of a list.
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
            // The form that Kubernetes uses for keys that would look like several fields: annotations[example.com/team].
            Self::Field(parent, name) if name.contains(['.', '/', '[', ']']) => write!(f, "{parent}[{name}]"),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
        }
    }
}
