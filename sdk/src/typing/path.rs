//! The path of a field while its value is read: a list on the stack, written out only when somebody needs to read it.

use std::fmt;

/// Where a value stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    /// The field that reading began with.
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
            // Kubernetes' own form for keys that would read as several fields: annotations[example.com/team].
            Self::Field(parent, name) if name.contains(['.', '/', '[', ']']) => write!(f, "{parent}[{name}]"),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
        }
    }
}
