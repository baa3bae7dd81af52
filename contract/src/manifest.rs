//! The manifest of a provider: the document that `describe` returns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::{Kind, ParseKindError};
use crate::names::{API_VERSION, MANIFEST_KIND};

/// A provider's manifest: its identity, the kinds that it owns, and the access that it requests. A request is not a grant: the
/// administrator grants access, and the host enforces it.
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
    /// The complete CustomResourceDefinitions (`apiextensions.k8s.io/v1`) that the provider owns. Their kinds are its parents, each
    /// at its storage version.
    pub crds: Vec<Value>,
    /// The kinds that it requests to write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<KindRequest>,
    /// The kinds that it requests to read below its children, such as pods and claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub descendants: Vec<KindRequest>,
    /// The kinds of other objects that it requests to read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<RelatedKind>,
    /// JSON pointers (RFC 6901) to sensitive fields of the parent, such as `/spec/credentials/secretKey`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive: Vec<String>,
    /// JSON schema of the provider's settings: an object, without references. The host validates settings against it and fills in
    /// its defaults. Absent if the provider has no settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    /// Whether it finalizes: it is called before a parent is deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finalizes: bool,
    /// Whether the condition `Ready` of its parents stays as it reports it while `Synced` is not true. By default the host lowers it then:
    /// to `False` if somebody must change something first, otherwise to `Unknown`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_ready: bool,
}

/// A kind that a provider requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KindRequest {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `StatefulSet`.
    pub kind: String,
    /// Whether the provider also works if the cluster does not serve this kind, which `cluster.kinds` of a request tells.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// A kind of other objects that a provider requests to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelatedKind {
    /// `apps/v1`, or `v1` for the core group.
    pub api_version: String,
    /// `Secret`.
    pub kind: String,
    /// Whether the provider also works if the cluster does not serve this kind.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// How the provider sees the values of Secrets.
    #[serde(default)]
    pub access: RelatedAccess,
}

/// How a provider sees the values of Secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RelatedAccess {
    /// As tokens, which it can copy and compare, but not read.
    #[default]
    Opaque,
    /// As plain text.
    Plaintext,
}

impl ProviderManifest {
    /// Whether the provider asks to see Secrets, and so its account needs to read them.
    #[must_use]
    pub fn sees_secrets(&self) -> bool {
        let asked = self.children.iter().chain(&self.descendants).map(KindRequest::kind);
        asked
            .chain(self.related.iter().map(|asked| asked.kind()))
            .any(|kind| kind.group.is_empty() && kind.kind == "Secret")
    }

    /// A manifest with a name and a version that requests nothing.
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
            keeps_ready: false,
        }
    }
}

impl KindRequest {
    /// The requested kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::from_api_version(&self.api_version, &self.kind)
    }
}

impl RelatedKind {
    /// The requested kind.
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
