//! Managers of fields, as `managedFields` records them.

use serde_json::{Value, json};

use crate::fields;

/// A manager of fields.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) manager: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) subresource: &'a str,
}

impl Owner<'_> {
    pub(crate) fn is(&self, entry: &Value) -> bool {
        let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        field("manager") == self.manager
            && field("operation") == self.operation
            && field("subresource") == self.subresource
    }

    pub(crate) fn entry(&self, fields: &fields::Fields, time: Value) -> Value {
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

pub(crate) fn entries(object: &Value) -> Vec<Value> {
    object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default()
}

/// Removes the changed fields from the entries of all other managers.
pub(crate) fn disown(entries: &mut Vec<Value>, owner: Owner<'_>, changed: &fields::Fields) {
    for entry in entries.iter_mut().filter(|entry| !owner.is(entry)) {
        let theirs = fields::from_v1(&entry["fieldsV1"]);
        if !theirs.is_disjoint(changed) {
            entry["fieldsV1"] = fields::to_v1(&theirs.difference(changed).cloned().collect());
        }
    }
    entries.retain(|entry| entry["fieldsV1"].as_object().is_none_or(|fields| !fields.is_empty()));
}
