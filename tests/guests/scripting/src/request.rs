//! The request: those parts of the contract's type that an answer can depend on.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// Kind to path (`namespace/name`, or `name`) to object.
pub(crate) type Objects = BTreeMap<String, BTreeMap<String, Value>>;

/// A request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub(crate) provider: ProviderInfo,
    pub(crate) cluster: Cluster,
    pub(crate) parent: Value,
    #[serde(default)]
    pub(crate) children: Objects,
    #[serde(default)]
    pub(crate) descendants: Objects,
    #[serde(default)]
    pub(crate) related: Objects,
    #[serde(default)]
    pub(crate) finalizing: bool,
    #[serde(default)]
    pub(crate) namespace_terminating: bool,
}

/// The provider as the host knows it.
#[derive(Debug, Deserialize)]
pub(crate) struct ProviderInfo {
    pub(crate) version: String,
    pub(crate) settings: Value,
}

/// Facts of the cluster.
#[derive(Debug, Deserialize)]
pub(crate) struct Cluster {
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) kinds: BTreeMap<String, bool>,
}

impl Request {
    /// `status.seen`: the names of objects and not their content, since a status must not change with every write to
    /// a child.
    pub(crate) fn seen(&self) -> Value {
        json!({
            "children": names(&self.children),
            "descendants": names(&self.descendants),
            "related": names(&self.related),
            "finalizing": self.finalizing,
            "namespaceTerminating": self.namespace_terminating,
            "kinds": self.cluster.kinds,
            "settings": self.provider.settings,
            "version": self.provider.version,
            "clusterVersion": self.cluster.version,
        })
    }

    /// A value in the `data` of an object that the provider sees.
    pub(crate) fn data(&self, kind: &str, path: &str, key: &str) -> Option<&str> {
        let object = [&self.related, &self.children].into_iter().find_map(|objects| objects.get(kind)?.get(path))?;
        object.get("data")?.get(key)?.as_str()
    }
}

/// `Kind path` of each, in order.
fn names(objects: &Objects) -> Vec<String> {
    objects.iter().flat_map(|(kind, objects)| objects.keys().map(move |path| format!("{kind} {path}"))).collect()
}
