//! The merge patches (RFC 7386) of a reconcile. Each carries UID and resourceVersion as preconditions, so that it never changes
//! an unobserved state, and contains only the fields that it changes.

use bartizan_contract::Kind;
use bartizan_contract::names::{
    FINALIZED_ANNOTATION, INTENT_ANNOTATION, OWNER_ANNOTATION, OWNER_UID_ANNOTATION, OWNER_UID_LABEL, PROVIDER_LABEL,
    RELEASED_FROM_ANNOTATION, RETAINED_FOR_ANNOTATION,
};
use serde_json::{Value, json};

use crate::object::{ObjectKey, Observed, StatusOwnership};
use crate::plan::Release;
use crate::status;

/// A merge patch with the observed UID and resource version as preconditions.
#[derive(Clone, Debug, PartialEq)]
pub struct MergePatch {
    /// Kind of the object.
    pub kind: Kind,
    /// Key of the object.
    pub key: ObjectKey,
    /// The patch.
    pub body: Value,
    /// Whether it is about a status that is a subresource.
    pub is_of_status: bool,
}

impl MergePatch {
    fn of(object: &Observed, fields: Value) -> Self {
        let mut metadata = json!({"uid": object.uid, "resourceVersion": object.resource_version});
        if let (Some(metadata), Value::Object(fields)) = (metadata.as_object_mut(), fields) {
            metadata.extend(fields);
        }
        Self { kind: object.kind(), key: object.key.clone(), body: json!({"metadata": metadata}), is_of_status: false }
    }

    /// Restores the host's labels on a child.
    #[must_use]
    pub fn restore_labels(live: &Observed, provider: &str, parent_uid: &str) -> Self {
        Self::of(live, json!({"labels": {PROVIDER_LABEL: provider, OWNER_UID_LABEL: parent_uid}}))
    }

    /// Adopts an object as a child of a parent: sets the labels, and removes the annotations and the owner reference of the
    /// previous parent; with its managed fields as they are to be, if they change. The next apply sets the desired state.
    #[must_use]
    pub fn adopt(live: &Observed, provider: &str, parent_uid: &str, managed_fields: Option<Value>) -> Self {
        let mut fields = json!({
            "labels": {PROVIDER_LABEL: provider, OWNER_UID_LABEL: parent_uid},
            "annotations": {
                RETAINED_FOR_ANNOTATION: null, RELEASED_FROM_ANNOTATION: null, OWNER_UID_ANNOTATION: null, OWNER_ANNOTATION: null,
                // What was applied for another parent, or by another provider, says nothing of this one.
                INTENT_ANNOTATION: null,
            },
            "ownerReferences": other_owners(live),
        });
        if let Some(managed_fields) = managed_fields {
            fields["managedFields"] = managed_fields;
        }
        Self::of(live, fields)
    }

    /// Removes the owner reference of the previous parent from an object that no provider has applied. Its labels stay until the apply that
    /// follows, so that it is found again if that fails; what was released gets those that it had.
    #[must_use]
    pub fn disown(live: &Observed, provider: &str) -> Self {
        let annotations =
            json!({RETAINED_FOR_ANNOTATION: null, RELEASED_FROM_ANNOTATION: null, INTENT_ANNOTATION: null});
        let mut fields = json!({"annotations": annotations, "ownerReferences": other_owners(live)});
        if let (None, Some(uid)) = (&live.owner_uid, &live.marks.released_from) {
            fields["labels"] = json!({PROVIDER_LABEL: provider, OWNER_UID_LABEL: uid});
        }
        Self::of(live, fields)
    }

    /// Releases a child: removes the host's labels, by which it is watched, and the owner reference, and adds annotations by
    /// which a parent of the same name may adopt it, or one that names the UID of this one.
    #[must_use]
    pub fn release(release: &Release) -> Self {
        let fields = json!({
            "labels": {PROVIDER_LABEL: null, OWNER_UID_LABEL: null},
            "annotations": {
                RETAINED_FOR_ANNOTATION: release.retained_for, RELEASED_FROM_ANNOTATION: release.child.owner_uid,
                OWNER_UID_ANNOTATION: null, OWNER_ANNOTATION: null,
            },
            "ownerReferences": other_owners(&release.child),
        });
        Self::of(&release.child, fields)
    }

    /// Claims the fields of an object that another manager owns, by its managed fields as they are to be.
    #[must_use]
    pub fn claim(seen: &Observed, managed_fields: Value) -> Self {
        Self::of(seen, json!({"managedFields": managed_fields}))
    }

    /// Takes back what the host's manager said in the status of a parent. An apply without these fields could leave a null where the
    /// API server wants an object.
    #[must_use]
    pub fn withdraw_status(parent: &Observed) -> Self {
        let live = parent.value().get("status").cloned().unwrap_or_default();
        let StatusOwnership { is_subresource, is_atomic } = parent.status_ownership;
        let mut patch = Self::of(parent, Value::Null);
        patch.body["status"] = status::without(&live, &parent.owned_status, is_atomic);
        patch.is_of_status = is_subresource;
        patch
    }

    /// Replaces the finalizers of an object.
    #[must_use]
    pub fn finalizers(object: &Observed, finalizers: &[String]) -> Self {
        Self::of(object, json!({"finalizers": finalizers}))
    }

    /// Records on a parent that its provider has finalized it.
    #[must_use]
    pub fn finalized(parent: &Observed, provider: &str) -> Self {
        Self::of(parent, json!({"annotations": {FINALIZED_ANNOTATION: provider}}))
    }
}

/// The owner references of a child, without the one to the parent that its label names.
fn other_owners(child: &Observed) -> Vec<Value> {
    let owners = child.value().pointer("/metadata/ownerReferences").cloned().unwrap_or_default();
    let is_parent = |owner: &&Value| owner.get("uid").and_then(Value::as_str) == child.owner_uid.as_deref();
    owners.as_array().into_iter().flatten().filter(|owner| !is_parent(owner)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(labels: &Value, annotations: &Value) -> Observed {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1", "labels": labels, "annotations": annotations,
                "ownerReferences": [{"uid": "old", "controller": true}, {"uid": "other"}],
            }
        });
        Observed::project(object, "bartizan/minio").unwrap()
    }

    /// The apply that follows may fail: then it must be found again as what it was.
    #[test]
    fn what_is_adopted_without_managed_fields_keeps_the_labels_of_its_earlier_parent_or_gets_them_back() {
        let released = live(&json!({}), &json!({RELEASED_FROM_ANNOTATION: "old"}));
        let body = MergePatch::disown(&released, "minio").body;
        assert_eq!(body["metadata"]["labels"], json!({PROVIDER_LABEL: "minio", OWNER_UID_LABEL: "old"}));
        let marks = json!({RETAINED_FOR_ANNOTATION: null, RELEASED_FROM_ANNOTATION: null, INTENT_ANNOTATION: null});
        assert_eq!(body["metadata"]["annotations"], marks);
        let restored = live(&json!({PROVIDER_LABEL: "minio", OWNER_UID_LABEL: "old"}), &json!({}));
        let body = MergePatch::disown(&restored, "minio").body;
        assert_eq!(body["metadata"]["labels"], Value::Null, "they stay as they are");
        assert_eq!(body["metadata"]["ownerReferences"], json!([{"uid": "other"}]));
    }
}
