//! Annotations that users add to the objects of a parent.

use std::collections::BTreeMap;
use std::fmt::Display;

use bartizan_contract::names::PREFIX;

use crate::failure::Fault;

/// Annotations by key.
pub type Annotations = BTreeMap<String, String>;

/// An object's annotations merged with those of the user. Keys that the object already has keep their values.
#[must_use]
pub fn merge_annotations(mut existing: Annotations, added: &Annotations) -> Annotations {
    for (key, value) in added {
        existing.entry(key.clone()).or_insert_with(|| value.clone());
    }
    existing
}

/// The faults of annotations in the field `path`: keys that are reserved for the host, which refuses them in children.
#[must_use]
pub fn annotation_faults(annotations: &Annotations, path: impl Display) -> Vec<Fault> {
    let reserved = annotations.keys().filter(|key| key.starts_with(PREFIX));
    let fault = |key| {
        Fault::new(format!("{path}[{key}]"), format!("is reserved: keys with the prefix {PREFIX} belong to the host"))
    };
    reserved.map(fault).collect()
}
