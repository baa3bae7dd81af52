//! A parent with everything below it as a tree: pure, from objects as the API server holds them.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// An object with those below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Node {
    /// `StatefulSet/my-store`, with its namespace if that is not the parent's.
    pub(super) object: String,
    /// How it is, in a few words.
    pub(super) state: String,
    /// What is below it.
    pub(super) children: Vec<Node>,
}

impl Node {
    /// The tree of a parent, its children, and objects some of which are below these.
    pub(super) fn new(parent: &Value, children: &[Value], others: &[Value]) -> Self {
        let mut placed: BTreeSet<&str> = children.iter().map(uid).chain([uid(parent)]).collect();
        let mut nodes: Vec<Self> =
            children.iter().map(|child| Self::below(child, parent, others, &mut placed)).collect();
        nodes.sort_by(|one, other| one.object.cmp(&other.object));
        Self { object: title(parent, parent), state: of_parent(parent), children: nodes }
    }

    /// An object with what it controls, or selects and nobody controls.
    fn below<'a>(object: &'a Value, parent: &Value, others: &'a [Value], placed: &mut BTreeSet<&'a str>) -> Self {
        let is_below = |other: &&Value| match controller(other) {
            Some(controller) => controller == uid(object),
            None => selects(object, other),
        };
        let below: Vec<&Value> = others.iter().filter(is_below).filter(|other| placed.insert(uid(other))).collect();
        let children = below.into_iter().map(|other| Self::below(other, parent, others, placed)).collect();
        Self { object: title(object, parent), state: state(object), children }
    }

    /// One line for each object.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![line("", self)];
        self.draw("", &mut lines);
        lines
    }

    fn draw(&self, indent: &str, lines: &mut Vec<String>) {
        for (position, child) in self.children.iter().enumerate() {
            let (branch, below) =
                if position + 1 == self.children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            lines.push(line(&format!("{indent}{branch}"), child));
            child.draw(&format!("{indent}{below}"), lines);
        }
    }
}

fn line(branch: &str, node: &Node) -> String {
    let head = format!("{branch}{}", node.object);
    format!("{head:<44} {}", node.state).trim_end().to_owned()
}

fn title(object: &Value, parent: &Value) -> String {
    let (kind, name, namespace) =
        (text(object, "/kind"), text(object, "/metadata/name"), text(object, "/metadata/namespace"));
    if namespace.is_empty() || namespace == text(parent, "/metadata/namespace") {
        format!("{kind}/{name}")
    } else {
        format!("{kind}/{namespace}/{name}")
    }
}

/// The conditions of a parent that sum it up.
fn of_parent(parent: &Value) -> String {
    let mut conditions: Vec<String> = ["Ready", "Synced"].iter().filter_map(|type_| condition(parent, type_)).collect();
    if parent.pointer("/metadata/deletionTimestamp").is_some() {
        conditions.push("being deleted".to_owned());
    }
    if conditions.is_empty() { "no conditions yet".to_owned() } else { conditions.join("  ") }
}

fn state(object: &Value) -> String {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return "being deleted".to_owned();
    }
    let is_built_in = ["v1", "apps/v1", "batch/v1", "policy/v1"].contains(&text(object, "/apiVersion"));
    match if is_built_in { text(object, "/kind") } else { "" } {
        "StatefulSet" | "Deployment" | "ReplicaSet" => {
            format!("{}/{} ready", number("/status/readyReplicas"), number("/spec/replicas"))
        }
        "Pod" => match condition(object, "Ready") {
            Some(ready) if ready == "Ready=True" => "Ready".to_owned(),
            _ => text(object, "/status/phase").to_owned(),
        },
        "PersistentVolumeClaim" => text(object, "/status/phase").to_owned(),
        "Service" => match text(object, "/spec/clusterIP") {
            "None" => "headless".to_owned(),
            address => address.to_owned(),
        },
        "Secret" => {
            let keys = object.pointer("/data").and_then(Value::as_object).map_or(0, serde_json::Map::len);
            format!("{keys} keys")
        }
        "PodDisruptionBudget" => format!("{} may be disrupted", number("/status/disruptionsAllowed")),
        "Job" => format!("{} succeeded, {} failed", number("/status/succeeded"), number("/status/failed")),
        _ => condition(object, "Ready").unwrap_or_default(),
    }
}

/// A condition as `Ready=False (Starting)`; of one that holds, no reason.
fn condition(object: &Value, type_: &str) -> Option<String> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| text(condition, "/type") == type_)?;
    let (status, reason) = (text(found, "/status"), text(found, "/reason"));
    Some(if status == "True" || reason.is_empty() {
        format!("{type_}={status}")
    } else {
        format!("{type_}={status} ({reason})")
    })
}

fn selects(object: &Value, other: &Value) -> bool {
    let Some(labels) = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object) else { return false };
    let has = |(key, value): (&String, &Value)| {
        other.pointer("/metadata/labels").and_then(|labels| labels.get(key)) == Some(value)
    };
    text(object, "/metadata/namespace") == text(other, "/metadata/namespace")
        && !labels.is_empty()
        && labels.iter().all(has)
}

fn controller(object: &Value) -> Option<&str> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    let controls = |owner: &&Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
    owners.iter().find(controls).map(|owner| text(owner, "/uid"))
}

fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_shows_conditions_children_and_what_is_below_them() {
        let parent = json!({"kind": "ObjectStore", "metadata": {"name": "my-store", "namespace": "n", "uid": "p"}, "status": {"conditions": [
            {"type": "Synced", "status": "True", "reason": "Applied", "message": ""},
            {"type": "Ready", "status": "False", "reason": "Starting", "message": "1 of 2"},
        ]}});
        let labels = json!({"app": "my-store"});
        let children = [
            json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "my-store", "namespace": "n", "uid": "s"},
                "spec": {"replicas": 2, "selector": {"matchLabels": labels}}, "status": {"readyReplicas": 1}}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "my-store", "namespace": "n", "uid": "v"}, "spec": {"clusterIP": "None"}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared", "namespace": "other", "uid": "c"}}),
        ];
        let pod = |name: &str, owner: &str, ready: bool| {
            let conditions = if ready { json!([{"type": "Ready", "status": "True"}]) } else { json!([]) };
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "n", "uid": name, "labels": labels,
                "ownerReferences": [{"uid": owner, "controller": true}]}, "status": {"phase": "Pending", "conditions": conditions}})
        };
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-0", "namespace": "n", "uid": "d", "labels": labels},
            "status": {"phase": "Bound"}});
        let others = [pod("my-store-0", "s", true), pod("my-store-1", "s", false), pod("stranger", "x", true), claim];
        let lines = [
            "ObjectStore/my-store                         Ready=False (Starting)  Synced=True",
            "├─ ConfigMap/other/shared",
            "├─ Service/my-store                          headless",
            "└─ StatefulSet/my-store                      1/2 ready",
            "   ├─ Pod/my-store-0                         Ready",
            "   ├─ Pod/my-store-1                         Pending",
            "   └─ PersistentVolumeClaim/data-0           Bound",
        ];
        assert_eq!(Node::new(&parent, &children, &others).lines(), lines);
    }
}
