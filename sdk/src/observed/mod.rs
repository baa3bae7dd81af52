//! Small views of objects that exist: the few fields that decisions need, borrowed from the text of the request. Reading a
//! whole StatefulSet costs the sandbox many times what these do.

mod claims;
mod config_map;
mod metadata;
mod pod;
mod stateful_set;

use std::marker::PhantomData;

use k8s_openapi::Resource;
use serde_json::Error;

use crate::{ChildKind, scan};
pub use claims::Claims;
pub use config_map::ConfigMapView;
pub use metadata::ObservedMetadata;
pub use pod::PodView;
pub use stateful_set::{Rollout, StatefulSetSpecView, StatefulSetStatusView, StatefulSetView};

/// A view of a kind of object.
pub trait Observed<'a>: Sized {
    /// The kind that is viewed.
    const KIND: ChildKind;

    /// Reads the view of an object from its fields.
    ///
    /// # Errors
    /// If a field cannot be found, or one that is looked at has another type.
    fn read_fields(fields: impl Iterator<Item = Result<Field<'a>, Error>>) -> Result<Self, Error>;

    /// Reads the view of an object from its JSON text.
    ///
    /// # Errors
    /// If the text is not JSON, or a field that is looked at has another type.
    fn read(text: &'a str) -> Result<Self, Error> {
        Self::read_fields(scan::fields(text).map(|field| field.map_err(malformed)))
    }
}

/// A field of an object: its key as it stands between its quotes, and its value as JSON.
pub type Field<'a> = (&'a str, &'a str);

/// The number at the end of the name of what a StatefulSet makes: `db-2` and `data-db-2` belong to its third pod.
#[must_use]
pub fn ordinal(name: &str) -> Option<i32> {
    name.rsplit_once('-')?.1.parse().ok()
}

/// The metadata of an object of any kind, and nothing else: `ObjectView<Service>`.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectView<'a, R> {
    /// Its metadata.
    pub metadata: ObservedMetadata<'a>,
    kind: PhantomData<R>,
}

impl<'a, R: Resource> Observed<'a> for ObjectView<'a, R> {
    const KIND: ChildKind = ChildKind::of::<R>();

    /// All but the metadata is passed over.
    fn read_fields(mut fields: impl Iterator<Item = Result<Field<'a>, Error>>) -> Result<Self, Error> {
        let is_metadata = |(key, value): &Field<'a>| *key == "metadata" && *value != "null";
        let metadata = fields.find(|field| field.as_ref().map_or(true, is_metadata)).transpose()?;
        Ok(Self { metadata: ObservedMetadata::read(metadata.map_or("{}", |(_, text)| text))?, kind: PhantomData })
    }
}

/// Goes through the fields of an object that are not null.
fn each_field<'a>(text: &'a str, take: impl FnMut(&'a str, &'a str) -> Result<(), Error>) -> Result<(), Error> {
    each_given(scan::fields(text).map(|field| field.map_err(malformed)), take)
}

/// Goes through the fields that are not null.
fn each_given<'a>(
    fields: impl Iterator<Item = Result<Field<'a>, Error>>,
    mut take: impl FnMut(&'a str, &'a str) -> Result<(), Error>,
) -> Result<(), Error> {
    for field in fields {
        let (key, value) = field?;
        if value != "null" {
            take(key, value)?;
        }
    }
    Ok(())
}

fn malformed(error: scan::Malformed) -> Error {
    serde::de::Error::custom(error)
}
