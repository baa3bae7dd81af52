//! Turns the JSON schema of a Rust type into a structural schema as Kubernetes defines it: every node has a type or preserves
//! unknown fields, and there are no references and no alternatives.

use serde_json::{Map, Value, json};

/// A node of a schema.
type Node = Map<String, Value>;

/// Marks a node whose unknown fields the API server keeps instead of pruning them.
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
/// Marks a node that is a number or a string.
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// The keywords that types generate and a structural schema may have. All others are dropped, `default` among them: the API
/// server would write defaults into objects, where they would stay when the provider's default changes.
const KEYWORDS: [&str; 19] = [
    "description",
    "type",
    "format",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "nullable",
];

/// The formats that the API server knows; it warns about others, such as `uint32`.
const FORMATS: [&str; 15] = [
    "int32",
    "int64",
    "float",
    "double",
    "byte",
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "password",
    "uri",
    "uuid",
];

/// Makes a schema and everything below it structural.
pub(crate) fn structural(schema: &mut Value) {
    let Value::Object(node) = schema else {
        *schema = json!({PRESERVE: true});
        return;
    };
    merge_single_alternative(node);
    simplify_enum(node);
    simplify_type(node);
    node.retain(|key, _| KEYWORDS.contains(&key.as_str()) || key.starts_with("x-kubernetes-"));
    if node.get("format").is_some_and(|format| !FORMATS.iter().any(|known| format == known)) {
        node.remove("format");
    }
    simplify_children(node);
    let has_type = node.contains_key("type") || node.contains_key(INT_OR_STRING);
    if !has_type || node.contains_key("properties") {
        node.insert(PRESERVE.to_owned(), Value::Bool(true));
    }
}

/// `anyOf: [X, null]` (an optional X) and `allOf: [X]` become X. The outer description takes precedence over that of X.
fn merge_single_alternative(node: &mut Node) {
    for keyword in ["anyOf", "allOf", "oneOf"] {
        let Some(Value::Array(alternatives)) = node.get(keyword) else { continue };
        let mut others = alternatives.iter().filter(|schema| schema.get("type") != Some(&json!("null")));
        if let (Some(Value::Object(only)), None) = (others.next(), others.next()) {
            let only = only.clone();
            node.remove(keyword);
            for (key, value) in only {
                node.entry(key).or_insert(value);
            }
            return merge_single_alternative(node);
        }
    }
}

/// Variants with descriptions (`oneOf` of constants) become one `enum` of strings, without null.
fn simplify_enum(node: &mut Node) {
    if let Some(value) = node.remove("const") {
        node.insert("enum".to_owned(), json!([value]));
    }
    if let Some(Value::Array(variants)) = node.get("oneOf") {
        let values = |variant: &Value| match (variant.get("const"), variant.get("enum")) {
            (Some(value), _) => Some(vec![value.clone()]),
            (None, Some(Value::Array(values))) => Some(values.clone()),
            _ => None,
        };
        let values: Option<Vec<_>> = variants.iter().map(values).collect();
        if let Some(values) = values.map(|values| values.concat()).filter(|values| values.iter().all(Value::is_string))
        {
            node.insert("type".to_owned(), json!("string"));
            node.insert("enum".to_owned(), Value::Array(values));
        }
    }
    if let Some(Value::Array(values)) = node.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
}

/// `[string, null]` becomes `string`; a union of types cannot be expressed, so the node gets no type.
fn simplify_type(node: &mut Node) {
    let Some(Value::Array(types)) = node.get("type") else { return };
    let mut types = types.iter().filter(|name| *name != "null").cloned();
    match (types.next(), types.next()) {
        (Some(only), None) => node.insert("type".to_owned(), only),
        _ => node.remove("type"),
    };
}

fn simplify_children(node: &mut Node) {
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        properties.values_mut().for_each(structural);
        node.remove("additionalProperties");
        make_nullable(node);
    }
    if let Some(items) = node.get_mut("items") {
        structural(items);
    }
    match node.get_mut("additionalProperties") {
        Some(Value::Bool(_)) => {
            node.remove("additionalProperties");
            node.insert(PRESERVE.to_owned(), Value::Bool(true));
        }
        Some(values) => {
            structural(values);
            if let Some(values) = values.as_object_mut() {
                nullable(values);
            }
        }
        None => {}
    }
    if node.get("type") == Some(&json!("array")) && !node.contains_key("items") {
        node.insert("items".to_owned(), json!({PRESERVE: true}));
    }
}

/// Makes every optional field nullable, because YAML such as `tolerations:` with nothing after it is common.
fn make_nullable(node: &mut Node) {
    let required = node.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| required.as_array().is_some_and(|names| names.iter().any(|other| other == name));
    let Some(Value::Object(properties)) = node.get_mut("properties") else { return };
    for (name, property) in properties.iter_mut() {
        match property {
            Value::Object(property) if !is_required(name) => nullable(property),
            _ => {}
        }
    }
}

fn nullable(node: &mut Node) {
    if !node.contains_key("type") && !node.contains_key(INT_OR_STRING) {
        return;
    }
    node.insert("nullable".to_owned(), Value::Bool(true));
    // The API server checks null against an enum even if the field is nullable, but not against a pattern.
    if let Some(Value::Array(values)) = node.remove("enum") {
        let values = values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|");
        node.insert("pattern".to_owned(), Value::String(format!("^({values})$")));
    }
}
