//! The parents and their ConfigMaps, as the bench writes and sees them.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ApiResource, Patch, PatchParams, PostParams};
use kube::core::{GroupVersionKind, Object};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::json;

use anyhow::{Context as _, Result};

/// The namespace of the parents.
pub(crate) const NAMESPACE: &str = "bench";
/// How many ConfigMaps a parent has.
pub(crate) const CONFIG_MAPS: usize = 3;

/// A parent.
pub(crate) type Triple = Object<Spec, Status>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Spec {
    pub(crate) value: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Status {
    #[serde(default)]
    pub(crate) value: String,
}

/// Access to parents and ConfigMaps, with the admin's rights.
#[derive(Clone)]
pub(crate) struct Triples {
    pub(crate) resource: ApiResource,
    pub(crate) parents: Api<Triple>,
    pub(crate) config_maps: Api<ConfigMap>,
}

impl Triples {
    pub(crate) fn new(client: Client) -> Self {
        let kind = GroupVersionKind::gvk("bench.bartizan.dev", "v1alpha1", "Triple");
        let resource = ApiResource::from_gvk_with_plural(&kind, "triples");
        let parents = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
        Self { resource, parents, config_maps: Api::namespaced(client, NAMESPACE) }
    }

    pub(crate) async fn create(&self, number: usize, value: &str) -> Result<()> {
        let name = parent_name(number);
        let triple = Triple::new(&name, &self.resource, Spec { value: value.to_owned() });
        self.parents.create(&PostParams::default(), &triple).await.with_context(|| format!("creating {name}"))?;
        Ok(())
    }

    pub(crate) async fn change(&self, number: usize, value: &str) -> Result<()> {
        let name = parent_name(number);
        let patch = Patch::Merge(json!({"spec": {"value": value}}));
        self.parents.patch(&name, &PatchParams::default(), &patch).await.with_context(|| format!("changing {name}"))?;
        Ok(())
    }
}

pub(crate) fn parent_name(number: usize) -> String {
    format!("triple-{number:05}")
}

pub(crate) fn config_map_name(parent: usize, number: usize) -> String {
    format!("{}-{number}", parent_name(parent))
}

/// The number of a parent, from its name.
pub(crate) fn parent_of(name: &str) -> Option<usize> {
    name.strip_prefix("triple-")?.parse().ok()
}

/// The numbers of parent and ConfigMap, from the latter's name; `None` for others, such as the cluster's CA.
pub(crate) fn config_map_of(name: &str) -> Option<(usize, usize)> {
    let (parent, number) = name.rsplit_once('-')?;
    Some((parent_of(parent)?, number.parse().ok().filter(|number| *number < CONFIG_MAPS)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_parent_it_belongs_to() {
        assert_eq!(parent_of(&parent_name(7)), Some(7));
        assert_eq!(config_map_of(&config_map_name(12345, 2)), Some((12345, 2)));
        assert_eq!(config_map_of("kube-root-ca.crt"), None);
        assert_eq!(config_map_of("triple-00001"), None);
        assert_eq!(config_map_of("triple-00001-3"), None);
    }
}
