//! How the API server serves the kinds that a provider works with.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_contract::Kind;
use bartizan_engine::status_shape::StatusShape;
use kube::core::ApiResource;

/// How the API server serves a kind.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// Group, version, kind and plural.
    pub(crate) api: ApiResource,
    /// Whether the kind is namespaced.
    pub(crate) namespaced: bool,
}

/// A kind and its plural, for requests.
pub(crate) fn api_resource(kind: &Kind, plural: &str) -> ApiResource {
    ApiResource {
        group: kind.group.clone(),
        version: kind.version.clone(),
        api_version: kind.api_version(),
        kind: kind.kind.clone(),
        plural: plural.to_owned(),
    }
}

/// The kinds that one provider works with.
pub(crate) type Resources = Arc<BTreeMap<Kind, Resource>>;

/// How the API server serves a parent.
#[derive(Clone, Debug)]
pub(crate) struct ServedParent {
    /// Its resource.
    pub(crate) resource: Resource,
    /// What room there is for its status.
    pub(crate) status: Arc<StatusShape>,
}

/// How the API server serves the kinds of one provider.
#[derive(Clone, Debug, Default)]
pub(crate) struct Served {
    /// Its parents.
    pub(crate) parents: BTreeMap<Kind, ServedParent>,
    /// Its children.
    pub(crate) children: BTreeMap<Kind, Resource>,
    /// Kinds of children that an earlier version of it declared, and this one does not.
    pub(crate) former: BTreeMap<Kind, Resource>,
    /// Why those of other kinds that an earlier version wrote are left alone.
    pub(crate) left_alone: Option<String>,
    /// Descendants that it sees.
    pub(crate) descendants: BTreeMap<Kind, Resource>,
    /// Related objects that it may ask for.
    pub(crate) related: BTreeMap<Kind, Resource>,
    /// Optional kinds, as `Kind.group`, and whether each is served.
    pub(crate) optional: BTreeMap<String, bool>,
}
