//! The access of a provider. Everything is granted by name: there are no wildcards.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::schema;
use crate::default::is_default;
use crate::field::{DNS_LABEL_LENGTH, DNS_SUBDOMAIN, DNS_SUBDOMAIN_LENGTH, GROUP, KIND};
use crate::kind::Kind;
use crate::manifest::RelatedAccess;

/// The access of a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Grants {
    /// Kinds that the provider may write.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub children: Vec<ChildGrant>,
    /// Kinds that it may read below its children, such as pods and claims.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub descendants: Vec<DescendantGrant>,
    /// Kinds of other objects that it may read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub related: Vec<RelatedGrant>,
    /// The restrictions of pod templates in its children.
    #[serde(skip_serializing_if = "is_default")]
    pub pods: PodGrant,
}

/// Kinds that a provider may write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChildGrant {
    /// API group; empty for the core group.
    #[schemars(length(max = DNS_SUBDOMAIN_LENGTH), regex(pattern = GROUP))]
    pub group: String,
    /// Kinds of the group, such as `StatefulSet`. Naming a cluster-scoped kind grants it.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = DNS_LABEL_LENGTH), regex(pattern = KIND)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub kinds: Vec<String>,
    /// The namespaces: `Parent` (the parent's namespace) or a list, which then is exhaustive. Default: Parent.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "schema::child_namespaces")]
    pub namespaces: GrantedNamespaces,
}

/// Kinds that a provider may read below its children.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DescendantGrant {
    /// API group; empty for the core group.
    #[schemars(length(max = DNS_SUBDOMAIN_LENGTH), regex(pattern = GROUP))]
    pub group: String,
    /// Kinds of the group, such as `Pod`.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = DNS_LABEL_LENGTH), regex(pattern = KIND)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub kinds: Vec<String>,
}

/// Kinds of other objects that a provider may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelatedGrant {
    /// API group; empty for the core group.
    #[schemars(length(max = DNS_SUBDOMAIN_LENGTH), regex(pattern = GROUP))]
    pub group: String,
    /// Kinds of the group, such as `Secret`. Naming a cluster-scoped kind grants it.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = DNS_LABEL_LENGTH), regex(pattern = KIND)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub kinds: Vec<String>,
    /// The namespaces: `Parent` (the parent's namespace), `All`, or a list, which then is exhaustive. Default: Parent.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "schema::related_namespaces")]
    pub namespaces: GrantedNamespaces,
    /// How the provider sees the values of Secrets. Default: Opaque.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access: RelatedAccess,
}

/// The namespaces of a grant. Cluster-scoped objects are granted by their kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GrantedNamespaces {
    /// The parent's namespace; none if the parent is cluster-scoped.
    #[default]
    Parent,
    /// All namespaces.
    All,
    /// These namespaces, which include the parent's only if it is listed.
    Named(Vec<String>),
}

/// The restrictions of pod templates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodGrant {
    /// The Pod Security Standard that pod templates must meet. Default: Restricted.
    pub level: PodLevel,
    /// The ServiceAccounts that pod templates may use, besides none and `default`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = DNS_SUBDOMAIN_LENGTH), regex(pattern = DNS_SUBDOMAIN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub service_account_names: Vec<String>,
}

/// The Pod Security Standards, from the least to the most restrictive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum PodLevel {
    /// Unrestricted.
    Privileged,
    /// Prevents known privilege escalations.
    Baseline,
    /// Follows current hardening best practices.
    #[default]
    Restricted,
}

impl Grants {
    /// Whether a kind may be written in any namespace.
    #[must_use]
    pub fn covers_child(&self, kind: &Kind) -> bool {
        self.children.iter().any(|grant| grant.covers(kind))
    }

    /// Whether an object of a kind may be written in a namespace (or none), for a parent in a namespace (or none).
    #[must_use]
    pub fn may_write(&self, kind: &Kind, namespace: Option<&str>, parents: Option<&str>) -> bool {
        self.children.iter().any(|grant| grant.covers(kind) && grant.namespaces.cover(namespace, parents))
    }

    /// Whether objects of a kind may be read below children.
    #[must_use]
    pub fn covers_descendant(&self, kind: &Kind) -> bool {
        self.descendants.iter().any(|grant| grant.covers(kind))
    }

    /// The widest access to a kind in any namespace; `None` if it may not be read.
    #[must_use]
    pub fn covers_related(&self, kind: &Kind) -> Option<RelatedAccess> {
        self.related.iter().filter(|grant| grant.covers(kind)).map(|grant| grant.access).max()
    }

    /// The access to an object of a kind in a namespace (or none), for a parent in a namespace (or none); `None` if it may not be
    /// read.
    #[must_use]
    pub fn may_read(&self, kind: &Kind, namespace: Option<&str>, parents: Option<&str>) -> Option<RelatedAccess> {
        let grants =
            self.related.iter().filter(|grant| grant.covers(kind) && grant.namespaces.cover(namespace, parents));
        grants.map(|grant| grant.access).max()
    }
}

impl ChildGrant {
    /// Whether the grant covers a kind, at any version.
    #[must_use]
    pub fn covers(&self, kind: &Kind) -> bool {
        covers(&self.group, &self.kinds, kind)
    }
}

impl DescendantGrant {
    /// Whether the grant covers a kind, at any version.
    #[must_use]
    pub fn covers(&self, kind: &Kind) -> bool {
        covers(&self.group, &self.kinds, kind)
    }
}

impl RelatedGrant {
    /// Whether the grant covers a kind, at any version.
    #[must_use]
    pub fn covers(&self, kind: &Kind) -> bool {
        covers(&self.group, &self.kinds, kind)
    }
}

fn covers(group: &str, kinds: &[String], kind: &Kind) -> bool {
    group == kind.group && kinds.contains(&kind.kind)
}

impl GrantedNamespaces {
    /// Whether the grant covers an object in a namespace (or none), for a parent in a namespace (or none).
    #[must_use]
    pub fn cover(&self, namespace: Option<&str>, parents: Option<&str>) -> bool {
        let Some(namespace) = namespace else { return true };
        match self {
            Self::Parent => parents == Some(namespace),
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name == namespace),
        }
    }
}

impl Serialize for GrantedNamespaces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Parent => serializer.serialize_str("Parent"),
            Self::All => serializer.serialize_str("All"),
            Self::Named(names) => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for GrantedNamespaces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GrantedNamespacesVisitor)
    }
}

struct GrantedNamespacesVisitor;

impl<'de> Visitor<'de> for GrantedNamespacesVisitor {
    type Value = GrantedNamespaces;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parent, All or a list of namespaces")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        match text {
            "Parent" => Ok(GrantedNamespaces::Parent),
            "All" => Ok(GrantedNamespaces::All),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(sequence)).map(GrantedNamespaces::Named)
    }
}
