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

/// `managedFields` with the fields that other managers wrote moved into what `manager` applied, so that its next apply
/// removes what it does not mention. `None` if nobody else owns a field that could be moved.
///
/// An apply alone cannot undo every edit: list items have keys, and an item whose key was edited is another item, which
/// nobody removes. Metadata stays with its owners, since labels and annotations of others are welcome; so does what was
/// written to subresources.
#[must_use]
pub fn claim(managed_fields: &Value, manager: &str) -> Option<Value> {
    let text = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_ours = |entry: &Value| {
        text(entry, "manager") == manager
            && text(entry, "operation") == "Apply"
            && text(entry, "subresource").is_empty()
    };
    let mut entries = managed_fields.as_array()?.clone();
    let position = entries.iter().position(is_ours)?;
    let mut ours = entries.remove(position);
    let version = text(&ours, "apiVersion");
    let mut claimed = Map::new();
    for entry in &mut entries {
        // Fields of another version of the kind may have other names.
        if !text(entry, "subresource").is_empty() || text(entry, "apiVersion") != version {
            continue;
        }
        let Some(fields) = entry.get_mut("fieldsV1").and_then(Value::as_object_mut) else { continue };
        let (kept, taken) = std::mem::take(fields).into_iter().partition(|(name, _)| name == "f:metadata");
        *fields = kept;
        merge(&mut claimed, taken);
    }
    if claimed.is_empty() {
        return None;
    }
    merge(ours.get_mut("fieldsV1")?.as_object_mut()?, claimed);
    entries.retain(|entry| entry.get("fieldsV1").and_then(Value::as_object).is_none_or(|fields| !fields.is_empty()));
    entries.push(ours);
    Some(Value::Array(entries))
}

/// The union of two field sets. A leaf holds the thing itself, which `.` says where something below it is held, too.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, below) in from {
        let Some(known) = into.get_mut(&name).and_then(Value::as_object_mut) else {
            into.insert(name, below);
            continue;
        };
        let Value::Object(mut below) = below else { continue };
        if known.is_empty() != below.is_empty() {
            below.insert(".".to_owned(), Value::Object(Map::new()));
        }
        merge(known, below);
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

    #[test]
    fn what_others_wrote_is_claimed_but_their_metadata_and_subresources_are_not() {
        let port =
            |number: u16| json!({"k:{\"port\":9000}".replace("9000", &number.to_string()): {".": {}, "f:port": {}}});
        let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields});
        let ours = entry("bartizan/minio", "Apply", json!({"f:spec": {"f:selector": {}}}));
        let edit = json!({"f:metadata": {"f:labels": {"f:theirs": {}}}, "f:spec": {"f:ports": port(9001), "f:selector": {"f:a": {}}}});
        let mut status = entry("controller", "Update", json!({"f:status": {"f:x": {}}}));
        status["subresource"] = json!("status");
        let managed = json!([
            ours,
            entry("kubectl-patch", "Update", edit),
            entry("kubectl-edit", "Update", json!({"f:spec": {"f:type": {}}})),
            status
        ]);
        let claimed = entry(
            "bartizan/minio",
            "Apply",
            json!({"f:spec": {"f:ports": port(9001), "f:selector": {".": {}, "f:a": {}}, "f:type": {}}}),
        );
        let left = entry("kubectl-patch", "Update", json!({"f:metadata": {"f:labels": {"f:theirs": {}}}}));
        assert_eq!(claim(&managed, "bartizan/minio"), Some(json!([left, status, claimed])));
    }

    #[test]
    fn nothing_is_claimed_where_nobody_else_wrote_or_we_did_not_apply() {
        let entry = |manager: &str, operation: &str| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": {"f:spec": {"f:type": {}}}});
        assert_eq!(claim(&json!([entry("m", "Apply")]), "m"), None);
        assert_eq!(claim(&json!([entry("m", "Update"), entry("other", "Update")]), "m"), None);
        assert_eq!(claim(&Value::Null, "m"), None);
    }
}
