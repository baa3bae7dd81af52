//! The CustomResourceDefinition of a Provider, generated from its types. Their schema is made structural (every node has a type, no
//! references, no alternatives), with validation rules for what a schema cannot express. There are no defaults, because the API
//! server would persist them in objects.

use schemars::generate::SchemaSettings;
use schemars::transform::{RestrictFormats, Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::spec::ProviderSpec;
use super::status::{ProviderStatus, condition_types};
use crate::field::{DNS_LABEL, DNS_LABEL_LENGTH};
use crate::names::{PROVIDER_GROUP, PROVIDER_KIND, PROVIDER_PLURAL};

/// The formats in the schema that the API server knows.
const FORMATS: [&str; 3] = ["int32", "int64", "date-time"];

/// The whole `apiextensions.k8s.io/v1` definition.
#[must_use]
pub fn crd() -> Value {
    let column = |name: &str, type_: &str, path: &str| json!({"name": name, "type": type_, "jsonPath": path});
    let condition = |name: &str, type_: &str| {
        column(name, "string", &format!(r#".status.conditions[?(@.type=="{type_}")].status"#))
    };
    let wide = |mut column: serde_json::Value| {
        column["priority"] = json!(1);
        column
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{PROVIDER_PLURAL}.{PROVIDER_GROUP}")},
        "spec": {
            "group": PROVIDER_GROUP,
            "scope": "Cluster",
            "names": {
                "kind": PROVIDER_KIND,
                "listKind": format!("{PROVIDER_KIND}List"),
                "plural": PROVIDER_PLURAL,
                "singular": PROVIDER_KIND.to_ascii_lowercase(),
                "categories": ["bartizan"],
            },
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    condition("Ready", condition_types::READY),
                    column("Version", "string", ".status.active.version"),
                    column("Parents", "integer", ".status.parents"),
                    condition("Held", condition_types::UPGRADE_HELD),
                    column("Age", "date", ".metadata.creationTimestamp"),
                    wide(condition("Serving", condition_types::SERVING)),
                    wide(column("Digest", "string", ".status.active.digest")),
                ],
                "schema": {"openAPIV3Schema": {
                    "description": "A provider as an administrator declares it: its module, its grants and its \
                                    limits.",
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        // The name is part of labels and of the field manager.
                        "metadata": {"type": "object", "properties": {
                            "name": {"type": "string", "maxLength": DNS_LABEL_LENGTH, "pattern": DNS_LABEL},
                        }},
                        "spec": schema::<ProviderSpec>(),
                        "status": schema::<ProviderStatus>(),
                    },
                }},
            }],
        },
    })
}

fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().for_deserialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
        // The API server warns about formats that it does not know, such as `uint32`.
        let mut formats = RestrictFormats::default();
        formats.infer_from_meta_schema = false;
        formats.allowed_formats = FORMATS.into_iter().map(Into::into).collect();
        settings.transforms = vec![Box::new(Structural), Box::new(formats)];
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Removes what types generate but structural schemas may not contain: null beside a type (fields are omitted instead),
/// alternatives that are only names, and closed objects (the API server drops and reports unknown fields anyway).
#[derive(Clone, Debug)]
struct Structural;

impl Transform for Structural {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(node) = schema.as_object_mut() {
            only_alternative(node);
            names(node);
            if let Some(Value::Array(types)) = node.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    node.insert("type".to_owned(), only);
                }
            }
            if node.get("additionalProperties") == Some(&Value::Bool(false)) {
                node.remove("additionalProperties");
            }
            for keyword in ["$schema", "title", "default", "examples", "const"] {
                node.remove(keyword);
            }
            for text in node.get_mut("description").into_iter() {
                *text = Value::String(text.as_str().unwrap_or_default().replace('\n', " "));
            }
        }
        transform_subschemas(self, schema);
    }
}

/// `anyOf: [X, null]` becomes X. Keywords beside it take precedence over those of X.
fn only_alternative(node: &mut Map<String, Value>) {
    let Some(Value::Array(alternatives)) = node.get("anyOf") else { return };
    let is_null = |schema: &&Value| schema.get("type") == Some(&json!("null"));
    let mut others = alternatives.iter().filter(|schema| !is_null(schema));
    if let (Some(Value::Object(only)), None) = (others.next(), others.next()) {
        let only = only.clone();
        node.remove("anyOf");
        for (key, value) in only {
            node.entry(key).or_insert(value);
        }
    }
}

/// Names with descriptions (`oneOf` of constants) become an `enum` of names.
fn names(node: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = node.get("oneOf") else { return };
    let names: Option<Vec<Value>> = variants.iter().map(|variant| variant.get("const").cloned()).collect();
    if let Some(names) = names {
        node.remove("oneOf");
        node.insert("type".to_owned(), json!("string"));
        node.insert("enum".to_owned(), Value::Array(names));
    }
}
