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
        Self { is_subresource, schema: schema.as_ref().map(structure) }
    }

    /// Whether the status of a condition may be `Unknown`.
    #[must_use]
    pub fn takes_unknown(&self) -> bool {
        let status = "/properties/conditions/items/properties/status/enum";
        let values = self.schema.as_ref().and_then(|schema| schema.pointer(status)).and_then(Value::as_array);
        values.is_none_or(|values| values.iter().any(|value| value == "Unknown"))
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
        match (is_list, is_map && by_type) {
            _ if !holds_a_condition(conditions) => ConditionsRoom::None,
            (true, true) => ConditionsRoom::Map,
            (true, false) if !is_map => ConditionsRoom::Atomic,
            _ => ConditionsRoom::None,
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
        if let (ConditionsRoom::None, Some(fields)) = (room, status.as_object_mut()) {
            fields.remove("conditions");
        }
        if !self.is_subresource {
            without_generation(&mut status);
        }
        if let (ConditionsRoom::Atomic, Some(Value::Array(conditions))) = (room, status.get_mut("conditions")) {
            *conditions = beside_others(std::mem::take(conditions), live, ours);
        }
        cut(&mut status, schema);
        status
    }
}

const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";

fn preserves(schema: &Value) -> bool {
    schema.get(PRESERVES) == Some(&Value::Bool(true))
}

/// The keywords of a schema that say what there is room for, without descriptions and validations.
fn structure(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let kept = fields.iter().filter_map(|(keyword, value)| {
        let value = match keyword.as_str() {
            "properties" => value.as_object()?.iter().map(|(name, field)| (name.clone(), structure(field))).collect(),
            "items" | "additionalProperties" => structure(value),
            "type"
            | "enum"
            | "required"
            | "x-kubernetes-list-type"
            | "x-kubernetes-list-map-keys"
            | PRESERVES
            | EMBEDDED => value.clone(),
            _ => return None,
        };
        Some((keyword.clone(), value))
    });
    Value::Object(kept.collect())
}

/// Whether the items of a list keep what makes a condition, and require nothing else.
fn holds_a_condition(list: &Value) -> bool {
    let items = list.get("items").unwrap_or(&Value::Null);
    let is_object = items.get("type").and_then(Value::as_str) == Some("object");
    let has = |field: &str| preserves(items) || items.pointer(&format!("/properties/{field}")).is_some();
    let known = ["type", "status", "reason", "message", "lastTransitionTime"];
    let required = items.get("required").and_then(Value::as_array).into_iter().flatten();
    let requires_more = required.filter_map(Value::as_str).any(|field| !known.contains(&field));
    is_object && has("type") && has("status") && !requires_more
}

/// A write of a status that is no subresource raises the generation: what repeats that would be written for ever.
fn without_generation(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("observedGeneration");
            fields.values_mut().for_each(without_generation);
        }
        Value::Array(items) => items.iter_mut().for_each(without_generation),
        _ => {}
    }
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
            let keeps_all = preserves(schema) || schema.get(EMBEDDED) == Some(&Value::Bool(true));
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
    #[case::of_strings(json!({"items": {"type": "string"}}), ConditionsRoom::None)]
    #[case::of_objects_without_a_type(json!({"items": {"type": "object"}}), ConditionsRoom::None)]
    #[case::of_objects_that_require_more(
        json!({"items": {"type": "object", PRESERVES: true, "required": ["type", "severity"]}}),
        ConditionsRoom::None
    )]
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
    fn descriptions_and_validations_make_no_other_shape() {
        let plain = json!({"type": "object", "properties": {"ready": {"type": "boolean"}}});
        let described =
            json!({"type": "object", "description": "x", "properties": {"ready": {"type": "boolean", "title": "y"}}});
        assert_eq!(shape(true, &plain), shape(true, &described));
        assert_ne!(shape(true, &plain), shape(false, &plain));
    }

    #[test]
    fn without_a_subresource_no_generation_is_repeated_at_any_depth() {
        let shape = shape(false, &json!({"type": "object", PRESERVES: true}));
        let status = json!({"parts": [{"observedGeneration": 7, "ready": true}], "observedGeneration": 7});
        assert_eq!(shape.fit(status, &Value::Null, &[]), json!({"parts": [{"ready": true}]}));
    }

    #[test]
    fn what_a_status_must_have_is_known() {
        let status = json!({"type": "object", "required": ["phase"], "properties": {"phase": {"type": "string"}}});
        assert_eq!(shape(true, &status).required(), ["phase"]);
        assert!(StatusShape::default().required().is_empty());
    }
}
