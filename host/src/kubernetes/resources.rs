//! The resources that the API server serves, by the names that people use for them on a command line.

use std::collections::BTreeSet;

use bartizan_contract::Kind;
use kube::core::DynamicObject;
use kube::core::discovery::v2::{APIGroupDiscovery, APIGroupDiscoveryList, APIResourceDiscovery};
use kube::{Api, Client};

use crate::kubernetes::served::{Resource, api_resource};

/// One resource, at the version that the API server prefers.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// Its kind.
    pub(crate) kind: Kind,
    /// For requests.
    pub(crate) resource: Resource,
    /// Whether its objects can be listed.
    pub(crate) can_list: bool,
    /// What people call it, in lower case: kind, singular, plural, short names.
    names: BTreeSet<String>,
}

impl Named {
    /// Requests about its objects in this namespace, or in all.
    pub(crate) fn api(&self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace.filter(|_| self.resource.namespaced) {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource.api),
            None => Api::all_with(client.clone(), &self.resource.api),
        }
    }
}

/// Why a word names no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotFound {
    /// None has this name.
    #[error("the API server serves no kind that is called \"{0}\"")]
    Unknown(String),
    /// Several have.
    #[error("\"{word}\" may be {}: write one of them", .of.join(" or "))]
    Ambiguous {
        /// The word.
        word: String,
        /// The resources, as `objectstores.minio.rook.io`.
        of: Vec<String>,
    },
}

/// Everything that the API server serves.
///
/// # Errors
/// If it does not answer.
pub(crate) async fn served(client: &Client) -> Result<Vec<Named>, kube::Error> {
    let (core, groups) =
        futures::try_join!(client.list_core_api_versions_aggregated(), client.list_api_groups_aggregated())?;
    Ok(named(core).chain(named(groups)).collect())
}

fn named(groups: APIGroupDiscoveryList) -> impl Iterator<Item = Named> {
    groups.items.into_iter().flat_map(of_group)
}

fn of_group(group: APIGroupDiscovery) -> Vec<Named> {
    let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    // The preferred version comes first.
    for version in group.versions {
        let Some(number) = version.version else { continue };
        for resource in version.resources {
            found.extend(of_resource(&name, &number, resource).filter(|named| seen.insert(named.kind.kind.clone())));
        }
    }
    found
}

fn of_resource(group: &str, version: &str, resource: APIResourceDiscovery) -> Option<Named> {
    let (plural, kind) = (resource.resource?, resource.response_kind?.kind?);
    let kind = Kind::new(group, version, &kind);
    let names =
        resource.short_names.into_iter().chain(resource.singular_resource).chain([plural.clone(), kind.kind.clone()]);
    Some(Named {
        resource: Resource {
            api: api_resource(&kind, &plural),
            namespaced: resource.scope.as_deref() == Some("Namespaced"),
        },
        can_list: resource.verbs.iter().any(|verb| verb == "list"),
        names: names.map(|name| name.to_lowercase()).filter(|name| !name.is_empty()).collect(),
        kind,
    })
}

/// The resource that a word names: `objectstore`, `objectstores`, a short name, or one of them with its group.
///
/// # Errors
/// If there is none, or more than one.
pub(crate) fn find<'a>(served: &'a [Named], word: &str) -> Result<&'a Named, NotFound> {
    let wanted = word.to_lowercase();
    let (name, group) = wanted.split_once('.').map_or((wanted.as_str(), None), |(name, group)| (name, Some(group)));
    let is_meant = |named: &&Named| {
        named.names.contains(name) && group.is_none_or(|group| named.kind.group.eq_ignore_ascii_case(group))
    };
    let found: Vec<&Named> = served.iter().filter(is_meant).collect();
    match found.as_slice() {
        [] => Err(NotFound::Unknown(word.to_owned())),
        [one] => Ok(one),
        several => {
            let title = |named: &&Named| format!("{}.{}", named.resource.api.plural, named.kind.group);
            Err(NotFound::Ambiguous { word: word.to_owned(), of: several.iter().map(title).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served() -> Vec<Named> {
        let resource = |kind: &str, plural: &str, short: &[&str]| {
            serde_json::json!({
                "resource": plural, "responseKind": {"group": "", "version": "", "kind": kind}, "scope": "Namespaced",
                "singularResource": kind.to_lowercase(), "verbs": ["get", "list"], "shortNames": short,
            })
        };
        let group = |name: &str, versions: serde_json::Value| serde_json::json!({"metadata": {"name": name}, "versions": versions});
        let list = serde_json::json!({"items": [
            group("minio.rook.io", serde_json::json!([
                {"version": "v1beta1", "resources": [resource("ObjectStore", "objectstores", &["os"])]},
                {"version": "v1alpha1", "resources": [resource("ObjectStore", "objectstores", &["os"])]},
            ])),
            group("cassandra.rook.io", serde_json::json!([{"version": "v1", "resources": [resource("Cluster", "clusters", &[])]}])),
            group("example.com", serde_json::json!([{"version": "v1", "resources": [resource("Cluster", "clusters", &[])]}])),
        ]});
        named(serde_json::from_value(list).unwrap()).collect()
    }

    #[test]
    fn a_resource_is_found_by_any_name_that_kubectl_takes() {
        let served = served();
        for word in ["objectstore", "ObjectStores", "os", "objectstore.minio.rook.io", "os.minio.rook.io"] {
            let found = find(&served, word).unwrap();
            assert_eq!(
                (found.kind.version.as_str(), found.resource.api.plural.as_str()),
                ("v1beta1", "objectstores"),
                "{word}"
            );
        }
        assert_eq!(
            find(&served, "store").unwrap_err().to_string(),
            "the API server serves no kind that is called \"store\""
        );
        let expected = "\"cluster\" may be clusters.cassandra.rook.io or clusters.example.com: write one of them";
        assert_eq!(find(&served, "cluster").unwrap_err().to_string(), expected);
        assert_eq!(find(&served, "cluster.example.com").unwrap().kind.group, "example.com");
    }
}
