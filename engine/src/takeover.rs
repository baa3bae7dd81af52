//! Decides what to do with an object that exists under a name that was believed free.

use crate::object::Observed;

/// What to do with an object that exists where a child should be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// It belongs to this parent, with its labels stripped: restore them, observe it, and reconcile again.
    RestoreLabels,
    /// It was retained for a parent of this name, or belongs to the parent that this one adopts from: adopt it in its current
    /// state.
    Adopt,
    /// It belongs to this parent, and is being deleted or is a child that the cache lacks: wait for the watch.
    Wait,
    /// It belongs to another owner: nothing is written.
    NameTaken {
        /// Its owner, for the message.
        holder: String,
    },
}

/// Decides from the live object.
#[must_use]
pub fn decide(live: &Observed, parent: &Observed, provider: &str) -> Takeover {
    let labelled = live.is_child_of(&parent.uid, provider);
    let controlled = live.controller_uid.as_deref() == Some(parent.uid.as_str());
    let annotated = live.controller_uid.is_none() && live.marks.owner_uid.as_deref() == Some(parent.uid.as_str());
    if live.applied_by_host && (labelled || controlled || annotated) {
        return if live.deleting || labelled { Takeover::Wait } else { Takeover::RestoreLabels };
    }
    // The field manager names the provider: what another provider retained is not adopted.
    if live.applied_by_host && (is_retained_for(live, parent) || is_to_be_adopted(live, parent, provider)) {
        return if live.deleting { Takeover::Wait } else { Takeover::Adopt };
    }
    let holder = match (&live.owner_uid, &live.controller_uid, &live.provider) {
        (Some(uid), _, Some(other)) => format!("it belongs to the parent with UID {uid} of provider {other}"),
        (_, Some(uid), _) => format!("it is controlled by the object with UID {uid}"),
        _ => "it was created by another client".to_owned(),
    };
    Takeover::NameTaken { holder }
}

/// Whether it was retained for a parent of this kind and name. The earlier parent no longer exists, since this one has its name.
fn is_retained_for(live: &Observed, parent: &Observed) -> bool {
    live.marks.retained_for.as_deref() == Some(parent.key.title().as_str()) && live.controller_uid.is_none()
}

/// Whether it belongs to the parent that this one declares to replace, for example after a restore.
fn is_to_be_adopted(live: &Observed, parent: &Observed, provider: &str) -> bool {
    parent.marks.adopt_from.as_deref().is_some_and(|uid| {
        live.is_child_of(uid, provider) && live.controller_uid.as_deref().is_none_or(|controller| controller == uid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parent(annotations: Value) -> Observed {
        let object = json!({
            "apiVersion": "minio.rook.io/v1alpha1", "kind": "ObjectStore",
            "metadata": {"name": "s", "namespace": "n", "uid": "p", "resourceVersion": "1", "annotations": annotations}
        });
        Observed::project(object, "bartizan/minio").unwrap()
    }

    fn decide_for_p(live: &Observed) -> Takeover {
        decide(live, &parent(json!({})), "minio")
    }

    fn live(labels: Value, controller: Option<&str>, manager: &str) -> Observed {
        let owners = controller.map(|uid| json!([{"uid": uid, "controller": true}])).unwrap_or(json!([]));
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1", "labels": labels,
                "ownerReferences": owners,
                "managedFields": [{"manager": manager, "operation": "Apply", "time": "2026-01-01T00:00:00Z"}]
            }
        });
        Observed::project(object, "bartizan/minio").unwrap()
    }

    #[test]
    fn stripped_labels_of_an_owned_child_are_restored() {
        assert_eq!(decide_for_p(&live(json!({}), Some("p"), "bartizan/minio")), Takeover::RestoreLabels);
    }

    #[test]
    fn an_unowned_object_is_left_alone() {
        let taken = Takeover::NameTaken { holder: "it was created by another client".to_owned() };
        assert_eq!(decide_for_p(&live(json!({}), None, "kubectl")), taken);
    }

    #[test]
    fn an_object_with_forged_labels_is_left_alone() {
        let labels = json!({"bartizan.dev/owner-uid": "p", "bartizan.dev/provider": "minio"});
        let taken = Takeover::NameTaken { holder: "it belongs to the parent with UID p of provider minio".to_owned() };
        assert_eq!(decide_for_p(&live(labels, None, "kubectl")), taken);
    }

    #[test]
    fn a_child_of_another_parent_is_left_alone_even_if_the_host_applied_it() {
        let labels = json!({"bartizan.dev/owner-uid": "q", "bartizan.dev/provider": "minio"});
        let taken = Takeover::NameTaken { holder: "it belongs to the parent with UID q of provider minio".to_owned() };
        assert_eq!(decide_for_p(&live(labels, Some("q"), "bartizan/minio")), taken);
    }

    fn left(annotations: Value, owner: &str, controller: Option<&str>) -> Observed {
        let mut object =
            live(json!({"bartizan.dev/owner-uid": owner, "bartizan.dev/provider": "minio"}), controller, "x").value();
        object["metadata"]["annotations"] = annotations;
        object["metadata"]["managedFields"] =
            json!([{"manager": "bartizan/minio", "operation": "Apply", "time": "2026-01-01T00:00:00Z"}]);
        Observed::project(object, "bartizan/minio").unwrap()
    }

    #[test]
    fn a_retained_child_is_adopted_only_by_a_parent_of_the_same_name() {
        let retained = |name: &str| left(json!({"bartizan.dev/retained-for": name}), "old", None);
        assert_eq!(decide_for_p(&retained("ObjectStore.minio.rook.io n/s")), Takeover::Adopt);
        let other = retained("ObjectStore.minio.rook.io n/other");
        assert!(matches!(decide_for_p(&other), Takeover::NameTaken { .. }));
    }

    #[test]
    fn children_of_an_earlier_parent_are_adopted_only_on_request() {
        let child = left(json!({}), "old", Some("old"));
        assert!(matches!(decide_for_p(&child), Takeover::NameTaken { .. }));
        let adopter = parent(json!({"bartizan.dev/adopt-from": "old"}));
        assert_eq!(decide(&child, &adopter, "minio"), Takeover::Adopt);
        let moved = left(json!({}), "old", Some("somebody"));
        assert!(matches!(decide(&moved, &adopter, "minio"), Takeover::NameTaken { .. }));
    }

    #[test]
    fn a_child_without_an_owner_reference_is_recognized_by_its_annotation() {
        let mut child = left(json!({"bartizan.dev/owner-uid": "p"}), "", None);
        (child.owner_uid, child.provider) = (None, None);
        assert_eq!(decide_for_p(&child), Takeover::RestoreLabels);
    }
}
