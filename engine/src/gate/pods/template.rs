//! Where the pods of an object are, and what is in them.

use bartizan_contract::Kind;
use serde_json::Value;

/// A refusal within one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Path in the object, such as `spec.template.spec.hostNetwork`.
    pub(super) path: String,
    /// What is wrong, and how to fix it.
    pub(super) message: String,
}

/// The pod template of an object.
pub(super) struct Template<'a> {
    /// Its path: empty for a Pod itself, otherwise such as `spec.template`.
    pub(super) path: String,
    pub(super) metadata: &'a Value,
    pub(super) spec: &'a Value,
}

/// The pod template of an object, if its kind has one. Without a spec there is nothing to run; the API server rejects that.
pub(super) fn template<'a>(kind: &Kind, object: &'a Value) -> Option<Template<'a>> {
    let path: &[&str] = match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => &[],
        ("", "PodTemplate") => &["template"],
        ("", "ReplicationController")
        | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job") => &["spec", "template"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template"],
        _ => return None,
    };
    let template = path.iter().try_fold(object, |value, field| value.get(field))?;
    let metadata = template.get("metadata").unwrap_or(&Value::Null);
    Some(Template { path: path.join("."), metadata, spec: template.get("spec")? })
}

/// Every container of a pod, of all three lists, with its path below `spec`.
pub(super) fn containers(pod: &Value) -> impl Iterator<Item = (String, &Value)> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|list| items(pod, list))
}

/// The items of a list with the path of each.
pub(super) fn items<'a>(value: &'a Value, list: &'static str) -> impl Iterator<Item = (String, &'a Value)> {
    let items = value.get(list).and_then(Value::as_array).into_iter().flatten();
    items.enumerate().map(move |(position, item)| (format!("{list}[{position}]"), item))
}

pub(super) fn is(kind: &Kind, group: &str, name: &str) -> bool {
    kind.group == group && kind.kind == name
}
