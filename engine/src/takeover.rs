//! A name believed absent turned out to be taken: whose is it?

use crate::object::Observed;

/// What to do about an object that stands where a child should be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// It is this parent's, with its labels stripped: put them back, observe, and run again.
    RestoreLabels,
    /// It outlived an earlier parent of this name, or one that this parent is to adopt from: apply, at its state.
    Adopt,
    /// It is this parent's and on its way out, or already known again: wait for the watch.
    Wait,
    /// It is somebody else's: nothing is written.
    NameTaken {
        /// Who holds it, for the message.
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
    // The field manager of an object is its provider's: what another provider retained is not ours to have.
    if live.applied_by_host && (is_left_by_a_namesake(live, parent) || is_to_be_adopted(live, parent, provider)) {
        return if live.deleting { Takeover::Wait } else { Takeover::Adopt };
    }
    let holder = match (&live.owner_uid, &live.controller_uid, &live.provider) {
        (Some(uid), _, Some(other)) => format!("it belongs to the parent with UID {uid} of provider {other}"),
        (_, Some(uid), _) => format!("it is controlled by the object with UID {uid}"),
        _ => "it was made by someone else".to_owned(),
    };
    Takeover::NameTaken { holder }
}

/// Retained for a parent of this kind and name, which this is now: the earlier one is gone, since its name is taken.
fn is_left_by_a_namesake(live: &Observed, parent: &Observed) -> bool {
    live.marks.retained_for.as_deref() == Some(parent.key.title().as_str()) && live.controller_uid.is_none()
}

/// Of the parent that this one says it replaces, as after a restore.
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
    fn ours_with_stripped_labels_gets_them_back() {
        assert_eq!(decide_for_p(&live(json!({}), Some("p"), "bartizan/minio")), Takeover::RestoreLabels);
    }

    #[test]
    fn an_object_of_nobody_is_left_alone() {
        let taken = Takeover::NameTaken { holder: "it was made by someone else".to_owned() };
        assert_eq!(decide_for_p(&live(json!({}), None, "kubectl")), taken);
    }

    #[test]
    fn an_object_that_only_claims_to_be_ours_is_left_alone() {
        let labels = json!({"bartizan.dev/owner-uid": "p", "bartizan.dev/provider": "minio"});
        let taken = Takeover::NameTaken { holder: "it belongs to the parent with UID p of provider minio".to_owned() };
        assert_eq!(decide_for_p(&live(labels, None, "kubectl")), taken);
    }

    #[test]
    fn an_object_of_another_parent_is_left_alone_even_if_we_applied_it() {
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
    fn what_was_retained_is_adopted_by_a_parent_of_the_same_name_only() {
        let retained = |name: &str| left(json!({"bartizan.dev/retained-for": name}), "old", None);
        assert_eq!(decide_for_p(&retained("ObjectStore.minio.rook.io n/s")), Takeover::Adopt);
        let other = retained("ObjectStore.minio.rook.io n/other");
        assert!(matches!(decide_for_p(&other), Takeover::NameTaken { .. }));
    }

    #[test]
    fn children_of_an_earlier_parent_are_adopted_only_if_the_parent_says_so() {
        let child = left(json!({}), "old", Some("old"));
        assert!(matches!(decide_for_p(&child), Takeover::NameTaken { .. }));
        let adopter = parent(json!({"bartizan.dev/adopt-from": "old"}));
        assert_eq!(decide(&child, &adopter, "minio"), Takeover::Adopt);
        let moved = left(json!({}), "old", Some("somebody"));
        assert!(matches!(decide(&moved, &adopter, "minio"), Takeover::NameTaken { .. }));
    }

    #[test]
    fn a_child_without_an_owner_reference_is_known_by_its_annotation() {
        let mut child = left(json!({"bartizan.dev/owner-uid": "p"}), "", None);
        (child.owner_uid, child.provider) = (None, None);
        assert_eq!(decide_for_p(&child), Takeover::RestoreLabels);
    }
}
