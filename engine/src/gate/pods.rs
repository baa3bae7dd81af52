//! Checks the pods among the desired children: against the granted level of the Pod Security Standards, the granted
//! ServiceAccounts, and the Secrets that they may use. To create pods is the widest permission in a cluster: without bounds it
//! gives access to the node, and to every ServiceAccount and Secret of the namespace.

mod levels;
mod references;

use std::collections::BTreeSet;

use bartizan_contract::Kind;
use bartizan_contract::provider::PodLevel;
use serde_json::Value;

use crate::gate::input::{GateInput, Refusal};
use crate::intent::Intent;
use crate::object::ObjectKey;

/// Checks every pod among the children of an answer, and every object that would bypass that check. Returns for each child the
/// objects that it may use only because the same answer contains them: they must be applied before the child.
///
/// # Errors
/// The first field that was not granted.
pub(crate) fn check(intents: &[Intent], input: &GateInput<'_>) -> Result<Vec<BTreeSet<ObjectKey>>, Refusal> {
    let known = references::Known::new(intents, input);
    let check = |intent| {
        in_object(intent, input.grants.pods.level)?;
        references::check(intent, &known)
    };
    let refusal = |position, Refused { path, message }| Refusal {
        path: format!("response.children[{position}].object.{path}"),
        message,
    };
    let checked = intents.iter().enumerate();
    checked.map(|(position, intent)| check(intent).map_err(|refused| refusal(position, refused))).collect()
}

/// A refusal within one object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    /// Path in the object, such as `spec.template.spec.hostNetwork`.
    path: String,
    /// What is wrong, and how to fix it.
    message: String,
}

/// Checks the pod template of an object, and PersistentVolumes on a directory of a node.
fn in_object(intent: &Intent, granted: PodLevel) -> Result<(), Refused> {
    let Intent { kind, object, .. } = intent;
    if granted != PodLevel::Privileged && is(kind, "", "PersistentVolume") {
        for field in ["hostPath", "local"] {
            if object.get("spec").and_then(|spec| spec.get(field)).is_some_and(|source| !source.is_null()) {
                let violation =
                    levels::Violation::of_baseline(field, "a directory of a node is not allowed as a volume");
                return Err(refused("spec", violation, granted));
            }
        }
    }
    match template(kind, object) {
        Some(template) => {
            levels::check(&template, granted).map_err(|violation| refused(&template.path, violation, granted))
        }
        None => Ok(()),
    }
}

fn refused(below: &str, violation: levels::Violation, granted: PodLevel) -> Refused {
    let levels::Violation { path, rule, needs } = violation;
    let path = if below.is_empty() { path } else { format!("{below}.{path}") };
    let message = format!(
        "{rule} at level {granted:?} of the Pod Security Standards, which is the granted level; to allow it, set \
         spec.grants.pods.level: {needs:?}"
    );
    Refused { path, message }
}

/// The pod template of an object.
struct Template<'a> {
    /// Its path: empty for a Pod itself, otherwise such as `spec.template`.
    path: String,
    metadata: &'a Value,
    spec: &'a Value,
}

/// The pod template of an object, if its kind has one. Without a spec there is nothing to run; the API server rejects that.
fn template<'a>(kind: &Kind, object: &'a Value) -> Option<Template<'a>> {
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
fn containers(pod: &Value) -> impl Iterator<Item = (String, &Value)> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|list| items(pod, list))
}

/// The items of a list with the path of each.
fn items<'a>(value: &'a Value, list: &'static str) -> impl Iterator<Item = (String, &'a Value)> {
    let items = value.get(list).and_then(Value::as_array).into_iter().flatten();
    items.enumerate().map(move |(position, item)| (format!("{list}[{position}]"), item))
}

fn is(kind: &Kind, group: &str, name: &str) -> bool {
    kind.group == group && kind.kind == name
}

#[cfg(test)]
mod tests;
