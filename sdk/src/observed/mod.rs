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

    /// Reads the view of an object from its fields. Those that a method of the view looks for later, as labels, are taken as
    /// they are: what does not fit then is as if it were absent.
    ///
    /// # Errors
    /// If a field cannot be found, or one that is looked at has another type.
    fn read_fields(fields: Fields<'_, 'a>) -> Result<Self, Error>;

    /// Reads the view of an object from its JSON text.
    ///
    /// # Errors
    /// If the text is not JSON, or a field that is looked at has another type.
    fn read(text: &'a str) -> Result<Self, Error> {
        Self::read_fields(Fields::of(text.as_bytes()))
    }
}

/// The fields of an object, which its view is read from.
#[derive(Debug)]
pub struct Fields<'f, 'a>(Source<'f, 'a>);

#[derive(Debug)]
enum Source<'f, 'a> {
    /// They are still to be found.
    Text(&'a [u8]),
    Found(&'f [scan::Field<'a>]),
}

/// The value of a field.
#[derive(Debug)]
pub struct Field<'f, 'a>(Value<'f, 'a>);

#[derive(Debug)]
enum Value<'f, 'a> {
    /// It comes next.
    Next(&'f mut scan::Fields<'a>),
    Found(&'a [u8]),
}

impl<'f, 'a> Fields<'f, 'a> {
    /// Those of an object as JSON.
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self(Source::Text(text))
    }

    /// Those of an object that were found before.
    pub(crate) fn found(fields: &'f [scan::Field<'a>]) -> Self {
        Self(Source::Found(fields))
    }

    /// Goes through them, with the name of each as it stands between its quotes.
    ///
    /// # Errors
    /// If the text is not JSON, and what `take` says.
    pub fn each(self, mut take: impl FnMut(&'a [u8], &mut Field<'_, 'a>) -> Result<(), Error>) -> Result<(), Error> {
        match self.0 {
            Source::Text(text) => {
                let mut fields = scan::fields(text);
                while let Some(key) = fields.next_key()? {
                    let mut field = Field(Value::Next(&mut fields));
                    take(key, &mut field)?;
                    field.json()?;
                }
                Ok(())
            }
            Source::Found(fields) => {
                fields.iter().try_for_each(|(key, value)| take(key, &mut Field(Value::Found(value))))
            }
        }
    }

    /// Goes through the fields of one of them, as [`Field::each`] does, and no further.
    fn only(self, wanted: &[u8], take: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), Error>) -> Result<(), Error> {
        match self.0 {
            Source::Text(text) => {
                let mut fields = scan::fields(text);
                while let Some(key) = fields.next_key()? {
                    if key == wanted {
                        return Field(Value::Next(&mut fields)).each(take);
                    }
                    fields.value()?;
                }
                Ok(())
            }
            Source::Found(fields) => match fields.iter().find(|(key, _)| *key == wanted) {
                Some((_, value)) => Field(Value::Found(value)).each(take),
                None => Ok(()),
            },
        }
    }
}

impl<'a> Field<'_, 'a> {
    /// The value as JSON; nothing if it is null.
    ///
    /// # Errors
    /// If it is no value.
    pub fn json(&mut self) -> Result<Option<&'a [u8]>, Error> {
        if let Value::Next(fields) = &mut self.0 {
            self.0 = Value::Found(fields.value()?);
        }
        match self.0 {
            Value::Found(b"null") | Value::Next(_) => Ok(None),
            Value::Found(value) => Ok(Some(value)),
        }
    }

    /// Goes through the fields, but for null, of the object that the value is; null has none.
    ///
    /// # Errors
    /// If it is no object, and what `take` says.
    pub fn each(&mut self, take: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), Error>) -> Result<(), Error> {
        match &mut self.0 {
            Value::Next(fields) => fields.each_given(take)?,
            Value::Found(b"null") => {}
            Value::Found(text) => each_field(text, take)?,
        }
        self.0 = Value::Found(b"null");
        Ok(())
    }
}

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
    fn read_fields(fields: Fields<'_, 'a>) -> Result<Self, Error> {
        let mut metadata = ObservedMetadata::default();
        fields.only(b"metadata", |key, value| metadata.take(key, value))?;
        Ok(Self { metadata, kind: PhantomData })
    }
}

/// Goes through the fields of an object that are not null.
fn each_field<'a>(text: &'a [u8], mut take: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), Error>) -> Result<(), Error> {
    for field in scan::fields(text) {
        let (key, value) = field?;
        if value != b"null" {
            take(key, value)?;
        }
    }
    Ok(())
}
