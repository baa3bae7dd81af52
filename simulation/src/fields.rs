//! Field ownership as in server-side apply (KEP-555): sets of paths, and the operations on objects that an apply needs. Lists
//! are atomic, except for those that are maps by a key.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// A path to a field: `f:name` and `k:{"key":"value"}`, as in `fieldsV1`.
pub type Path = Vec<String>;

/// Paths of leaves.
pub type Fields = BTreeSet<Path>;

/// Fields that no manager owns: identity, and those that the API server sets.
const UNOWNED: [&[&str]; 10] = [
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "uid"],
    &["metadata", "resourceVersion"],
    &["metadata", "generation"],
    &["metadata", "creationTimestamp"],
    &["metadata", "deletionTimestamp"],
    &["metadata", "managedFields"],
];

/// The key of a list of type `map`; `None` if the list is atomic.
fn list_key(path: &[String]) -> Option<&'static str> {
    let names: Vec<&str> = path.iter().filter_map(|segment| segment.strip_prefix("f:")).collect();
    match names.as_slice() {
        ["status", "conditions"] => Some("type"),
        ["metadata", "ownerReferences"] => Some("uid"),
        _ => None,
    }
}

/// Whether the items of a list are owned as a whole.
fn are_whole(path: &[String]) -> bool {
    list_key(path) == Some("uid")
}

/// Whether a list is a set of values.
fn is_set(path: &[String]) -> bool {
    matches!(path, [metadata, finalizers] if metadata == "f:metadata" && finalizers == "f:finalizers")
}

/// The leaves of an object that a manager may own.
#[must_use]
pub fn of(object: &Value) -> Fields {
    let mut found = Fields::new();
    collect(object, &mut Path::new(), &mut found);
    found.retain(|path| !UNOWNED.iter().any(|unowned| is_at(path, unowned)));
    found
}

fn is_at(path: &[String], names: &[&str]) -> bool {
    names.len() <= path.len() && names.iter().zip(path).all(|(name, segment)| segment.strip_prefix("f:") == Some(name))
}

fn collect(value: &Value, path: &mut Path, found: &mut Fields) {
    let (key, is_set, is_whole) = (list_key(path), is_set(path), are_whole(path));
    let mut within = |segment: String, value: &Value| {
        path.push(segment);
        collect(value, path, found);
        path.pop();
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(name, value)| within(format!("f:{name}"), value));
        }
        Value::Array(items) if key.is_some() => {
            let key = key.unwrap_or_default();
            for item in items {
                let name = item.get(key).cloned().unwrap_or_default();
                // A whole item is a leaf.
                let item = if is_whole { &Value::Null } else { item };
                within(format!("k:{}", serde_json::json!({key: name})), item);
            }
        }
        Value::Array(items) if is_set && !items.is_empty() => {
            for item in items {
                within(format!("v:{item}"), &Value::Null);
            }
        }
        _ => {
            found.insert(path.clone());
        }
    }
}

/// A set of paths as `fieldsV1`.
#[must_use]
pub fn to_v1(fields: &Fields) -> Value {
    fn insert(set: &mut Map<String, Value>, path: &[String]) {
        let Some((segment, rest)) = path.split_first() else { return };
        let below = set.entry(segment.clone()).or_insert_with(|| Value::Object(Map::new()));
        if let Some(below) = below.as_object_mut() {
            insert(below, rest);
        }
    }
    let mut root = Map::new();
    fields.iter().for_each(|path| insert(&mut root, path));
    Value::Object(root)
}

/// The paths of `fieldsV1`.
#[must_use]
pub fn from_v1(fields: &Value) -> Fields {
    fn walk(fields: &Value, path: &mut Path, found: &mut Fields) {
        let members = fields.as_object().into_iter().flatten().filter(|(name, _)| *name != ".");
        let mut is_leaf = true;
        for (name, below) in members {
            is_leaf = false;
            path.push(name.clone());
            walk(below, path, found);
            path.pop();
        }
        if is_leaf && !path.is_empty() {
            found.insert(path.clone());
        }
    }
    let mut found = Fields::new();
    walk(fields, &mut Path::new(), &mut found);
    found
}

/// The value at a path.
#[must_use]
pub fn get<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, segment| match segment.strip_prefix("f:") {
        Some(name) => value.get(name),
        None => value.as_array()?.iter().find(|item| is_named(segment, item)),
    })
}

fn is_named(segment: &str, item: &Value) -> bool {
    if let Some(value) = segment.strip_prefix("v:") {
        return serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item);
    }
    let keys = segment.strip_prefix("k:").and_then(|keys| serde_json::from_str::<Map<String, Value>>(keys).ok());
    keys.is_some_and(|keys| keys.iter().all(|(key, value)| item.get(key) == Some(value)))
}

/// Sets the value at a path; creates missing containers.
pub fn set(object: &mut Value, path: &[String], value: Value) {
    let Some((segment, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    if let Some(name) = segment.strip_prefix("f:") {
        if !object.is_object() {
            *object = Value::Object(Map::new());
        }
        if let Some(map) = object.as_object_mut() {
            set(map.entry(name).or_insert(Value::Null), rest, value);
        }
        return;
    }
    if !object.is_array() {
        *object = Value::Array(Vec::new());
    }
    let Some(items) = object.as_array_mut() else { return };
    if let Some(member) = segment.strip_prefix("v:") {
        if !items.iter().any(|item| is_named(segment, item)) {
            items.push(serde_json::from_str(member).unwrap_or_default());
        }
        return;
    }
    if !items.iter().any(|item| is_named(segment, item)) {
        items.push(segment.strip_prefix("k:").and_then(|keys| serde_json::from_str(keys).ok()).unwrap_or_default());
    }
    if let Some(item) = items.iter_mut().find(|item| is_named(segment, item)) {
        set(item, rest, value);
    }
}

/// Removes the value at a path, and containers that become empty.
pub fn remove(object: &mut Value, path: &[String]) {
    let Some((segment, rest)) = path.split_first() else { return };
    let is_empty = |value: &Value| match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match segment.strip_prefix("f:") {
        Some(name) => {
            let Some(map) = object.as_object_mut() else { return };
            if rest.is_empty() {
                map.remove(name);
            } else if let Some(value) = map.get_mut(name) {
                remove(value, rest);
                if is_empty(value) {
                    map.remove(name);
                }
            }
        }
        None => {
            let Some(items) = object.as_array_mut() else { return };
            if let Some(position) = items.iter().position(|item| is_named(segment, item)) {
                let is_key = |field: &String| segment.contains(&format!("\"{}\":", field.trim_start_matches("f:")));
                match items.get_mut(position) {
                    Some(item) if !rest.iter().all(is_key) => remove(item, rest),
                    // An item is removed with its key.
                    _ => {
                        items.remove(position);
                    }
                }
            }
        }
    }
}

/// A JSON merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            map.remove(name);
        } else {
            merge(map.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_set_survives_a_round_trip() {
        let object = json!({
            "apiVersion": "v1", "kind": "X", "metadata": {"name": "n", "labels": {"a": "b"}},
            "spec": {"list": [1, 2], "empty": {}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        let fields = of(&object);
        assert_eq!(fields.len(), 5);
        assert_eq!(from_v1(&to_v1(&fields)), fields);
    }

    #[test]
    fn an_item_of_a_map_list_is_set_and_removed_by_its_key() {
        let mut object = json!({"status": {"conditions": [{"type": "A", "status": "True"}]}});
        let path = |field: &str| -> Path {
            ["f:status", "f:conditions", "k:{\"type\":\"B\"}", field].map(str::to_owned).to_vec()
        };
        set(&mut object, &path("f:status"), json!("False"));
        assert_eq!(object["status"]["conditions"][1], json!({"type": "B", "status": "False"}));
        remove(&mut object, &path("f:type"));
        assert_eq!(object["status"]["conditions"], json!([{"type": "A", "status": "True"}]));
    }
}
