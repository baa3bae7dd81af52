//! The view of a Secret.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::Secret;
use serde_json::Error;

use super::fields::Fields;
use super::metadata::ObservedMetadata;
use super::object::Observed;
use crate::kind::ChildKind;
use crate::view::JsonView;

/// What decisions need of an observed Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecretView<'a> {
    /// The object's metadata.
    pub metadata: ObservedMetadata<'a>,
    data: JsonView<'a>,
}

impl<'a> SecretView<'a> {
    /// The token of the value of a key, which may be copied into another Secret and compared with other tokens; none if there is no such
    /// key, or its value is empty.
    #[must_use]
    pub fn token(&self, key: &str) -> Option<Cow<'a, str>> {
        self.data.field(key).ok().flatten()?.string().ok().filter(|token| !token.is_empty())
    }
}

impl<'a> Observed<'a> for SecretView<'a> {
    const KIND: ChildKind = ChildKind::of::<Secret>();

    fn read_fields(fields: Fields<'_, 'a>) -> Result<Self, Error> {
        let mut view = Self::default();
        fields.each(|key, field| {
            match key {
                b"metadata" => field.each(|key, value| view.metadata.take(key, value))?,
                b"data" => view.data = field.value()?.unwrap_or_default(),
                _ => {}
            }
            Ok(())
        })?;
        Ok(view)
    }
}
