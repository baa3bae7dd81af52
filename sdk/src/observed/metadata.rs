//! What all objects have in common.

use std::borrow::Cow;

use serde_json::Error;

use super::each_field;
use crate::scan;

/// What decisions need of an observed object's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedMetadata<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Counts the changes of the spec.
    pub generation: i64,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// As JSON; empty if there are none.
    labels: &'a str,
    annotations: &'a str,
    owners: &'a str,
}

impl<'a> ObservedMetadata<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, Error> {
        let mut metadata = Self::default();
        each_field(text, |key, value| {
            match key {
                "name" => metadata.name = scan::string(value)?,
                "generation" => metadata.generation = serde_json::from_str(value)?,
                "deletionTimestamp" => metadata.is_going = true,
                "labels" => metadata.labels = value,
                "annotations" => metadata.annotations = value,
                "ownerReferences" => metadata.owners = value,
                _ => {}
            }
            Ok(())
        })?;
        Ok(metadata)
    }

    /// Its labels: no character that they may have is escaped.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        scan::fields(self.labels).map_while(|field| field.ok()).map(|(key, value)| (key, value.trim_matches('"')))
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&'a str> {
        self.labels().find_map(|(found, value)| (found == key).then_some(value))
    }

    /// An annotation's value.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<Cow<'a, str>> {
        scan::field(self.annotations, key).ok().flatten().and_then(|value| scan::string(value).ok())
    }

    /// Whether it goes with an owner of which a field has this value, as `("kind", "Pod")`.
    #[must_use]
    pub fn is_owned_by(&self, field: &str, value: &str) -> bool {
        let is = |owner| matches!(scan::field(owner, field), Ok(Some(found)) if found.trim_matches('"') == value);
        scan::items(self.owners).map_while(|owner| owner.ok()).any(is)
    }
}
