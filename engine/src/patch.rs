//! The merge patches (RFC 7386) of a reconcile. Each names UID and resourceVersion, so that it changes nothing of a state that
//! nobody has seen, and touches nothing else of the object.

use bartizan_contract::Kind;
use bartizan_contract::names::{
    FINALIZED_ANNOTATION, OWNER_UID_ANNOTATION, OWNER_UID_LABEL, PROVIDER_LABEL, RETAINED_FOR_ANNOTATION,
};
use serde_json::{Value, json};

use crate::object::{ObjectKey, Observed};
use crate::plan::Release;

/// A merge patch of an object that is still in the observed state.
#[derive(Clone, Debug, PartialEq)]
pub struct MergePatch {
    /// Kind of the object.
    pub kind: Kind,
    /// Which object.
    pub key: ObjectKey,
    /// The patch.
    pub body: Value,
}

impl MergePatch {
    fn of(object: &Observed, fields: Value) -> Self {
        let mut metadata = json!({"uid": object.uid, "resourceVersion": object.resource_version});
        if let (Some(metadata), Value::Object(fields)) = (metadata.as_object_mut(), fields) {
            metadata.extend(fields);
        }
        let kind = Kind::from_api_version(&object.api_version, &object.key.kind);
        Self { kind, key: object.key.clone(), body: json!({"metadata": metadata}) }
    }

    /// Puts the host's labels on a child.
    #[must_use]
    pub fn restore_labels(live: &Observed, provider: &str, parent_uid: &str) -> Self {
        Self::of(live, json!({"labels": {PROVIDER_LABEL: provider, OWNER_UID_LABEL: parent_uid}}))
    }

    /// Makes an object a child of a parent: without the marks and the owner of the one before. What it should be, the next
    /// apply says.
    #[must_use]
    pub fn adopt(live: &Observed, provider: &str, parent_uid: &str) -> Self {
        let fields = json!({
            "labels": {PROVIDER_LABEL: provider, OWNER_UID_LABEL: parent_uid},
            "annotations": {RETAINED_FOR_ANNOTATION: null, OWNER_UID_ANNOTATION: null},
            "ownerReferences": other_owners(live),
        });
        Self::of(live, fields)
    }

    /// Lets go of a child: without the host's labels, by which it is watched, and without the owner reference, with a mark by
    /// which a parent of the same name may have it again.
    #[must_use]
    pub fn release(release: &Release) -> Self {
        let fields = json!({
            "labels": {PROVIDER_LABEL: null, OWNER_UID_LABEL: null},
            "annotations": {RETAINED_FOR_ANNOTATION: release.retained_for, OWNER_UID_ANNOTATION: null},
            "ownerReferences": other_owners(&release.child),
        });
        Self::of(&release.child, fields)
    }

    /// Replaces the finalizers of an object.
    #[must_use]
    pub fn finalizers(object: &Observed, finalizers: &[String]) -> Self {
        Self::of(object, json!({"finalizers": finalizers}))
    }

    /// Records on a parent that its provider has finished.
    #[must_use]
    pub fn finalized(parent: &Observed, provider: &str) -> Self {
        Self::of(parent, json!({"annotations": {FINALIZED_ANNOTATION: provider}}))
    }
}

/// The owner references of a child but that to the parent which its label names.
fn other_owners(child: &Observed) -> Vec<Value> {
    let owners = child.value().pointer("/metadata/ownerReferences").cloned().unwrap_or_default();
    let is_parent = |owner: &&Value| owner.get("uid").and_then(Value::as_str) == child.owner_uid.as_deref();
    owners.as_array().into_iter().flatten().filter(|owner| !is_parent(owner)).cloned().collect()
}
