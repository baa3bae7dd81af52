//! The request to a provider: the parent and all observed objects that were granted. It contains no time and no randomness: the
//! same state of the cluster gives the same bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Observed objects: kind (`StatefulSet.apps/v1`) to name (`namespace/name`, or `name` if cluster-scoped) to the object as
/// JSON text. Every declared kind is present, even if it has no objects.
pub type ObjectsByKind<'a> = BTreeMap<String, BTreeMap<String, &'a RawValue>>;

/// One request to a provider. Objects are borrowed as JSON text, so that host and guest parse only what they read. Guests ignore
/// unknown fields.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReconcileRequest<'a> {
    /// `provider.bartizan.dev/v1alpha1`.
    #[serde(borrow)]
    pub api_version: Cow<'a, str>,
    /// `ReconcileRequest`.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// The provider that is called.
    #[serde(borrow)]
    pub provider: ProviderInfo<'a>,
    /// The cluster.
    #[serde(borrow)]
    pub cluster: ClusterInfo<'a>,
    /// The parent as the API server returned it, without managedFields and last-applied annotation.
    #[serde(borrow)]
    #[schemars(with = "Value")]
    pub parent: &'a RawValue,
    /// The existing children of the parent.
    #[serde(borrow, default)]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, Value>>")]
    pub children: ObjectsByKind<'a>,
    /// Existing objects below the children, such as the pods and claims of a StatefulSet.
    #[serde(borrow, default)]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, Value>>")]
    pub descendants: ObjectsByKind<'a>,
    /// Other objects that the provider requested.
    #[serde(borrow, default)]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, Value>>")]
    pub related: ObjectsByKind<'a>,
    /// Whether the parent is being deleted and the provider should clean up.
    #[serde(default)]
    pub finalizing: bool,
    /// Whether the parent's namespace is being deleted.
    #[serde(default)]
    pub namespace_terminating: bool,
}

/// The provider that is called.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderInfo<'a> {
    /// Name of the Provider.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Version of the module.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// The administrator's settings, with the defaults of the manifest's schema; an empty object if there are none.
    #[serde(borrow)]
    #[schemars(with = "Value")]
    pub settings: &'a RawValue,
}

/// The cluster of a request.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterInfo<'a> {
    /// Version of the API server, such as `v1.36.3`.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// Whether each optional kind (`ServiceMonitor.monitoring.coreos.com`, without version) is served.
    #[serde(default)]
    pub kinds: BTreeMap<String, bool>,
}
