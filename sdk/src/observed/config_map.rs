//! The view of a ConfigMap.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Error;

use super::fields::{Field, Fields};
use super::object::Observed;
use crate::kind::ChildKind;

/// What decisions need of an observed ConfigMap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigMapView {
    /// The values that are text.
    pub data: BTreeMap<String, String>,
    /// The other values, base64-encoded.
    pub binary_data: BTreeMap<String, String>,
}

impl<'a> Observed<'a> for ConfigMapView {
    const KIND: ChildKind = ChildKind::of::<ConfigMap>();

    fn read_fields(fields: Fields<'_, 'a>) -> Result<Self, Error> {
        let mut view = Self::default();
        let read =
            |field: &mut Field<'_, 'a>| field.value()?.map_or_else(|| Ok(BTreeMap::new()), |value| value.parse());
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
