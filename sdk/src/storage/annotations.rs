//! Annotations that people want on the objects made for them.

use std::collections::BTreeMap;
use std::fmt::Display;

use bartizan_contract::names::PREFIX;

use crate::Fault;

/// Annotations by key.
pub type Annotations = BTreeMap<String, String>;

/// Annotations of an object with those that people want added. Keys that the object has already stay as they are.
#[must_use]
pub fn merge_annotations(mut existing: Annotations, added: &Annotations) -> Annotations {
    for (key, value) in added {
        existing.entry(key.clone()).or_insert_with(|| value.clone());
    }
    existing
}

/// What is wrong with annotations of the field `path`: keys of the host's own, which it refuses in children.
#[must_use]
pub fn annotation_faults(annotations: &Annotations, path: impl Display) -> Vec<Fault> {
    let reserved = annotations.keys().filter(|key| key.starts_with(PREFIX));
    let fault =
        |key| Fault::new(format!("{path}[{key}]"), format!("must not be used: keys below {PREFIX} are the host's"));
    reserved.map(fault).collect()
}
