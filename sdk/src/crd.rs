//! The CustomResourceDefinition of a parent.

mod structural;

use serde_json::{Map, Value};

use crate::json::object;
use crate::json::{WriteJson, list, optional, to_text};
use crate::kind::{Column, ParentKind, Scope};
pub(crate) use structural::structural;

/// The schema of conditions as text: parsing it takes less code than building it.
const CONDITIONS: &str = include_str!("crd/conditions.json");

/// The whole `apiextensions.k8s.io/v1` definition, from the schemas of spec and status.
pub(crate) fn definition(parent: &ParentKind, spec: &Value, status: Option<Value>) -> Value {
    let scope = match parent.scope {
        Scope::Namespaced => "Namespaced",
        Scope::Cluster => "Cluster",
    };
    let names = object!({
        "kind": parent.kind,
        "listKind": format!("{}List", parent.kind),
        "plural": parent.plural,
        "singular": parent.kind.to_ascii_lowercase(),
        "shortNames": (!parent.short_names.is_empty()).then_some(parent.short_names),
    });
    let root = root(parent, spec, status);
    let version = object!({
        "name": parent.version,
        "served": true,
        "storage": true,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": root},
        "additionalPrinterColumns": columns(parent.columns),
    });
    let definition = object!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", parent.plural, parent.group)},
        "spec": {"group": parent.group, "scope": scope, "names": names, "versions": [version]},
    });
    to_text(&definition).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn root(parent: &ParentKind, spec: &Value, status: Option<Value>) -> impl WriteJson {
    let name = parent
        .names
        .map(|rule| object!({"name": {"type": "string", "maxLength": rule.max_length, "pattern": rule.pattern}}));
    let name = optional(name);
    let status = with_conditions(status);
    object!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": name},
            "spec": spec,
            "status": status,
        },
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// Adds the conditions to the schema of the status. They are a map by type, since provider and host each own some of them. Nothing
/// is required: the host must be able to say why there is no status of the provider's yet.
fn with_conditions(status: Option<Value>) -> Value {
    let mut status = status.unwrap_or_else(|| Value::Object(Map::new()));
    remove_required(&mut status);
    if let Value::Object(node) = &mut status {
        let properties = node.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(properties) = properties {
            properties.insert("conditions".to_owned(), serde_json::from_str(CONDITIONS).unwrap_or_default());
        }
        node.insert("type".to_owned(), Value::String("object".to_owned()));
        node.insert("x-kubernetes-preserve-unknown-fields".to_owned(), Value::Bool(true));
    }
    status
}

fn remove_required(schema: &mut Value) {
    match schema {
        Value::Object(node) => {
            // A property of that name has a schema, which is no list.
            if node.get("required").is_some_and(Value::is_array) {
                node.remove("required");
            }
            node.values_mut().for_each(remove_required);
            // The API server wants the keys of a list that is a map.
            let keys = node.get("x-kubernetes-list-map-keys").cloned();
            if let (Some(keys), Some(Value::Object(items))) = (keys, node.get_mut("items")) {
                items.insert("required".to_owned(), keys);
            }
        }
        Value::Array(nodes) => nodes.iter_mut().for_each(remove_required),
        _ => {}
    }
}

fn columns(columns: &[Column]) -> impl WriteJson {
    let column = |column: &Column| {
        let Column { name, type_, path, wide } = *column;
        object!({"name": name, "type": type_, "jsonPath": path, "priority": wide.then_some(1)})
    };
    optional((!columns.is_empty()).then(|| list(columns.iter().map(column))))
}
