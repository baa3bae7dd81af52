//! How the API server serves the kinds that a provider works with.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_contract::Kind;
use kube::core::ApiResource;

/// How the API server serves a kind.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// Group, version, kind and plural.
    pub(crate) api: ApiResource,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
}

/// The kinds that one provider works with.
pub(crate) type Resources = Arc<BTreeMap<Kind, Resource>>;

/// How the API server serves a parent.
#[derive(Clone, Debug)]
pub(crate) struct ServedParent {
    /// Where its objects are.
    pub(crate) resource: Resource,
    /// Whether a status can be written: there is a status subresource, and its conditions are a map by type. An atomic list
    /// would be taken over whole, with the conditions of others.
    pub(crate) has_status: bool,
}

/// How the cluster serves what one provider works with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served {
    /// Its parents.
    pub(crate) parents: BTreeMap<Kind, ServedParent>,
    /// Its children.
    pub(crate) children: BTreeMap<Kind, Resource>,
    /// Kinds that an earlier version of it wrote, and this one does not declare.
    pub(crate) former: BTreeMap<Kind, Resource>,
    /// What it sees below them.
    pub(crate) descendants: BTreeMap<Kind, Resource>,
    /// What it may ask to see.
    pub(crate) related: BTreeMap<Kind, Resource>,
    /// Optional kinds, as `Kind.group`, and whether each is served.
    pub(crate) optional: BTreeMap<String, bool>,
}
