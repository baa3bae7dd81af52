//! Annotations that people want on the objects made for them.

use std::collections::BTreeMap;

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
