//! Managers of fields, as `managedFields` records them, and what an apply and an update make of an object and of them (KEP-555).

use serde_json::{Value, json};

use crate::fields;

/// The field that is pruned where the API server mutates ConfigMaps.
const PRUNED: [&str; 2] = ["f:data", "f:pruned"];

/// A manager of fields.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) manager: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) subresource: &'a str,
}

impl Owner<'_> {
    fn is(&self, entry: &Value) -> bool {
        let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        field("manager") == self.manager
            && field("operation") == self.operation
            && field("subresource") == self.subresource
    }

    pub(crate) fn entry(&self, fields: &fields::Fields, time: &str) -> Value {
        let mut entry = json!({
            "manager": self.manager, "operation": self.operation, "time": time, "fieldsType": "FieldsV1",
            "fieldsV1": fields::to_v1(fields),
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.into();
        }
        entry
    }
}

fn entries(object: &Value) -> Vec<Value> {
    object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default()
}

/// Removes the changed fields from the entries of all other managers.
fn disown(entries: &mut Vec<Value>, owner: Owner<'_>, changed: &fields::Fields) {
    for entry in entries.iter_mut().filter(|entry| !owner.is(entry)) {
        let theirs = fields::from_v1(&entry["fieldsV1"]);
        if !theirs.is_disjoint(changed) {
            entry["fieldsV1"] = fields::to_v1(&theirs.difference(changed).cloned().collect());
        }
    }
    entries.retain(|entry| entry["fieldsV1"].as_object().is_none_or(|fields| !fields.is_empty()));
}

/// The fields of an owner.
fn owned_by(entries: &[Value], owner: Owner<'_>) -> fields::Fields {
    let entry = entries.iter().find(|entry| owner.is(entry));
    entry.map(|entry| fields::from_v1(&entry["fieldsV1"])).unwrap_or_default()
}

/// Records the fields of an owner in the place of what it had before.
fn record(object: &mut Value, mut entries: Vec<Value>, owner: Owner<'_>, owned: &fields::Fields, time: &str) {
    entries.retain(|entry| !owner.is(entry));
    if !owned.is_empty() {
        entries.push(owner.entry(owned, time));
    }
    object["metadata"]["managedFields"] = entries.into();
}

/// Merges an apply into an object: sets its fields, and removes omitted fields that only its manager owned.
pub(crate) fn apply(object: &mut Value, intent: &Value, owner: Owner<'_>, mutates: bool, time: &str) {
    let mutates = mutates && intent["kind"] == "ConfigMap";
    let mut applied = fields::of(intent);
    applied.retain(|path| !mutates || *path != PRUNED);
    let mut entries = entries(object);
    let mut existing = fields::of(object);
    existing.retain(|path| (path[0] == "f:status") == (owner.subresource == "status"));
    let is_first = entries.is_empty() && !existing.is_empty();
    if is_first {
        // What nobody is known to own is not the applier's.
        let before = Owner { manager: "before-first-apply", operation: "Update", subresource: "" };
        entries.push(before.entry(&existing, time));
    }
    let known = owned_by(&entries, owner);
    let owned_by_others = |path: &fields::Path| {
        entries.iter().any(|entry| !owner.is(entry) && fields::from_v1(&entry["fieldsV1"]).contains(path))
    };
    for path in known.difference(&applied).filter(|path| !owned_by_others(path)) {
        // A map in which others have something stays.
        let is_in_use = |value: &Value| value.as_object().is_some_and(|map| !map.is_empty());
        if !fields::get(object, path).is_some_and(is_in_use) {
            fields::remove(object, path);
        }
    }
    let mut changed = fields::Fields::new();
    for path in &applied {
        let value = fields::get(intent, path).cloned().unwrap_or_default();
        let live = fields::get(object, path);
        // An empty map says nothing about what is in it.
        let says_nothing = value == json!({}) && live.is_some_and(Value::is_object);
        if live != Some(&value) && !says_nothing {
            changed.insert(path.clone());
            fields::set(object, path, value);
        }
    }
    if mutates && object["data"].get("defaulted").is_none() {
        object["data"]["defaulted"] = true.into();
    }
    disown(&mut entries, owner, &changed);
    if !changed.is_empty() || known != applied || is_first {
        record(object, entries, owner, &applied, time);
    }
}

/// Records what an update by this manager has changed.
pub(crate) fn update(before: &Value, object: &mut Value, manager: &str, time: &str) {
    let (old, new) = (fields::of(before), fields::of(object));
    let changed = |path: &&fields::Path| fields::get(before, path) != fields::get(object, path);
    let changed: fields::Fields = new.iter().filter(changed).cloned().collect();
    let removed: fields::Fields = old.difference(&new).cloned().collect();
    // Where nothing is tracked, an update does not begin to. A patch may bring the entries with it.
    if changed.is_empty() && removed.is_empty() || entries(object).is_empty() {
        return;
    }
    let owner = Owner { manager, operation: "Update", subresource: "" };
    let mut entries = entries(object);
    let mut owned = owned_by(&entries, owner);
    disown(&mut entries, owner, &changed.union(&removed).cloned().collect());
    owned.retain(|path| !removed.contains(path));
    owned.extend(changed);
    record(object, entries, owner, &owned, time);
}
