//! What a provider gets: the parent, and everything observed that it was granted. No clock, no randomness: the same state
//! of the cluster is the same bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Observed objects: kind (`StatefulSet.apps/v1`) to name (`namespace/name`, or `name` if cluster-scoped) to the object as
/// JSON text. Every declared kind is present, if empty.
pub type ObjectsByKind<'a> = BTreeMap<String, BTreeMap<String, &'a RawValue>>;

/// One question to a provider. Borrows its objects as JSON text, so that host and guest parse only what they look at.
/// A guest ignores fields that it does not know.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReconcileRequest<'a> {
    /// `provider.bartizan.dev/v1alpha1`.
    #[serde(borrow)]
    pub api_version: Cow<'a, str>,
    /// `ReconcileRequest`.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// Who is asked.
    #[serde(borrow)]
    pub provider: ProviderInfo<'a>,
    /// Facts of the cluster.
    #[serde(borrow)]
    pub cluster: ClusterInfo<'a>,
    /// The parent as the API server returned it, without managedFields and last-applied annotation.
    #[serde(borrow)]
    #[schemars(with = "Value")]
    pub parent: &'a RawValue,
    /// The children of this parent that exist.
    #[serde(borrow, default)]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, Value>>")]
    pub children: ObjectsByKind<'a>,
    /// What exists below the children: pods and claims of a StatefulSet.
    #[serde(borrow, default)]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, Value>>")]
    pub descendants: ObjectsByKind<'a>,
    /// What the provider asked to see beside its parent.
    #[serde(borrow, default)]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, Value>>")]
    pub related: ObjectsByKind<'a>,
    /// Whether the parent is being deleted and the provider is asked to finish.
    #[serde(default)]
    pub finalizing: bool,
    /// Whether the parent's namespace is being deleted.
    #[serde(default)]
    pub namespace_terminating: bool,
}

/// Who is asked.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderInfo<'a> {
    /// Name in the host.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Version of the module that is asked.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// Settings that the administrator gave, with the defaults of the manifest's schema; an empty object if none.
    #[serde(borrow)]
    #[schemars(with = "Value")]
    pub settings: &'a RawValue,
}

/// Facts of the cluster.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterInfo<'a> {
    /// Version of the API server, as `v1.36.3`.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// Whether each optional kind (`ServiceMonitor.monitoring.coreos.com`, no version) is served.
    #[serde(default)]
    pub kinds: BTreeMap<String, bool>,
}
