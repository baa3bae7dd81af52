//! What a child should be, as the host applies it.

use std::collections::BTreeSet;

use bartizan_contract::{Generate, Kind, OnDelete, OnImmutableChange};
use serde_json::Value;

use crate::object::ObjectKey;

/// One child as the host means it to be: the provider's object with the host's labels, owner reference and intent hash.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// Identity.
    pub key: ObjectKey,
    /// The kind at the version that it is written at.
    pub kind: Kind,
    /// The object to apply, but for generated values.
    pub object: Value,
    /// Hash of the intent, as it stands in the annotation. Over the wish for generated values, never over the values.
    pub hash: String,
    /// Values to generate in it, if it is a Secret that is asked to have some.
    pub generate: Vec<Generate>,
    /// Waves are applied in order, and torn down in the opposite one.
    pub wave: u32,
    /// What becomes of it when it is no longer meant.
    pub on_delete: OnDelete,
    /// What to do when a change meets an immutable field.
    pub on_immutable_change: OnImmutableChange,
    /// Secrets and ServiceAccounts that its pods may use since they are the answer's own, and that are not there yet: if such a
    /// name turns out to be somebody else's, this child is not written.
    pub uses: BTreeSet<ObjectKey>,
}
