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

/// `managedFields` with the list items that others added by hand moved into what `manager` applied, so that its next apply
/// removes those that it does not mention. `None` if there are none.
///
/// An apply alone cannot undo every edit: list items have keys, and an item whose key was edited (a port's number) is
/// another item, which nobody removes, beside the one that the apply puts back. Only items are claimed, of lists in which
/// `manager` owns some, and only from those who do not apply (`kubectl edit`): a field that a controller owns (an
/// autoscaler's replicas), another applier's items, metadata and subresources stay theirs.
#[must_use]
pub fn claim(managed_fields: &Value, manager: &str) -> Option<Value> {
    let is = |entry: &Value, field: &str, expected: &str| {
        entry.get(field).and_then(Value::as_str).unwrap_or_default() == expected
    };
    let mut entries = managed_fields.as_array()?.clone();
    let position = entries.iter().position(|entry| {
        is(entry, "manager", manager) && is(entry, "operation", "Apply") && is(entry, "subresource", "")
    })?;
    let mut ours = entries.remove(position);
    let version = ours.get("apiVersion").cloned();
    let fields = ours.get_mut("fieldsV1")?.as_object_mut()?;
    let mut claimed = false;
    for entry in &mut entries {
        // Fields of another version of the kind may have other names.
        let by_hand = is(entry, "operation", "Update") && is(entry, "subresource", "");
        if by_hand && entry.get("apiVersion") == version.as_ref() {
            let theirs = entry.get_mut("fieldsV1").and_then(Value::as_object_mut);
            claimed |= theirs.is_some_and(|theirs| claim_items(fields, theirs));
        }
    }
    entries.push(ours);
    claimed.then_some(Value::Array(entries))
}

/// Moves items of lists that both know from `theirs` into `ours`; whether there were any.
fn claim_items(ours: &mut Map<String, Value>, theirs: &mut Map<String, Value>) -> bool {
    let is_list = ours.keys().any(|name| name.starts_with("k:"));
    let items: Vec<String> =
        theirs.keys().filter(|name| is_list && name.starts_with("k:") && !ours.contains_key(*name)).cloned().collect();
    let mut claimed = !items.is_empty();
    for name in items {
        if let Some(item) = theirs.remove(&name) {
            ours.insert(name, item);
        }
    }
    for (name, below) in ours.iter_mut().filter(|(name, _)| *name != "f:metadata") {
        let Some(left) = theirs.get_mut(name).and_then(Value::as_object_mut) else { continue };
        if below.as_object_mut().is_some_and(|below| claim_items(below, left)) {
            claimed = true;
            // An empty set would say that they own the whole list.
            if left.is_empty() {
                theirs.remove(name);
            }
        }
    }
    claimed
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
    fn an_item_added_by_hand_to_a_list_of_ours_is_claimed_and_nothing_else_of_others() {
        let port = |number: u16| (format!("k:{{\"port\":{number}}}"), json!({".": {}, "f:port": {}}));
        let ports = |ports: Vec<(String, Value)>| Value::Object(ports.into_iter().collect());
        let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields});
        let ours = entry("bartizan/minio", "Apply", json!({"f:spec": {"f:ports": ports(vec![port(9000)])}}));
        let edit = json!({
            "f:metadata": {"f:labels": {"f:theirs": {}}},
            "f:spec": {"f:ports": ports(vec![port(9001)]), "f:replicas": {}, "f:other": ports(vec![port(1)])}
        });
        let applier = entry("mesh", "Apply", json!({"f:spec": {"f:ports": ports(vec![port(15000)])}}));
        let mut status = entry("controller", "Update", json!({"f:spec": {"f:ports": ports(vec![port(7)])}}));
        status["subresource"] = json!("status");
        let managed = json!([ours, entry("kubectl-edit", "Update", edit), applier, status]);
        let claimed =
            entry("bartizan/minio", "Apply", json!({"f:spec": {"f:ports": ports(vec![port(9000), port(9001)])}}));
        let left = entry(
            "kubectl-edit",
            "Update",
            json!({
                "f:metadata": {"f:labels": {"f:theirs": {}}},
                "f:spec": {"f:replicas": {}, "f:other": ports(vec![port(1)])}
            }),
        );
        assert_eq!(claim(&managed, "bartizan/minio"), Some(json!([left, applier, status, claimed])));
    }

    #[test]
    fn nothing_is_claimed_where_nobody_else_wrote_or_we_did_not_apply() {
        let entry = |manager: &str, operation: &str| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": {"f:spec": {"f:type": {}}}});
        assert_eq!(claim(&json!([entry("m", "Apply")]), "m"), None);
        assert_eq!(claim(&json!([entry("m", "Update"), entry("other", "Update")]), "m"), None);
        assert_eq!(claim(&Value::Null, "m"), None);
    }
}
