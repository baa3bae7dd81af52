//! The view of a ConfigMap.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Error;

use super::{Field, Observed, each_given};
use crate::ChildKind;

/// What decisions need of an observed ConfigMap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigMapView {
    /// Its texts.
    pub data: BTreeMap<String, String>,
    /// Its other values, base64-encoded.
    pub binary_data: BTreeMap<String, String>,
}

impl<'a> Observed<'a> for ConfigMapView {
    const KIND: ChildKind = ChildKind::of::<ConfigMap>();

    fn read_fields(fields: impl Iterator<Item = Result<Field<'a>, Error>>) -> Result<Self, Error> {
        let mut view = Self::default();
        each_given(fields, |key, value| {
            match key {
                "data" => view.data = serde_json::from_str(value)?,
                "binaryData" => view.binary_data = serde_json::from_str(value)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(view)
    }
}
