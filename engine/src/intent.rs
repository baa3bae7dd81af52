//! The desired state of a child, as the host applies it.

use std::collections::BTreeSet;

use bartizan_contract::{Generate, Kind, OnDelete, OnImmutableChange};
use serde_json::Value;

use crate::object::ObjectKey;

/// One desired child: the provider's object with the host's labels, owner reference and intent hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// Key of the child.
    pub key: ObjectKey,
    /// The kind, at the version at which it is written.
    pub kind: Kind,
    /// The object to apply, without generated values.
    pub object: Value,
    /// Hash of the intent, as in the annotation. It covers the requests for generated values, never the values.
    pub hash: String,
    /// Values to generate in it, if it is a Secret.
    pub generate: Vec<Generate>,
    /// Waves are applied in ascending and deleted in descending order.
    pub wave: u32,
    /// What to do when it is no longer desired.
    pub on_delete: OnDelete,
    /// What to do when an update changes an immutable field.
    pub on_immutable_change: OnImmutableChange,
    /// Secrets and ServiceAccounts that its pods may use because the same answer contains them, and that do not exist yet: if
    /// such a name turns out to be taken by another owner, this child is not written.
    pub uses: BTreeSet<ObjectKey>,
}

impl Intent {
    /// Whether the child has an owner reference to the parent, so that the garbage collector deletes it with the parent.
    #[must_use]
    pub fn is_collected(&self) -> bool {
        self.object.pointer("/metadata/ownerReferences").is_some()
    }
}
