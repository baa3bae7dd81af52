//! Managed fields: the part of an object that a field manager owns, by `metadata.managedFields` (KEP-555, "fieldsV1"). A status that
//! is applied again must contain every field that its manager owns, or server-side apply removes the others.

use bartizan_contract::names;
use serde_json::{Map, Value};

/// The part of `value` that a field set covers. A set is a tree of `f:<field>`, `k:<keys of a list item>`, `v:<value>` and `.` (the
/// value itself); a leaf is an empty set and covers everything within.
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
            let owned = members.iter().filter_map(|(name, nested)| {
                let field = name.strip_prefix("f:")?;
                Some((field.to_owned(), extract(map.get(field)?, nested)))
            });
            Value::Object(owned.collect())
        }
        Value::Array(items) => {
            let owned = items.iter().filter_map(|item| {
                let (_, nested) = members.iter().find(|(name, _)| names_item(name, item))?;
                Some(with_keys(extract(item, nested), members.iter().map(|(name, _)| name.as_str()), item))
            });
            Value::Array(owned.collect())
        }
        other => other.clone(),
    }
}

/// The fields of an object that `manager` applied, that no other manager has, and that `intent` leaves out, as JSON pointers with their
/// values: what the next apply would remove once it is that of another manager that has inherited them. `None` if it did not apply.
#[must_use]
pub fn left_out(object: &Value, managed_fields: &Value, manager: &str, intent: &Value) -> Option<Vec<(String, Value)>> {
    let text = |entry: &'_ Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let entries = managed_fields.as_array()?;
    let is_its = |entry: &&Value| text(entry, "manager") == manager && text(entry, "operation") == "Apply";
    let of_object = || entries.iter().filter(|entry| text(entry, "subresource").is_empty());
    let fields = of_object().find(is_its)?.get("fieldsV1")?;
    let others: Vec<&Value> = of_object().filter(|entry| !is_its(entry)).filter_map(|e| e.get("fieldsV1")).collect();
    let mut found = Vec::new();
    find_left_out(object, fields, &others, Some(intent), &mut String::new(), &mut found);
    Some(found)
}

/// A name as a token of a JSON pointer (RFC 6901).
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn find_left_out(
    value: &Value,
    fields: &Value,
    others: &[&Value],
    intent: Option<&Value>,
    path: &mut String,
    found: &mut Vec<(String, Value)>,
) {
    if let (Value::Object(atomic), Some(Value::Object(intended)), true) =
        (value, intent, fields == &Value::Object(Map::new()))
    {
        // It is owned as a whole, as a selector is.
        for (name, member) in atomic.iter().filter(|(name, _)| !intended.contains_key(*name)) {
            found.push((format!("{path}/{}", escaped(name)), member.clone()));
        }
        return;
    }
    for (name, nested) in fields.as_object().into_iter().flatten().filter(|(name, _)| *name != ".") {
        let (token, member, intended) = match (name.strip_prefix("f:"), value.as_array()) {
            (Some(field), _) => (escaped(field), value.get(field), intent.and_then(|intent| intent.get(field))),
            (None, Some(items)) => {
                let is_it = |item: &&Value| names_item(name, item);
                let position = items.iter().position(|item| is_it(&item)).unwrap_or_default();
                let intended = intent.and_then(Value::as_array).and_then(|items| items.iter().find(is_it));
                (position.to_string(), items.iter().find(is_it), intended)
            }
            (None, None) => continue,
        };
        // It may have gone since.
        let Some(member) = member else { continue };
        let theirs: Vec<&Value> = others.iter().filter_map(|other| other.get(name)).collect();
        let length = path.len();
        path.push('/');
        path.push_str(&token);
        if intended.is_none() && theirs.is_empty() {
            found.push((path.clone(), extract(member, nested)));
        } else {
            find_left_out(member, nested, &theirs, intended, path, found);
        }
        path.truncate(length);
    }
}

/// `managedFields` in which `manager` owns the list items that others added by hand, so that its next apply of `intent` removes them.
/// `None` if there are none.
///
/// An apply alone cannot revert every edit: list items have keys, and an item whose key was edited (a port's number) is another item,
/// which remains beside the one that the apply restores. Only items are claimed, of lists in which `intent` has some (the fields that
/// `manager` owns cannot tell: the edit took them away), and only from managers that do not apply (`kubectl edit`). Fields of
/// controllers (an autoscaler's replicas), items of other appliers, metadata and subresources are never claimed.
#[must_use]
pub fn claim(managed_fields: &Value, manager: &str, intent: &Value) -> Option<Value> {
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
            claimed |= theirs.is_some_and(|theirs| claim_items(fields, theirs, intent));
        }
    }
    entries.retain(|entry| entry.get("fieldsV1").and_then(Value::as_object).is_none_or(|fields| !fields.is_empty()));
    entries.push(ours);
    claimed.then_some(Value::Array(entries))
}

/// `managedFields` in which `manager` owns what another provider applied, so that its next apply removes what it leaves out. `None` if
/// it applied before, or none did.
#[must_use]
pub fn inherit(managed_fields: &Value, manager: &str) -> Option<Value> {
    let mut entries = managed_fields.as_array()?.clone();
    let text = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let applies = |entry: &Value| text(entry, "operation") == "Apply" && text(entry, "subresource").is_empty();
    if entries.iter().any(|entry| applies(entry) && text(entry, "manager") == manager) {
        return None;
    }
    let is_a_providers = |entry: &&mut Value| applies(entry) && names::is_field_manager(&text(entry, "manager"));
    // One only: there can be one entry of a manager, operation and version.
    let entry = entries.iter_mut().find(is_a_providers)?;
    *entry.get_mut("manager")? = manager.into();
    Some(Value::Array(entries))
}

/// Moves items that `intent` does not have, of lists in which it has some, from `theirs` to `ours`. Returns whether there were any.
fn claim_items(ours: &mut Map<String, Value>, theirs: &mut Map<String, Value>, intent: &Value) -> bool {
    let mut claimed = false;
    let names: Vec<String> = theirs.keys().filter(|name| *name != "f:metadata").cloned().collect();
    for name in names {
        let intended = match (name.strip_prefix("f:"), intent.as_array()) {
            (Some(field), _) => intent.get(field),
            (None, Some(items)) if name.starts_with("k:") => {
                let intended = items.iter().find(|item| names_item(&name, item));
                if intended.is_none()
                    && !items.is_empty()
                    && !ours.contains_key(&name)
                    && let Some(item) = theirs.remove(&name)
                {
                    ours.insert(name.clone(), item);
                    claimed = true;
                }
                intended
            }
            _ => None,
        };
        let (Some(intended), Some(left)) = (intended, theirs.get_mut(&name).and_then(Value::as_object_mut)) else {
            continue;
        };
        let known = ours.get(&name).and_then(Value::as_object);
        let mut nested = known.cloned().unwrap_or_default();
        if known.is_some() && nested.is_empty() {
            // A leaf owns the value itself, which a set with members expresses as `.`.
            nested.insert(".".to_owned(), Value::Object(Map::new()));
        }
        if claim_items(&mut nested, left, intended) {
            claimed = true;
            // An empty set would own the whole list.
            if left.is_empty() {
                theirs.remove(&name);
            }
            ours.insert(name, Value::Object(nested));
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

/// Adds the keys of a list item, which identify it whether or not the set contains them.
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
    fn what_another_manager_takes_over_loses_the_fields_that_it_leaves_out_and_nobody_else_has() {
        let live = json!({"spec": {
            "replicas": 1, "paused": true, "shared": 1, "whole": [{"name": "a", "default": 1}],
            "selector": {"a": "1", "b": "2"},
            "ports": [{"port": 9000, "name": "a"}, {"port": 9001}],
        }});
        let item = |number: u16| format!("k:{{\"port\":{number}}}");
        let spec = json!({
            "f:replicas": {}, "f:paused": {}, "f:shared": {}, "f:whole": {}, "f:gone": {}, "f:selector": {},
            "f:ports": {item(9000): {".": {}, "f:port": {}, "f:name": {}}, item(9001): {".": {}, "f:port": {}}},
        });
        let mut status = entry(OURS, "Apply", &json!({"f:other": {}}));
        status["subresource"] = "status".into();
        let managed =
            json!([status, entry(OURS, "Apply", &spec), entry("kubectl", "Update", &json!({"f:shared": {}}))]);
        // An atomic list is compared as a whole elsewhere: what the API server added to its items is no field of its own.
        let intent = json!({"spec": {"replicas": 2, "selector": {"a": "1"}, "whole": [{"name": "a"}], "ports": [{"port": 9000}]}});
        let expected = [
            ("/spec/paused", json!(true)),
            ("/spec/ports/0/name", json!("a")),
            ("/spec/ports/1", json!({"port": 9001})),
            ("/spec/selector/b", json!("2")),
        ];
        let mut found = left_out(&live, &managed, OURS, &intent).unwrap();
        found.sort_by(|left, right| left.0.cmp(&right.0));
        assert_eq!(found, expected.map(|(path, value)| (path.to_owned(), value)));
        assert_eq!(left_out(&live, &managed, "bartizan/other", &intent), None);
    }

    /// A field set of list items with these ports.
    fn ports(numbers: &[u16]) -> Value {
        let item = |number: &u16| (format!("k:{{\"port\":{number}}}"), json!({".": {}, "f:port": {}}));
        Value::Object(numbers.iter().map(item).collect())
    }

    fn entry(manager: &str, operation: &str, spec: &Value) -> Value {
        let fields = json!({"f:spec": spec});
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields})
    }

    const OURS: &str = "bartizan/minio";

    #[test]
    fn an_item_added_by_hand_to_a_list_of_ours_is_claimed_alone() {
        let intent = json!({"spec": {"ports": [{"port": 9000}]}});
        let edit = json!({"f:ports": ports(&[9000, 9001]), "f:replicas": {}, "f:other": ports(&[1])});
        let mut edit = entry("kubectl-edit", "Update", &edit);
        edit["fieldsV1"]["f:metadata"] = json!({"f:labels": {"f:theirs": {}}});
        let applier = entry("mesh", "Apply", &json!({"f:ports": ports(&[15000])}));
        let mut status = entry("controller", "Update", &json!({"f:ports": ports(&[7])}));
        status["subresource"] = json!("status");
        let managed = json!([entry(OURS, "Apply", &json!({"f:ports": ports(&[9000])})), edit, applier, status]);

        let claimed = entry(OURS, "Apply", &json!({"f:ports": ports(&[9000, 9001])}));
        let mut left = edit.clone();
        left["fieldsV1"]["f:spec"]["f:ports"] = ports(&[9000]);
        assert_eq!(claim(&managed, OURS, &intent), Some(json!([left, applier, status, claimed])));
    }

    #[test]
    fn an_item_whose_key_was_edited_is_claimed() {
        let intent = json!({"spec": {"type": "ClusterIP", "ports": [{"port": 9000}]}});
        let edit = entry("kubectl-patch", "Update", &json!({"f:ports": ports(&[9001])}));
        let managed = json!([entry(OURS, "Apply", &json!({"f:type": {}})), edit]);

        let claimed = entry(OURS, "Apply", &json!({"f:type": {}, "f:ports": ports(&[9001])}));
        assert_eq!(claim(&managed, OURS, &intent), Some(json!([claimed])));
    }

    #[test]
    fn an_item_within_an_item_is_claimed_and_the_outer_one_is_not() {
        let container = |env: Value| json!({"f:containers": {"k:{\"name\":\"c\"}": {"f:env": env}}});
        let variable = |name: &str| json!({format!("k:{{\"name\":\"{name}\"}}"): {}});
        let intent = json!({"spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]}});
        let managed = json!([
            entry(OURS, "Apply", &container(variable("A"))),
            entry("kubectl-edit", "Update", &container(variable("B")))
        ]);
        let mut both = variable("A");
        both["k:{\"name\":\"B\"}"] = json!({});
        let claimed = entry(OURS, "Apply", &container(both));
        assert_eq!(claim(&managed, OURS, &intent), Some(json!([claimed])));
    }

    #[test]
    fn nothing_is_claimed_if_nobody_else_wrote_or_we_did_not_apply() {
        let intent = json!({"spec": {"type": "ClusterIP", "ports": [{"port": 9000}]}});
        let ports = json!({"f:type": {}, "f:ports": ports(&[9001])});
        assert_eq!(claim(&json!([entry("m", "Apply", &ports)]), "m", &intent), None);
        let unapplied = json!([entry("m", "Update", &ports), entry("other", "Update", &ports)]);
        assert_eq!(claim(&unapplied, "m", &intent), None);
        let applied = json!([entry("m", "Apply", &ports), entry("other", "Update", &json!({"f:type": {}}))]);
        assert_eq!(claim(&applied, "m", &intent), None);
        assert_eq!(claim(&Value::Null, "m", &intent), None);
    }
}
