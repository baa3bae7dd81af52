//! A kind without its version, which identifies objects, grants and claims.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kind::Kind;

/// A kind without a version. As text `StatefulSet.apps`, or `Secret` for kinds of the core group (kubectl's form).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKind {
    /// API group; empty for the core group.
    pub group: String,
    /// The kind, such as `StatefulSet`.
    pub kind: String,
}

/// A text that is not the name of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseGroupKindError(String);

impl fmt::Display for ParseGroupKindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a kind: write it as StatefulSet.apps, or Secret for the core group", self.0)
    }
}

impl std::error::Error for ParseGroupKindError {}

impl GroupKind {
    /// A kind of the given group (empty for core).
    #[must_use]
    pub fn new(group: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), kind: kind.to_owned() }
    }
}

impl From<&Kind> for GroupKind {
    fn from(kind: &Kind) -> Self {
        Self::new(&kind.group, &kind.kind)
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.kind) } else { write!(f, "{}.{}", self.kind, self.group) }
    }
}

impl FromStr for GroupKind {
    type Err = ParseGroupKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, group) = match text.split_once('.') {
            Some((_, "")) => ("", ""),
            Some(parts) => parts,
            None => (text, ""),
        };
        if kind.is_empty() || text.contains('/') {
            return Err(ParseGroupKindError(text.to_owned()));
        }
        Ok(Self::new(group, kind))
    }
}

impl Serialize for GroupKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GroupKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for GroupKind {
    fn schema_name() -> Cow<'static, str> {
        "GroupKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A kind: StatefulSet.apps, or Secret for the core group.",
            "examples": ["StatefulSet.apps", "Secret"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_its_text_form() {
        for text in ["StatefulSet.apps", "Secret", "ServiceMonitor.monitoring.coreos.com"] {
            assert_eq!(text.parse::<GroupKind>().map(|kind| kind.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("StatefulSet.apps".parse(), Ok(GroupKind::from(&Kind::new("apps", "v1", "StatefulSet"))));
    }

    #[test]
    fn other_texts_are_refused_with_the_right_form() {
        for text in ["", ".apps", "Secret.", "StatefulSet.apps/v1"] {
            let expected =
                format!("\"{text}\" is not a kind: write it as StatefulSet.apps, or Secret for the core group");
            assert_eq!(text.parse::<GroupKind>().map_err(|error| error.to_string()), Err(expected));
        }
    }
}
