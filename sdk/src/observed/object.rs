//! What a view is, and the view that fits every kind.

use std::marker::PhantomData;

use k8s_openapi::Resource;
use serde_json::Error;

use super::fields::Fields;
use super::metadata::ObservedMetadata;
use crate::kind::ChildKind;

/// A view of objects of one kind.
pub trait Observed<'a>: Sized {
    /// The kind of the objects.
    const KIND: ChildKind;

    /// Reads the view of an object from its fields. Values that the view keeps for later, such as labels, are not validated
    /// here; a value that then turns out to have the wrong type is treated as absent.
    ///
    /// # Errors
    /// If the text is malformed, or a field that is read has the wrong type.
    fn read_fields(fields: Fields<'_, 'a>) -> Result<Self, Error>;

    /// Reads the view of an object from its JSON text.
    ///
    /// # Errors
    /// As [`read_fields`](Self::read_fields).
    fn read(text: &'a str) -> Result<Self, Error> {
        Self::read_fields(Fields::of(text.as_bytes()))
    }
}

/// The metadata of an object of any kind, and nothing else: `ObjectView<Service>`.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectView<'a, R> {
    /// The object's metadata.
    pub metadata: ObservedMetadata<'a>,
    kind: PhantomData<R>,
}

impl<'a, R: Resource> Observed<'a> for ObjectView<'a, R> {
    const KIND: ChildKind = ChildKind::of::<R>();

    fn read_fields(fields: Fields<'_, 'a>) -> Result<Self, Error> {
        let mut metadata = ObservedMetadata::default();
        fields.only(b"metadata", |key, value| metadata.take(key, value))?;
        Ok(Self { metadata, kind: PhantomData })
    }
}

/// The ordinal at the end of the name of a StatefulSet's pod or claim: `db-2` and `data-db-2` belong to its third pod.
#[must_use]
pub fn ordinal(name: &str) -> Option<i32> {
    name.rsplit_once('-')?.1.parse().ok()
}
