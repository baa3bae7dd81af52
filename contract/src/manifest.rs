//! What a provider says about itself: the document that `describe` returns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::names::{API_VERSION, MANIFEST_KIND};
use crate::{Kind, ParseKindError};

/// A provider's manifest: what it is, which kinds it owns, and what it asks for. Asking is not getting: the administrator
/// grants, the host checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderManifest {
    /// `provider.bartizan.dev/v1alpha1`.
    pub api_version: String,
    /// `ProviderManifest`.
    pub kind: String,
    /// Name of the provider, a DNS label: part of labels and of the field manager.
    pub name: String,
    /// Version of the provider, for people.
    pub version: String,
    /// The CustomResourceDefinitions that it owns, whole, `apiextensions.k8s.io/v1`. Their kinds are its parents, each at
    /// its storage version.
    pub crds: Vec<Value>,
    /// The kinds that it asks to write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<KindRequest>,
    /// The kinds that it asks to see below its children: pods, claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub descendants: Vec<KindRequest>,
    /// The kinds that it asks to read beside its parents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<RelatedKind>,
    /// JSON pointers (RFC 6901) to fields of the parent that are secrets, as `/spec/credentials/secretKey`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
    /// JSON schema of the provider's settings: an object, without references. The host checks settings by it and fills in its
    /// defaults. Absent if the provider has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    /// Whether it wants to be asked before a parent goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finalizes: bool,
}

/// A kind that a provider asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KindRequest {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `StatefulSet`.
    pub kind: String,
    /// Whether the provider also works where the cluster does not serve this kind. `cluster.kinds` tells it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// A kind that a provider asks to read beside its parents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelatedKind {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `Secret`.
    pub kind: String,
    /// Whether the provider also works where the cluster does not serve this kind.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// How it sees the values of Secrets.
    #[serde(default)]
    pub access: RelatedAccess,
}

/// How a provider sees the values of Secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RelatedAccess {
    /// As tokens: it can copy them and notice a change, and cannot read them.
    #[default]
    Opaque,
    /// As they are.
    Plaintext,
}

impl ProviderManifest {
    /// A manifest with a name and a version, and nothing asked for.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: MANIFEST_KIND.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            crds: Vec::new(),
            children: Vec::new(),
            descendants: Vec::new(),
            related: Vec::new(),
            sensitive: Vec::new(),
            settings: None,
            finalizes: false,
        }
    }
}

impl KindRequest {
    /// The kind that is asked for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::from_api_version(&self.api_version, &self.kind)
    }
}

impl RelatedKind {
    /// The kind that is asked for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::from_api_version(&self.api_version, &self.kind)
    }
}

impl From<Kind> for KindRequest {
    fn from(kind: Kind) -> Self {
        Self { api_version: kind.api_version(), kind: kind.kind, optional: false }
    }
}

impl TryFrom<&str> for KindRequest {
    type Error = ParseKindError;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse::<Kind>().map(Self::from)
    }
}
