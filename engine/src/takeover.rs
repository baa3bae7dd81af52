//! Decides what to do with an object that exists under a name that was believed free.

use bartizan_contract::Kind;
use bartizan_contract::names::{ADOPT_FROM_ANNOTATION, OWNER_UID_LABEL, PROVIDER_LABEL};
use serde_json::Value;

use crate::object::{ObjectKey, Observed};

/// Describes an object that has a parent's labels, and no field that the host applied.
pub(crate) const FORGED: &str = "it carries this parent's labels but was not applied by this host";

/// What to do with an object that exists where a child should be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// It belongs to this parent, with its labels stripped: restore them, observe it, and reconcile again.
    RestoreLabels,
    /// It was retained for a parent of this name: adopt it in its current state.
    Adopt,
    /// It belongs to the parent that this one adopts from: adopt it, if that parent is gone.
    AdoptFrom(Earlier),
    /// It belongs to this parent as another provider served it, which is to release it.
    AwaitRelease {
        /// That provider.
        provider: String,
    },
    /// It belongs to this parent, and is being deleted or is a child that the cache lacks: wait for the watch.
    Wait,
    /// It belongs to another owner: nothing is written.
    NameTaken {
        /// Its owner, for the message.
        holder: String,
    },
}

/// The earlier parent of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Its UID.
    pub uid: String,
    /// Where it was, if the child has a record of that.
    pub key: Option<ObjectKey>,
}

impl Earlier {
    /// A parent that was observed, at its place.
    #[must_use]
    pub fn of(parent: &Observed) -> Self {
        Self { uid: parent.uid.clone(), key: Some(parent.key.clone()) }
    }
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
    // What another provider retained is not adopted, unless it was released: then it is nobody's child.
    let is_released = live.applied_by_a_provider && live.owner_uid.is_none() && live.provider.is_none();
    if (live.applied_by_host || is_released) && is_retained_for(live, parent) {
        return if live.deleting { Takeover::Wait } else { Takeover::Adopt };
    }
    if let Some(other) = live.provider.as_deref().filter(|other| *other != provider)
        && live.applied_by_a_provider
        && live.owner_uid.as_deref() == Some(parent.uid.as_str())
    {
        return Takeover::AwaitRelease { provider: other.to_owned() };
    }
    // Without managed fields, too: backups often restore none. Whoever annotates the parent vouches for its children.
    if let Some(uid) = earlier_parent(live, parent, provider) {
        if live.deleting {
            return Takeover::Wait;
        }
        return match recorded_owner(live, parent) {
            Ok(key) => Takeover::AdoptFrom(Earlier { uid: uid.to_owned(), key }),
            Err(holder) => Takeover::NameTaken { holder },
        };
    }
    Takeover::NameTaken { holder: holder(live, parent, provider) }
}

/// Whether it was retained for a parent of this kind and name. The earlier parent no longer exists, since this one has its name.
fn is_retained_for(live: &Observed, parent: &Observed) -> bool {
    live.marks.retained_for.as_deref() == Some(parent.key.title().as_str()) && live.controller_uid.is_none()
}

/// Whether it is nobody's child any more: its parent was deleted without it, or another provider has taken over.
fn is_released(live: &Observed) -> bool {
    let has_owner = live.controller_uid.is_some() || live.owner_uid.is_some() || live.marks.owner_uid.is_some();
    live.marks.released_from.is_some() && live.provider.is_none() && !has_owner
}

/// The UID of the parent that this one declares to replace, for example after a restore, if the object belongs to that.
fn earlier_parent<'a>(live: &Observed, parent: &'a Observed, provider: &str) -> Option<&'a str> {
    let uid = parent.marks.adopt_from.as_deref().filter(|uid| *uid != parent.uid)?;
    let is_its_child =
        live.is_child_of(uid, provider) && live.controller_uid.as_deref().is_none_or(|controller| controller == uid);
    let was_its_child = is_released(live) && live.marks.released_from.as_deref() == Some(uid);
    (is_its_child || was_its_child).then_some(uid)
}

/// Where the owner of a child was, by its owner reference or its annotation; an error if that is an object of another kind.
fn recorded_owner(live: &Observed, parent: &Observed) -> Result<Option<ObjectKey>, String> {
    let another_kind = |title: &str| format!("it belongs to {title}, which is of another kind");
    if let Some(owner) = controller_reference(live) {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let namespace = parent.key.namespace.as_ref().and(live.key.namespace.as_deref());
        let kind = Kind::from_api_version(text("apiVersion"), text("kind"));
        let key = ObjectKey::new(&kind, namespace, text("name"));
        return if parent.key.is_of(&kind) { Ok(Some(key)) } else { Err(another_kind(&key.title())) };
    }
    let Some(title) = live.marks.owner.as_ref().or(live.marks.retained_for.as_ref()) else { return Ok(None) };
    let path = title.strip_prefix(&parent.key.kind_title()).and_then(|rest| rest.strip_prefix(' '));
    let Some(path) = path else { return Err(another_kind(title)) };
    let (namespace, name) = match path.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, path),
    };
    Ok(Some(ObjectKey { namespace: namespace.map(Into::into), name: name.into(), ..parent.key.clone() }))
}

fn controller_reference(live: &Observed) -> Option<Value> {
    live.controller_uid.as_ref()?;
    let object = live.value();
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true)).cloned()
}

/// The owner of an object, for messages.
fn holder(live: &Observed, parent: &Observed, provider: &str) -> String {
    match (&live.owner_uid, &live.controller_uid, &live.provider) {
        (Some(uid), _, Some(other)) if *uid == parent.uid && other == provider => FORGED.to_owned(),
        (Some(uid), _, Some(other)) if *uid == parent.uid => {
            format!("it belongs to this parent as provider {other} serves it")
        }
        (Some(uid), _, Some(other)) if other == provider => format!(
            "it belongs to the parent with UID {uid} of provider {other} (if that no longer exists, annotate this one with \
             {ADOPT_FROM_ANNOTATION}={uid})"
        ),
        (Some(uid), _, Some(other)) => format!("it belongs to the parent with UID {uid} of provider {other}"),
        (_, Some(uid), _) if *uid == parent.uid => {
            "it is controlled by this parent but was not applied by this host".to_owned()
        }
        (_, Some(uid), _) => format!("it is controlled by the object with UID {uid}"),
        _ if is_retained_for(live, parent) => format!(
            "it is marked as retained for this parent, but no provider has applied it, as after a restore without managed fields (to \
             adopt it, label it with {PROVIDER_LABEL}={provider} and {OWNER_UID_LABEL}=retained, and annotate this parent with \
             {ADOPT_FROM_ANNOTATION}=retained)"
        ),
        _ if is_released(live) => {
            let uid = live.marks.released_from.as_deref().unwrap_or_default();
            let title = live.marks.retained_for.as_deref().unwrap_or("a parent");
            format!(
                "it was left by {title} with UID {uid} (to adopt it, annotate this one with {ADOPT_FROM_ANNOTATION}={uid})"
            )
        }
        _ => "it was created by another client".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
        let holder = "it carries this parent's labels but was not applied by this host".to_owned();
        assert_eq!(decide_for_p(&live(labels, None, "kubectl")), Takeover::NameTaken { holder });
    }

    #[test]
    fn a_child_of_another_parent_is_left_alone_even_if_the_host_applied_it() {
        let labels = json!({"bartizan.dev/owner-uid": "q", "bartizan.dev/provider": "minio"});
        let holder =
            "it belongs to the parent with UID q of provider minio (if that no longer exists, annotate this one with \
                      bartizan.dev/adopt-from=q)"
                .to_owned();
        let taken = Takeover::NameTaken { holder };
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
        let child = left(json!({}), "old", None);
        assert!(matches!(decide_for_p(&child), Takeover::NameTaken { .. }));
        let adopter = parent(json!({"bartizan.dev/adopt-from": "old"}));
        let earlier = |key| Takeover::AdoptFrom(Earlier { uid: "old".to_owned(), key });
        assert_eq!(decide(&child, &adopter, "minio"), earlier(None));
        let moved = left(json!({}), "old", Some("somebody"));
        assert!(matches!(decide(&moved, &adopter, "minio"), Takeover::NameTaken { .. }));
        // A backup has restored it without managed fields.
        let mut restored = child.clone();
        restored.applied_by_host = false;
        assert_eq!(decide(&restored, &adopter, "minio"), earlier(None));
        // A parent cannot adopt from itself what it never applied.
        let own = parent(json!({"bartizan.dev/adopt-from": "p"}));
        restored.owner_uid = Some("p".to_owned());
        assert!(matches!(decide(&restored, &own, "minio"), Takeover::NameTaken { .. }));
    }

    #[test]
    fn a_released_child_is_adopted_on_request_by_a_parent_of_another_name() {
        let title = "ObjectStore.minio.rook.io n/other";
        let mut released =
            left(json!({"bartizan.dev/retained-for": title, "bartizan.dev/released-from": "old"}), "", None);
        (released.owner_uid, released.provider) = (None, None);
        let holder = format!(
            "it was left by {title} with UID old (to adopt it, annotate this one with bartizan.dev/adopt-from=old)"
        );
        assert_eq!(decide_for_p(&released), Takeover::NameTaken { holder });
        let adopter = parent(json!({"bartizan.dev/adopt-from": "old"}));
        let key = ObjectKey { name: "other".into(), ..adopter.key.clone() };
        let earlier = Takeover::AdoptFrom(Earlier { uid: "old".to_owned(), key: Some(key) });
        assert_eq!(decide(&released, &adopter, "minio"), earlier);
        // It has another owner now.
        released.controller_uid = Some("somebody".to_owned());
        assert!(matches!(decide(&released, &adopter, "minio"), Takeover::NameTaken { .. }));
    }

    #[test]
    fn a_child_records_where_its_parent_is() {
        let adopter = parent(json!({"bartizan.dev/adopt-from": "old"}));
        let key = |namespace: &str| ObjectKey { namespace: Some(namespace.into()), ..adopter.key.clone() };
        let earlier = |key| Takeover::AdoptFrom(Earlier { uid: "old".to_owned(), key: Some(key) });
        let recorded = |title: &str| left(json!({"bartizan.dev/owner": title}), "old", None);
        assert_eq!(decide(&recorded("ObjectStore.minio.rook.io m/s"), &adopter, "minio"), earlier(key("m")));
        let taken =
            Takeover::NameTaken { holder: "it belongs to Tenant.minio m/s, which is of another kind".to_owned() };
        assert_eq!(decide(&recorded("Tenant.minio m/s"), &adopter, "minio"), taken);
        let mut object = left(json!({}), "old", Some("old")).value();
        object["metadata"]["ownerReferences"][0]["apiVersion"] = json!("minio.rook.io/v1alpha1");
        object["metadata"]["ownerReferences"][0]["kind"] = json!("ObjectStore");
        object["metadata"]["ownerReferences"][0]["name"] = json!("s");
        let controlled = Observed::project(object, "bartizan/minio").unwrap();
        assert_eq!(decide(&controlled, &adopter, "minio"), earlier(key("n")));
    }

    #[test]
    fn a_child_without_an_owner_reference_is_recognized_by_its_annotation() {
        let mut child = left(json!({"bartizan.dev/owner-uid": "p"}), "", None);
        (child.owner_uid, child.provider) = (None, None);
        assert_eq!(decide_for_p(&child), Takeover::RestoreLabels);
    }
}
