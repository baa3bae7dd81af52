//! The metadata that objects of all kinds have.

use std::borrow::Cow;

use serde_json::Error;

use crate::bytes::same;
use crate::view::JsonView;

/// What decisions need of an observed object's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedMetadata<'a> {
    /// The object's name.
    pub name: Cow<'a, str>,
    /// A string; an empty text if the object is cluster-scoped.
    namespace: JsonView<'a>,
    /// The generation, which the API server increments with every change of the spec.
    pub generation: i64,
    /// Whether the object is being deleted.
    pub is_deleting: bool,
    labels: JsonView<'a>,
    annotations: JsonView<'a>,
    owners: JsonView<'a>,
}

impl<'a> ObservedMetadata<'a> {
    /// Reads one field of the metadata.
    pub(super) fn take(&mut self, key: &[u8], value: JsonView<'a>) -> Result<(), Error> {
        match key {
            b"name" => self.name = value.string()?,
            b"namespace" => self.namespace = value,
            b"generation" => self.generation = value.parse()?,
            b"deletionTimestamp" => self.is_deleting = true,
            b"labels" => self.labels = value,
            b"annotations" => self.annotations = value,
            b"ownerReferences" => self.owners = value,
            _ => {}
        }
        Ok(())
    }

    /// The object's namespace; empty if it is cluster-scoped.
    #[must_use]
    pub fn namespace(&self) -> &'a str {
        self.namespace.unquoted().and_then(|name| str::from_utf8(name).ok()).unwrap_or_default()
    }

    /// The values of these labels, in one pass.
    #[must_use]
    pub fn labels<const N: usize>(&self, keys: [&str; N]) -> [Option<&'a str>; N] {
        let mut values = [None; N];
        for (found, value) in self.labels.fields().map_while(|field| field.ok()) {
            if let Some((_, at)) = keys.iter().zip(&mut values).find(|(key, _)| same(key.as_bytes(), found)) {
                // No character that Kubernetes allows in a label needs escaping.
                *at = value.unquoted().and_then(|value| str::from_utf8(value).ok());
                if values.iter().all(Option::is_some) {
                    break;
                }
            }
        }
        values
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&'a str> {
        let [value] = self.labels([key]);
        value
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<Cow<'a, str>> {
        self.annotations.field(key).ok().flatten().and_then(|value| value.string().ok())
    }

    /// Whether it has an owner reference.
    #[must_use]
    pub fn has_owner(&self) -> bool {
        matches!(self.owners.items().next(), Some(Ok(_)))
    }

    /// Whether an owner reference has this value in a field: `is_owned_by("kind", "Pod")`.
    #[must_use]
    pub fn is_owned_by(&self, field: &str, value: &str) -> bool {
        let is = |owner: JsonView<'_>| matches!(owner.field(field), Ok(Some(found)) if found.unquoted() == Some(value.as_bytes()));
        self.owners.items().map_while(|owner| owner.ok()).any(is)
    }
}
