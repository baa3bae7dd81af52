//! A name believed absent turned out to be taken: whose is it?

use crate::object::Observed;

/// What to do about an object that stands where a child should be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// It is this parent's, with its labels stripped: put them back, observe, and run again.
    RestoreLabels,
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
pub fn decide(live: &Observed, parent_uid: &str, provider: &str) -> Takeover {
    let labelled = live.is_child_of(parent_uid, provider);
    let controlled = live.controller_uid.as_deref() == Some(parent_uid);
    if live.applied_by_host && (labelled || controlled) {
        return if live.deleting || labelled { Takeover::Wait } else { Takeover::RestoreLabels };
    }
    let holder = match (&live.owner_uid, &live.controller_uid, &live.provider) {
        (Some(uid), _, Some(other)) => format!("it belongs to the parent with UID {uid} of provider {other}"),
        (_, Some(uid), _) => format!("it is controlled by the object with UID {uid}"),
        _ => "it was made by someone else".to_owned(),
    };
    Takeover::NameTaken { holder }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

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
        assert_eq!(decide(&live(json!({}), Some("p"), "bartizan/minio"), "p", "minio"), Takeover::RestoreLabels);
    }

    #[test]
    fn an_object_of_nobody_is_left_alone() {
        let taken = Takeover::NameTaken { holder: "it was made by someone else".to_owned() };
        assert_eq!(decide(&live(json!({}), None, "kubectl"), "p", "minio"), taken);
    }

    #[test]
    fn an_object_that_only_claims_to_be_ours_is_left_alone() {
        let labels = json!({"bartizan.dev/owner-uid": "p", "bartizan.dev/provider": "minio"});
        let taken = Takeover::NameTaken { holder: "it belongs to the parent with UID p of provider minio".to_owned() };
        assert_eq!(decide(&live(labels, None, "kubectl"), "p", "minio"), taken);
    }

    #[test]
    fn an_object_of_another_parent_is_left_alone_even_if_we_applied_it() {
        let labels = json!({"bartizan.dev/owner-uid": "q", "bartizan.dev/provider": "minio"});
        let taken = Takeover::NameTaken { holder: "it belongs to the parent with UID q of provider minio".to_owned() };
        assert_eq!(decide(&live(labels, Some("q"), "bartizan/minio"), "p", "minio"), taken);
    }
}
