//! What the pods that a provider asks for may hold: the granted level of the Pod Security Standards, the granted
//! ServiceAccounts, and no Secret that is none of its business. A pod is the widest right in a cluster: who may write one
//! without bounds has the node, every account and every Secret of the namespace.

mod levels;
mod references;

use std::collections::BTreeSet;

use bartizan_contract::Kind;
use bartizan_contract::provider::PodLevel;
use serde_json::Value;

use crate::gate::input::{GateInput, Refusal};
use crate::intent::Intent;
use crate::object::ObjectKey;

/// Checks every pod among the children of an answer, and what would be a way around that. Returns for each child what it may
/// use only because it is the answer's own: that must be so before the child is written.
///
/// # Errors
/// The first field that is not granted.
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

/// What is refused within one object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    /// Path in the object, as `spec.template.spec.hostNetwork`.
    path: String,
    /// What is wrong, and what to do.
    message: String,
}

/// Checks the pods of an object, and volumes that are a directory of a node.
fn in_object(intent: &Intent, granted: PodLevel) -> Result<(), Refused> {
    let Intent { kind, object, .. } = intent;
    if granted != PodLevel::Privileged && is(kind, "", "PersistentVolume") {
        for field in ["hostPath", "local"] {
            if object.get("spec").and_then(|spec| spec.get(field)).is_some_and(|source| !source.is_null()) {
                let violation = levels::Violation::of_baseline(field, "a directory of a node may not be a volume");
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
        "{rule} at level {granted:?} of the Pod Security Standards, which is what is granted; who needs more grants \
         spec.grants.pods.level: {needs:?}"
    );
    Refused { path, message }
}

/// The pod of an object.
struct Template<'a> {
    /// Where it is: empty for a Pod itself, or as `spec.template`.
    path: String,
    metadata: &'a Value,
    spec: &'a Value,
}

/// The pod of an object of a kind that holds one. Without a spec there is nothing to run; the API server refuses that.
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
    let holder = path.iter().try_fold(object, |value, field| value.get(field))?;
    let metadata = holder.get("metadata").unwrap_or(&Value::Null);
    Some(Template { path: path.join("."), metadata, spec: holder.get("spec")? })
}

/// Every container of a pod with its path below `spec`, whenever it runs.
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
