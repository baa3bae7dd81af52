//! Which part of an object a field manager owns, by `managedFields` (KEP-555, "fieldsV1"). A status that is applied again
//! must hold all that its manager owned, or server-side apply removes the rest.

use serde_json::{Map, Value};

/// The part of `value` that a field set covers. A set is a tree of `f:<field>`, `k:<keys of a list item>`, `v:<value>`
/// and `.` (the thing itself); a leaf is an empty set and covers all below it.
#[must_use]
pub fn extract(value: &Value, fields: &Value) -> Value {
    let Some(fields) = fields.as_object() else { return Value::Null };
    let members: Vec<(&String, &Value)> = fields.iter().filter(|(name, _)| *name != ".").collect();
    if members.is_empty() {
        // `{".": {}}` owns the container and nothing in it; `{}` owns all of it.
        return if fields.is_empty() { value.clone() } else { empty_like(value) };
    }
    match value {
        Value::Object(map) => {
            let owned = members.iter().filter_map(|(name, below)| {
                let field = name.strip_prefix("f:")?;
                Some((field.to_owned(), extract(map.get(field)?, below)))
            });
            Value::Object(owned.collect())
        }
        Value::Array(items) => {
            let owned = items.iter().filter_map(|item| {
                let (_, below) = members.iter().find(|(name, _)| names_item(name, item))?;
                Some(with_keys(extract(item, below), members.iter().map(|(name, _)| name.as_str()), item))
            });
            Value::Array(owned.collect())
        }
        other => other.clone(),
    }
}

fn empty_like(value: &Value) -> Value {
    match value {
        Value::Object(_) => Value::Object(Map::new()),
        Value::Array(_) => Value::Array(Vec::new()),
        other => other.clone(),
    }
}

/// Whether `k:{"type":"Ready"}` or `v:"text"` names this item of a list.
fn names_item(name: &str, item: &Value) -> bool {
    if let Some(keys) = name.strip_prefix("k:") {
        let Ok(Value::Object(keys)) = serde_json::from_str(keys) else { return false };
        return keys.iter().all(|(key, value)| item.get(key) == Some(value));
    }
    name.strip_prefix("v:").and_then(|value| serde_json::from_str::<Value>(value).ok()).as_ref() == Some(item)
}

/// The keys of a list item belong to it, whether or not the set lists them.
fn with_keys<'a>(mut owned: Value, mut names: impl Iterator<Item = &'a str>, item: &Value) -> Value {
    let keys = names.find(|name| names_item(name, item)).and_then(|name| name.strip_prefix("k:"));
    if let (Some(map), Some(Ok(Value::Object(keys)))) = (owned.as_object_mut(), keys.map(serde_json::from_str)) {
        map.extend(keys);
    }
    owned
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_manager_gets_back_what_it_owns_and_nothing_of_others() {
        let status = json!({
            "ready": 4, "foreign": true, "nested": {"mine": 1, "theirs": 2},
            "conditions": [
                {"type": "Ready", "status": "True", "note": "theirs"},
                {"type": "Other", "status": "False"}
            ]
        });
        let fields = json!({
            "f:ready": {},
            "f:nested": {"f:mine": {}},
            "f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:type": {}, "f:status": {}}}
        });
        let expected = json!({
            "ready": 4, "nested": {"mine": 1}, "conditions": [{"type": "Ready", "status": "True"}]
        });
        assert_eq!(extract(&status, &fields), expected);
    }

    #[test]
    fn an_atomic_list_is_owned_whole_and_an_empty_map_stays_empty() {
        let status = json!({"list": [1, 2], "map": {"theirs": 1}, "set": ["a", "b"]});
        let fields = json!({"f:list": {}, "f:map": {".": {}}, "f:set": {"v:\"b\"": {}}});
        assert_eq!(extract(&status, &fields), json!({"list": [1, 2], "map": {}, "set": ["b"]}));
    }
}
