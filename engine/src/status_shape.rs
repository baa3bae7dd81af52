//! What room the CustomResourceDefinition of a parent has for a status. The API server refuses an apply of fields that its schema does
//! not declare, so that a status is cut to what fits, and the rest is said by events.

use serde_json::{Map, Value};

/// What room there is for the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionsRoom {
    /// None.
    None,
    /// A map by type: each writer owns its own.
    Map,
    /// A list that is written as a whole, with what others wrote.
    Atomic,
}

/// The status of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusShape {
    /// Whether it is a subresource. If not, a write of the status raises the generation, which then says nothing about the spec.
    pub is_subresource: bool,
    /// The schema of the status; `None`: there is no room for one.
    schema: Option<Value>,
}

impl Default for StatusShape {
    /// A subresource without limits, with conditions as the API conventions have them.
    fn default() -> Self {
        let conditions = serde_json::json!({
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        });
        let schema = serde_json::json!({
            "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"conditions": conditions},
        });
        Self { is_subresource: true, schema: Some(schema) }
    }
}

impl StatusShape {
    /// The shape that a version of a CustomResourceDefinition declares (an item of `spec.versions`).
    #[must_use]
    pub fn of(version: &Value) -> Self {
        let is_subresource = version.pointer("/subresources/status").is_some_and(|status| !status.is_null());
        let root = version.pointer("/schema/openAPIV3Schema").unwrap_or(&Value::Null);
        let declared = root.pointer("/properties/status").cloned();
        let schema = declared.or_else(|| preserves(root).then(|| serde_json::json!({PRESERVES: true})));
        Self { is_subresource, schema }
    }

    /// Whether there is room for anything.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.schema.is_some()
    }

    /// What room there is for conditions.
    #[must_use]
    pub fn conditions(&self) -> ConditionsRoom {
        let Some(schema) = &self.schema else { return ConditionsRoom::None };
        let Some(conditions) = schema.pointer("/properties/conditions") else {
            return if preserves(schema) { ConditionsRoom::Atomic } else { ConditionsRoom::None };
        };
        let is_list = conditions.get("type").and_then(Value::as_str) == Some("array");
        let is_map = conditions.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map");
        let by_type = conditions.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        let by_type = by_type.is_some_and(|keys| keys.len() == 1 && keys.iter().all(|key| key == "type"));
        match (is_list || preserves(conditions), is_map && by_type) {
            (false, _) => ConditionsRoom::None,
            (true, true) => ConditionsRoom::Map,
            (true, false) if is_map => ConditionsRoom::None,
            (true, false) => ConditionsRoom::Atomic,
        }
    }

    /// Fields that every status of the kind must have: one with the host's conditions alone is refused then.
    #[must_use]
    pub fn required(&self) -> Vec<&str> {
        let required = self.schema.as_ref().and_then(|schema| schema.get("required")).and_then(Value::as_array);
        required.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The part of a status that there is room for. `live` is the status as the API server holds it, and `ours` the types of the
    /// conditions that this host wrote: of a list that is written as a whole, those of others are kept.
    #[must_use]
    pub fn fit(&self, mut status: Value, live: &Value, ours: &[String]) -> Value {
        let Some(schema) = &self.schema else { return Value::Object(Map::new()) };
        let room = self.conditions();
        if let Some(fields) = status.as_object_mut() {
            if room == ConditionsRoom::None {
                fields.remove("conditions");
            }
            if !self.is_subresource {
                fields.remove("observedGeneration");
            }
            if let Some(Value::Array(conditions)) = fields.get_mut("conditions") {
                if !self.is_subresource {
                    for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
                        condition.remove("observedGeneration");
                    }
                }
                if room == ConditionsRoom::Atomic {
                    *conditions = beside_others(std::mem::take(conditions), live, ours);
                }
            }
        }
        cut(&mut status, schema);
        status
    }
}

const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";

fn preserves(schema: &Value) -> bool {
    schema.get(PRESERVES) == Some(&Value::Bool(true))
}

fn type_of(condition: &Value) -> Option<&str> {
    condition.get("type").and_then(Value::as_str)
}

/// The conditions that others wrote, in their order, and ours at the places where they were, or behind.
fn beside_others(mut wanted: Vec<Value>, live: &Value, ours: &[String]) -> Vec<Value> {
    let mut list = Vec::new();
    for condition in live.get("conditions").and_then(Value::as_array).into_iter().flatten() {
        let type_ = type_of(condition);
        match wanted.iter().position(|wanted| type_of(wanted) == type_) {
            Some(position) => list.push(wanted.remove(position)),
            None if type_.is_some_and(|type_| ours.iter().any(|own| own == type_)) => {}
            None => list.push(condition.clone()),
        }
    }
    list.append(&mut wanted);
    list
}

/// Removes what the schema does not declare, as the API server prunes.
fn cut(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties").filter(|additional| **additional != Value::Bool(false));
            // An embedded object has fields that no schema declares.
            let keeps_all =
                preserves(schema) || schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
            fields.retain(|name, field| match (properties.and_then(|properties| properties.get(name)), additional) {
                (Some(property), _) => {
                    cut(field, property);
                    true
                }
                (None, Some(additional)) => {
                    cut(field, additional);
                    true
                }
                (None, None) => keeps_all,
            });
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| cut(item, schema));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn shape(subresource: bool, status: &Value) -> StatusShape {
        let subresources = if subresource { json!({"status": {}}) } else { json!({}) };
        let schema = json!({"type": "object", "properties": {"status": status}});
        StatusShape::of(&json!({"name": "v1", "subresources": subresources, "schema": {"openAPIV3Schema": schema}}))
    }

    fn conditions(more: &Value) -> Value {
        let mut list = json!({"type": "array", "items": {"type": "object", "properties": {
            "type": {"type": "string"}, "status": {"type": "string"}, "observedGeneration": {"type": "integer"},
        }}});
        for (field, value) in more.as_object().into_iter().flatten() {
            list[field] = value.clone();
        }
        json!({"type": "object", "properties": {"conditions": list, "ready": {"type": "boolean"}}})
    }

    #[rstest]
    #[case::map(json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}), ConditionsRoom::Map)]
    #[case::no_map(json!({}), ConditionsRoom::Atomic)]
    #[case::atomic(json!({"x-kubernetes-list-type": "atomic"}), ConditionsRoom::Atomic)]
    #[case::map_by_other_keys(
        json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type", "scope"]}),
        ConditionsRoom::None
    )]
    #[case::no_list(json!({"type": "string"}), ConditionsRoom::None)]
    fn conditions_have_the_room_that_the_schema_declares(#[case] list: Value, #[case] expected: ConditionsRoom) {
        assert_eq!(shape(true, &conditions(&list)).conditions(), expected);
    }

    #[test]
    fn a_status_is_cut_to_what_the_schema_declares() {
        let status = json!({
            "ready": true, "unknown": 1, "observedGeneration": 2,
            "conditions": [{"type": "Synced", "status": "True", "observedGeneration": 2, "reason": "Applied"}],
        });
        let fit = |shape: &StatusShape| shape.fit(status.clone(), &Value::Null, &[]);
        let map = json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]});
        let cut = json!({"ready": true, "conditions": [{"type": "Synced", "status": "True", "observedGeneration": 2}]});
        assert_eq!(fit(&shape(true, &conditions(&map))), cut);
        // Without a subresource, a write raises the generation.
        let without = json!({"ready": true, "conditions": [{"type": "Synced", "status": "True"}]});
        assert_eq!(fit(&shape(false, &conditions(&map))), without);
        let ready_alone = json!({"type": "object", "properties": {"ready": {"type": "boolean"}}});
        assert_eq!(fit(&shape(true, &ready_alone)), json!({"ready": true}));
        let preserving = shape(true, &json!({"type": "object", PRESERVES: true}));
        assert_eq!((preserving.conditions(), fit(&preserving)), (ConditionsRoom::Atomic, status.clone()));
        let none = StatusShape::of(&json!({"schema": {"openAPIV3Schema": {"type": "object"}}}));
        assert_eq!((none.conditions(), fit(&none)), (ConditionsRoom::None, json!({})));
        assert_eq!(fit(&StatusShape::default()), status);
    }

    #[test]
    fn a_list_that_is_written_as_a_whole_keeps_what_others_wrote() {
        let shape = shape(true, &conditions(&json!({})));
        let condition = |type_: &str, status: &str| json!({"type": type_, "status": status});
        let live = json!({"conditions": [condition("Theirs", "True"), condition("Synced", "False"), condition("Old", "True")]});
        let wanted = json!({"conditions": [condition("Ready", "True"), condition("Synced", "True")]});
        let ours = ["Synced".to_owned(), "Old".to_owned()];
        let expected = [condition("Theirs", "True"), condition("Synced", "True"), condition("Ready", "True")];
        assert_eq!(shape.fit(wanted, &live, &ours), json!({"conditions": expected}));
    }

    #[test]
    fn what_a_status_must_have_is_known() {
        let status = json!({"type": "object", "required": ["phase"], "properties": {"phase": {"type": "string"}}});
        assert_eq!(shape(true, &status).required(), ["phase"]);
        assert!(StatusShape::default().required().is_empty());
    }
}
