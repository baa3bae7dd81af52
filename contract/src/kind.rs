//! A kind of Kubernetes objects and its text form, which is the key of maps in a request.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A kind at a version. As text `StatefulSet.apps/v1`, or `Secret.v1` for kinds of the core group (Metacontroller's form).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: String,
    /// The version within the group, such as `v1`.
    pub version: String,
    /// The kind, such as `StatefulSet`.
    pub kind: String,
}

/// A text that is not the name of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseKindError(String);

impl fmt::Display for ParseKindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a kind: write it as StatefulSet.apps/v1, or Secret.v1 for the core group", self.0)
    }
}

impl std::error::Error for ParseKindError {}

impl Kind {
    /// A kind of the given group (empty for core), version and kind.
    #[must_use]
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// From `apiVersion` (`apps/v1`, `v1`) and `kind`.
    #[must_use]
    pub fn from_api_version(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self::new(group, version, kind)
    }

    /// The `apiVersion` of objects: `apps/v1`, or `v1` for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { [&*self.group, "/", &self.version].concat() }
    }

    /// Whether both are the same kind of the same group, regardless of the version, which is not part of an object's identity.
    #[must_use]
    pub fn same_group_kind(&self, other: &Self) -> bool {
        self.group == other.group && self.kind == other.kind
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            write!(f, "{}.{}", self.kind, self.version)
        } else {
            write!(f, "{}.{}/{}", self.kind, self.group, self.version)
        }
    }
}

impl FromStr for Kind {
    type Err = ParseKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseKindError(text.to_owned());
        let (kind, rest) = text.split_once('.').ok_or_else(error)?;
        let (group, version) = rest.rsplit_once('/').unwrap_or(("", rest));
        let core_with_dots = group.is_empty() && version.contains('.');
        if kind.is_empty() || version.is_empty() || core_with_dots || rest.starts_with('/') {
            return Err(error());
        }
        Ok(Self::new(group, version, kind))
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Kind {
    fn schema_name() -> Cow<'static, str> {
        "Kind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A kind at a version: StatefulSet.apps/v1, or Secret.v1 for the core group.",
            "examples": ["StatefulSet.apps/v1", "Secret.v1"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_its_text_form() {
        for text in ["StatefulSet.apps/v1", "Secret.v1", "ServiceMonitor.monitoring.coreos.com/v1"] {
            assert_eq!(text.parse::<Kind>().map(|kind| kind.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_right_form() {
        for text in ["", "Secret", ".v1", "Secret.", "ServiceMonitor.monitoring.coreos.com", "Pod./v1"] {
            let expected =
                format!("\"{text}\" is not a kind: write it as StatefulSet.apps/v1, or Secret.v1 for the core group");
            assert_eq!(text.parse::<Kind>().map_err(|error| error.to_string()), Err(expected));
        }
    }
}
