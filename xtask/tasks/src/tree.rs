//! A parent, its children and their pods as a tree that shows readiness.

use serde_json::Value;

/// The objects to show.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The parent; `Null` if it does not exist.
    pub(crate) parent: Value,
    /// Its children.
    pub(crate) children: Vec<Value>,
    /// The pods of the namespace; those owned by a child are shown.
    pub(crate) pods: Vec<Value>,
}

impl Tree {
    /// One line per object.
    pub(crate) fn lines(&self) -> Vec<String> {
        if self.parent.is_null() {
            return Vec::new();
        }
        let mut lines = vec![line(&self.parent, "")];
        for (position, child) in self.children.iter().enumerate() {
            let last = position + 1 == self.children.len();
            lines.push(line(child, if last { "└─ " } else { "├─ " }));
            let pods: Vec<&Value> = self.pods.iter().filter(|pod| owner_uid(pod) == uid(child)).collect();
            for (position, pod) in pods.iter().enumerate() {
                let branch = if position + 1 == pods.len() { "└─ " } else { "├─ " };
                lines.push(line(pod, &format!("{}{branch}", if last { "   " } else { "│  " })));
            }
        }
        lines
    }

    /// Whether the parent's `Ready` condition is True.
    pub(crate) fn is_ready(&self) -> bool {
        condition(&self.parent, "Ready").is_some_and(|ready| ready.0 == "True")
    }

    /// Why it is not ready, from its conditions.
    pub(crate) fn reason(&self) -> String {
        let conditions = ["Valid", "Synced", "Ready"].map(|type_| (type_, condition(&self.parent, type_)));
        let bad = conditions.iter().find_map(|(type_, found)| {
            found
                .as_ref()
                .filter(|(status, ..)| status != "True")
                .map(|(_, reason, message)| format!("{type_}: {reason}: {message}"))
        });
        bad.unwrap_or_else(|| "it has no Ready condition yet".to_owned())
    }
}

fn line(object: &Value, branch: &str) -> String {
    let head = format!("{branch}{}/{}", text(object, "/kind"), text(object, "/metadata/name"));
    format!("{head:<44} {}", state(object)).trim_end().to_owned()
}

fn state(object: &Value) -> String {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    match text(object, "/kind") {
        "StatefulSet" => format!("{}/{} ready", number("/status/readyReplicas"), number("/spec/replicas")),
        "Pod" if condition(object, "Ready").is_some_and(|ready| ready.0 == "True") => "Ready".to_owned(),
        "Pod" => text(object, "/status/phase").to_owned(),
        "Service" => match text(object, "/spec/clusterIP") {
            "None" => "headless".to_owned(),
            address => address.to_owned(),
        },
        "Secret" => {
            let keys = object.pointer("/data").and_then(Value::as_object).map_or(0, serde_json::Map::len);
            format!("{keys} keys")
        }
        "PodDisruptionBudget" => format!("{} may be disrupted", number("/status/disruptionsAllowed")),
        _ => match condition(object, "Ready") {
            Some((status, reason, _)) if status == "True" || reason.is_empty() => format!("Ready={status}"),
            Some((status, reason, _)) => format!("Ready={status} ({reason})"),
            None => String::new(),
        },
    }
}

/// Status, reason and message of a condition.
fn condition(object: &Value, type_: &str) -> Option<(String, String, String)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| text(condition, "/type") == type_)?;
    Some((text(found, "/status").to_owned(), text(found, "/reason").to_owned(), text(found, "/message").to_owned()))
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

fn owner_uid(object: &Value) -> &str {
    text(object, "/metadata/ownerReferences/0/uid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tree_shows_children_pods_and_readiness() {
        let tree = Tree {
            parent: json!({"kind": "ObjectStore", "metadata": {"name": "my-store"},
                "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "Starting", "message": "1 of 2"}]}}),
            children: vec![
                json!({"kind": "StatefulSet", "metadata": {"name": "my-store", "uid": "s"},
                    "spec": {"replicas": 2}, "status": {"readyReplicas": 1}}),
                json!({"kind": "Service", "metadata": {"name": "my-store"}, "spec": {"clusterIP": "None"}}),
            ],
            pods: vec![
                json!({"kind": "Pod", "metadata": {"name": "my-store-0", "ownerReferences": [{"uid": "s"}]},
                    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
                json!({"kind": "Pod", "metadata": {"name": "my-store-1", "ownerReferences": [{"uid": "s"}]},
                    "status": {"phase": "Pending"}}),
                json!({"kind": "Pod", "metadata": {"name": "other", "ownerReferences": [{"uid": "x"}]}}),
            ],
        };
        let lines = [
            "ObjectStore/my-store                         Ready=False (Starting)",
            "├─ StatefulSet/my-store                      1/2 ready",
            "│  ├─ Pod/my-store-0                         Ready",
            "│  └─ Pod/my-store-1                         Pending",
            "└─ Service/my-store                          headless",
        ];
        assert_eq!(tree.lines(), lines);
        assert!(!tree.is_ready());
        assert_eq!(tree.reason(), "Ready: Starting: 1 of 2");
    }
}
