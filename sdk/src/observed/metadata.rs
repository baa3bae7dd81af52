//! What all objects have in common.

use std::borrow::Cow;

use serde_json::Error;

use crate::scan;

/// What decisions need of an observed object's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedMetadata<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its namespace, between quotes; empty if it has none.
    namespace: &'a [u8],
    /// Counts the changes of the spec.
    pub generation: i64,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// As JSON; empty if there are none.
    labels: &'a [u8],
    annotations: &'a [u8],
    owners: &'a [u8],
}

impl<'a> ObservedMetadata<'a> {
    /// Takes what of a field is needed.
    pub(super) fn take(&mut self, key: &[u8], value: &'a [u8]) -> Result<(), Error> {
        match key {
            b"name" => self.name = scan::string(value)?,
            b"namespace" => self.namespace = value,
            b"generation" => self.generation = serde_json::from_slice(value)?,
            b"deletionTimestamp" => self.is_going = true,
            b"labels" => self.labels = value,
            b"annotations" => self.annotations = value,
            b"ownerReferences" => self.owners = value,
            _ => {}
        }
        Ok(())
    }

    /// Its namespace; empty if it is cluster-scoped.
    #[must_use]
    pub fn namespace(&self) -> &'a str {
        scan::inner(self.namespace).and_then(|name| str::from_utf8(name).ok()).unwrap_or_default()
    }

    /// The values of these labels.
    #[must_use]
    pub fn labels<const N: usize>(&self, keys: [&str; N]) -> [Option<&'a str>; N] {
        let mut values = [None; N];
        for (found, value) in scan::fields(self.labels).map_while(|field| field.ok()) {
            if let Some((_, at)) = keys.iter().zip(&mut values).find(|(key, _)| scan::same(key.as_bytes(), found)) {
                // No character that a label may have is escaped.
                *at = scan::inner(value).and_then(|value| str::from_utf8(value).ok());
                if values.iter().all(Option::is_some) {
                    break;
                }
            }
        }
        values
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&'a str> {
        let [value] = self.labels([key]);
        value
    }

    /// An annotation's value.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<Cow<'a, str>> {
        scan::field(self.annotations, key).ok().flatten().and_then(|value| scan::string(value).ok())
    }

    /// Whether it goes with an owner of which a field has this value, as `("kind", "Pod")`.
    #[must_use]
    pub fn is_owned_by(&self, field: &str, value: &str) -> bool {
        let is = |owner| matches!(scan::field(owner, field), Ok(Some(found)) if scan::inner(found) == Some(value.as_bytes()));
        scan::items(self.owners).map_while(|owner| owner.ok()).any(is)
    }
}
