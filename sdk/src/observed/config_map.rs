//! The view of a ConfigMap.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde::Deserialize;

use super::{Observed, ObservedMetadata};
use crate::ChildKind;

/// What decisions need of an observed ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapView {
    /// Its metadata.
    pub metadata: ObservedMetadata,
    /// Its texts.
    pub data: BTreeMap<String, String>,
    /// Its other values, base64-encoded.
    pub binary_data: BTreeMap<String, String>,
}

impl Observed for ConfigMapView {
    const KIND: ChildKind = ChildKind::of::<ConfigMap>();
}
