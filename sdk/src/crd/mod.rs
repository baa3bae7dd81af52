//! The CustomResourceDefinition of a parent.

mod structural;

use serde_json::{Map, Value, json};

use crate::{Column, ParentKind, Scope};
pub(crate) use structural::structural;

/// The schema of conditions, as text: a module that only reads it is smaller than one that builds it.
const CONDITIONS: &str = include_str!("conditions.json");

/// The whole definition, `apiextensions.k8s.io/v1`, from the schemas of spec and status.
pub(crate) fn definition(parent: &ParentKind, spec: Value, status: Option<Value>) -> Value {
    let scope = match parent.scope {
        Scope::Namespaced => "Namespaced",
        Scope::Cluster => "Cluster",
    };
    let mut names = json!({
        "kind": parent.kind,
        "listKind": format!("{}List", parent.kind),
        "plural": parent.plural,
        "singular": parent.kind.to_ascii_lowercase(),
    });
    if !parent.short_names.is_empty() {
        names["shortNames"] = json!(parent.short_names);
    }
    let mut version = json!({
        "name": parent.version,
        "served": true,
        "storage": true,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": root(parent, spec, status)},
    });
    if !parent.columns.is_empty() {
        version["additionalPrinterColumns"] = parent.columns.iter().map(column).collect();
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", parent.plural, parent.group)},
        "spec": {"group": parent.group, "scope": scope, "names": names, "versions": [version]},
    })
}

fn root(parent: &ParentKind, spec: Value, status: Option<Value>) -> Value {
    let metadata = match parent.names {
        None => json!({"type": "object"}),
        Some(rule) => json!({
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": rule.max_length, "pattern": rule.pattern}},
        }),
    };
    json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": metadata,
            "spec": spec,
            "status": with_conditions(status),
        },
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// The status as every parent has it: written by provider and host, each with conditions of its own, hence a map by type.
fn with_conditions(status: Option<Value>) -> Value {
    let mut status = status.unwrap_or_else(|| json!({"type": "object"}));
    if let Value::Object(node) = &mut status {
        let properties = node.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(properties) = properties {
            properties.insert("conditions".to_owned(), serde_json::from_str(CONDITIONS).unwrap_or_default());
        }
        node.insert("x-kubernetes-preserve-unknown-fields".to_owned(), Value::Bool(true));
    }
    status
}

fn column(column: &Column) -> Value {
    let mut value = json!({"name": column.name, "type": column.type_, "jsonPath": column.path});
    if column.wide {
        value["priority"] = json!(1);
    }
    value
}
