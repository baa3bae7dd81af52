//! What a provider may do. Everything is granted by name: there are no wildcards.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{crd, is_default};
use crate::field::{DNS_SUBDOMAIN, GROUP, KIND};
use crate::{Kind, RelatedAccess};

/// What a provider may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Grants {
    /// Kinds that it may write.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub children: Vec<ChildGrant>,
    /// Kinds that it may see below what it wrote: pods, claims.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub descendants: Vec<DescendantGrant>,
    /// Kinds that it may read beside its parents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub related: Vec<RelatedGrant>,
    /// What the pod templates among its children may hold.
    #[serde(skip_serializing_if = "is_default")]
    pub pods: PodGrant,
}

/// Kinds that a provider may write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChildGrant {
    /// API group; empty for the core group.
    #[schemars(length(max = 253), regex(pattern = GROUP))]
    pub group: String,
    /// Kinds of it, as `StatefulSet`. A cluster-scoped kind is granted by standing here.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 63), regex(pattern = KIND)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub kinds: Vec<String>,
    /// Where: `Parent` (the parent's namespace), or a list of namespaces, and then these only. Default: Parent.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "crd::child_namespaces")]
    pub namespaces: GrantedNamespaces,
}

/// Kinds that a provider may see below what it wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DescendantGrant {
    /// API group; empty for the core group.
    #[schemars(length(max = 253), regex(pattern = GROUP))]
    pub group: String,
    /// Kinds of it, as `Pod`.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 63), regex(pattern = KIND)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub kinds: Vec<String>,
}

/// Kinds that a provider may read beside its parents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RelatedGrant {
    /// API group; empty for the core group.
    #[schemars(length(max = 253), regex(pattern = GROUP))]
    pub group: String,
    /// Kinds of it, as `Secret`. A cluster-scoped kind is granted by standing here.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 63), regex(pattern = KIND)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub kinds: Vec<String>,
    /// Where: `Parent` (the parent's namespace), `All`, or a list of namespaces, and then these only. Default: Parent.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(schema_with = "crd::related_namespaces")]
    pub namespaces: GrantedNamespaces,
    /// How it sees the values of Secrets. Default: Opaque.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access: RelatedAccess,
}

/// Namespaces that a grant holds for. Objects outside of any namespace are granted by their kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GrantedNamespaces {
    /// The parent's; none if the parent is outside of any.
    #[default]
    Parent,
    /// All.
    All,
    /// These, and not the parent's unless it is among them.
    Named(Vec<String>),
}

/// What pod templates may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodGrant {
    /// The Pod Security Standard that they must meet. Default: Restricted.
    pub level: PodLevel,
    /// ServiceAccounts that they may name, beside none and `default`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(max = 253), regex(pattern = DNS_SUBDOMAIN)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub service_account_names: Vec<String>,
}

/// The Pod Security Standards, from the widest to the narrowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum PodLevel {
    /// Anything.
    Privileged,
    /// No known escalation of privileges.
    Baseline,
    /// Hardened by current practice.
    #[default]
    Restricted,
}

impl Grants {
    /// Whether a kind may be written in some namespace.
    #[must_use]
    pub fn covers_child(&self, kind: &Kind) -> bool {
        self.children.iter().any(|grant| grant.covers(kind))
    }

    /// Whether an object of a kind may be written: in a namespace (or none), for a parent in one (or none).
    #[must_use]
    pub fn may_write(&self, kind: &Kind, namespace: Option<&str>, parents: Option<&str>) -> bool {
        self.children.iter().any(|grant| grant.covers(kind) && grant.namespaces.cover(namespace, parents))
    }

    /// Whether objects of a kind may be seen below children.
    #[must_use]
    pub fn covers_descendant(&self, kind: &Kind) -> bool {
        self.descendants.iter().any(|grant| grant.covers(kind))
    }

    /// How a kind may be read in some namespace at the most; `None` if it may not.
    #[must_use]
    pub fn covers_related(&self, kind: &Kind) -> Option<RelatedAccess> {
        self.related.iter().filter(|grant| grant.covers(kind)).map(|grant| grant.access).max()
    }

    /// How an object of a kind may be read: in a namespace (or none), for a parent in one (or none). `None` if it may not.
    #[must_use]
    pub fn may_read(&self, kind: &Kind, namespace: Option<&str>, parents: Option<&str>) -> Option<RelatedAccess> {
        let grants =
            self.related.iter().filter(|grant| grant.covers(kind) && grant.namespaces.cover(namespace, parents));
        grants.map(|grant| grant.access).max()
    }
}

impl ChildGrant {
    /// Whether this grant is about a kind, at any version.
    #[must_use]
    pub fn covers(&self, kind: &Kind) -> bool {
        covers(&self.group, &self.kinds, kind)
    }
}

impl DescendantGrant {
    /// Whether this grant is about a kind, at any version.
    #[must_use]
    pub fn covers(&self, kind: &Kind) -> bool {
        covers(&self.group, &self.kinds, kind)
    }
}

impl RelatedGrant {
    /// Whether this grant is about a kind, at any version.
    #[must_use]
    pub fn covers(&self, kind: &Kind) -> bool {
        covers(&self.group, &self.kinds, kind)
    }
}

fn covers(group: &str, kinds: &[String], kind: &Kind) -> bool {
    group == kind.group && kinds.contains(&kind.kind)
}

impl GrantedNamespaces {
    /// Whether an object in a namespace (or none) is within the grant, for a parent in a namespace (or none).
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
