//! The view of a ConfigMap.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Error;

use super::{Field, Fields, Observed};
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

    fn read_fields(fields: Fields<'_, 'a>) -> Result<Self, Error> {
        let mut view = Self::default();
        let read =
            |field: &mut Field<'_, 'a>| field.json()?.map_or_else(|| Ok(BTreeMap::new()), serde_json::from_slice);
        fields.each(|key, field| {
            match key {
                b"data" => view.data = read(field)?,
                b"binaryData" => view.binary_data = read(field)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(view)
    }
}
