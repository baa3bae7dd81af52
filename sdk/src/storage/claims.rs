//! The storage of a parent: the number of servers and the volume claims of each.

use std::collections::BTreeMap;
use std::fmt::Display;

use bartizan_contract::field::{DNS_LABEL, DNS_LABEL_LENGTH};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::quantity::nanos;
use crate::failure::Fault;
use crate::json::Object;
use crate::kubernetes::dns_label_fault;

/// The number of servers of a store and the storage of each.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageScope {
    /// The number of servers.
    #[schemars(range(min = 1))]
    pub node_count: i32,
    /// The volume claims of every server. None: data is lost with the pod.
    #[serde(default)]
    pub volume_claim_templates: Vec<ClaimTemplate>,
}

/// A volume claim of every server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimTemplate {
    /// `v1`, if set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `PersistentVolumeClaim`, if set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name, labels and annotations of the claims.
    #[serde(default)]
    pub metadata: ClaimMetadata,
    /// The spec of the PersistentVolumeClaim. Access modes default to ReadWriteOnce.
    #[schemars(schema_with = "claim_spec")]
    pub spec: Object,
}

/// The metadata of a claim template.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct ClaimMetadata {
    /// Name of the volume; by default `data0`, `data1` and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = DNS_LABEL_LENGTH), regex(pattern = DNS_LABEL))]
    pub name: Option<String>,
    /// Labels of the claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

fn claim_spec(_: &mut SchemaGenerator) -> Schema {
    serde_json::from_str(include_str!("claim-spec.json")).unwrap_or_default()
}

/// The names of one server's volumes, in the order of their claims.
#[must_use]
pub fn volume_names(templates: &[ClaimTemplate]) -> Vec<String> {
    templates.iter().enumerate().map(|(index, template)| template.name(index)).collect()
}

/// The claim templates for a StatefulSet, with defaults for names and access modes.
#[must_use]
pub fn claims(templates: &[ClaimTemplate]) -> Vec<Value> {
    templates.iter().enumerate().map(|(index, template)| template.claim(index)).collect()
}

/// The faults of the claim templates in the field `path`.
#[must_use]
pub fn claim_faults(templates: &[ClaimTemplate], path: impl Display) -> Vec<Fault> {
    let mut faults = Vec::new();
    let names = volume_names(templates);
    for (index, (template, name)) in templates.iter().zip(&names).enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(message) = storage_fault(&template.spec) {
            faults.push(Fault::new(format!("{path}.spec.resources.requests.storage"), message));
        }
        faults.extend(dns_label_fault(format_args!("{path}.metadata.name"), name));
        if names.iter().take(index).any(|earlier| earlier == name) {
            let message = format!("must be unique, but another template is also named \"{name}\"");
            faults.push(Fault::new(format!("{path}.metadata.name"), message));
        }
    }
    faults
}

impl ClaimTemplate {
    fn name(&self, index: usize) -> String {
        self.metadata.name.clone().unwrap_or_else(|| format!("data{index}"))
    }

    fn claim(&self, index: usize) -> Value {
        let mut metadata = json!({"name": self.name(index)});
        for (field, map) in [("labels", &self.metadata.labels), ("annotations", &self.metadata.annotations)] {
            if !map.is_empty() {
                metadata[field] = json!(map);
            }
        }
        let mut spec = self.spec.clone();
        if spec.get("accessModes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
            spec.insert("accessModes".to_owned(), json!(["ReadWriteOnce"]));
        }
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
    }
}

fn storage_fault(spec: &Object) -> Option<String> {
    let requests = spec.get("resources").and_then(|resources| resources.get("requests"));
    match requests.and_then(|requests| requests.get("storage")) {
        None => Some("is required".to_owned()),
        Some(amount) if nanos(amount).is_none() => {
            Some(format!("must be a quantity such as 500m or 2Gi, but is {amount}"))
        }
        Some(_) => None,
    }
}

/// Whether the claim templates of an observed StatefulSet, which are immutable, are equal to the wanted ones. Defaults of the API
/// server and its notation of quantities make no difference.
#[must_use]
pub fn same_claims(wanted: &[Value], observed: &[Value]) -> bool {
    let normal = |claims: &[Value]| claims.iter().cloned().map(normal).collect::<Vec<_>>();
    normal(wanted) == normal(observed)
}

/// A claim template without what the API server adds, and with quantities as plain numbers.
fn normal(mut claim: Value) -> (Value, Value) {
    let mut spec = claim.get_mut("spec").map(Value::take).unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        spec.entry("volumeMode").or_insert_with(|| "Filesystem".into());
        for amounts in ["requests", "limits"] {
            let amounts = spec.get_mut("resources").and_then(|resources| resources.get_mut(amounts));
            for amount in amounts.and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut()) {
                if let Some(nanos) = nanos(amount) {
                    *amount = nanos.to_string().into();
                }
            }
        }
    }
    let mut metadata = claim.get_mut("metadata").map(Value::take).unwrap_or_default();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.remove("creationTimestamp");
    }
    (metadata, spec)
}
