//! The objects that a host would have observed: the talk's store, the children that the provider wants, and others.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL, field_manager};
use bartizan_contract::{Kind, KindRequest, ProviderManifest, ReconcileResponse};
use bartizan_engine::object::Observed;
use bartizan_engine::request::{self, RequestInput};
use serde_json::{Value, json};

/// The talk's store, as applied by people.
const STORE: &str = include_str!("../../../examples/minio/object-store.yaml");
const PARENT_UID: &str = "00000000-0000-4000-8000-000000000000";
/// Bytes of data in each additional ConfigMap.
const FILLER_BYTES: usize = 200;

/// A parent and its children, as the host holds them.
pub(crate) struct Cluster {
    manifest: ProviderManifest,
    kinds: Vec<Kind>,
    namespace: Value,
    parent: Observed,
    children: Vec<Observed>,
}

impl Cluster {
    pub(crate) fn new(manifest: ProviderManifest) -> Result<Self> {
        let mut parent: Value = serde_yaml_ng::from_str(STORE)?;
        let namespace = parent["metadata"]["namespace"].clone();
        stamp(&mut parent, PARENT_UID, 1, &namespace);
        let mut kinds: Vec<Kind> = manifest.children.iter().map(KindRequest::kind).collect();
        let config_map = Kind::new("", "v1", "ConfigMap");
        if !kinds.contains(&config_map) {
            kinds.push(config_map);
        }
        let parent = Observed::project(parent, &field_manager(&manifest.name))?;
        Ok(Self { manifest, kinds, namespace, parent, children: Vec::new() })
    }

    /// Takes over the provider's answer as if it had been applied.
    pub(crate) fn observe(&mut self, response: &[u8]) -> Result<()> {
        let response: ReconcileResponse = serde_json::from_slice(response).context("the provider's first answer")?;
        let objects = response.children.into_iter().map(|child| child.object);
        self.children = objects.enumerate().map(|(n, object)| self.child(n, object)).collect::<Result<_>>()?;
        Ok(())
    }

    /// The bytes of a request with so many children: first the provider's own, then ConfigMaps.
    pub(crate) fn request(&self, children: usize) -> Result<Vec<u8>> {
        let filler = (self.children.len()..children).map(|number| {
            let object = json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": format!("filler-{number:04}")},
                "data": {"text": "x".repeat(FILLER_BYTES)},
            });
            self.child(number, object)
        });
        let filler = filler.collect::<Result<Vec<_>>>()?;
        let observed: Vec<&Observed> = self.children.iter().chain(&filler).take(children).collect();
        Ok(request::build(&RequestInput {
            provider: &self.manifest.name,
            provider_version: &self.manifest.version,
            settings: &json!({}),
            cluster_version: "v1.36.3",
            optional_kinds: &BTreeMap::new(),
            parent: &self.parent,
            child_kinds: &self.kinds,
            children: &observed,
            descendant_kinds: &[],
            descendants: &[],
            related_kinds: &[],
            related: &[],
            finalizing: false,
            namespace_terminating: false,
        }))
    }

    /// A child as the API server would return it.
    fn child(&self, number: usize, mut object: Value) -> Result<Observed> {
        stamp(&mut object, &format!("00000000-0000-4000-8000-{:012}", number + 1), number + 2, &self.namespace);
        object["metadata"]["labels"][PROVIDER_LABEL] = json!(self.manifest.name);
        object["metadata"]["labels"][OWNER_UID_LABEL] = json!(PARENT_UID);
        Ok(Observed::project(object, &field_manager(&self.manifest.name))?)
    }
}

/// The fields that the API server adds to an object.
pub(crate) fn stamp(object: &mut Value, uid: &str, resource_version: usize, namespace: &Value) {
    object["metadata"]["uid"] = json!(uid);
    object["metadata"]["resourceVersion"] = json!(resource_version.to_string());
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    object["metadata"]["generation"] = json!(1);
    object["metadata"]["namespace"] = namespace.clone();
}
