//! Settings of a provider: the schema in its manifest, and what an administrator wrote. The schema comes from a stranger: it is one
//! piece, without references, so that checking settings takes no more time and depth than it is long, and its patterns run in
//! linear time.

use std::fmt;
use std::sync::Arc;

use bartizan_contract::field::FieldError;
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

/// Where the schema stands.
const SCHEMA: &str = "manifest.settings";
/// Where the settings stand.
const SETTINGS: &str = "spec.settings";

/// Keywords that lead to another schema.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// Keywords that hold a schema.
const ONE: [&str; 11] = [
    "items",
    "additionalItems",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
];
/// Keywords that hold a list of schemas.
const LISTS: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
/// Keywords that hold schemas by name.
const NAMED: [&str; 6] =
    ["properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"];

/// Longest message about one value: it may hold the value.
const LONGEST: usize = 200;

/// A schema of settings that is one.
#[derive(Clone)]
pub struct SettingsSchema {
    schema: Arc<Value>,
    validator: Arc<Validator>,
}

impl fmt::Debug for SettingsSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SettingsSchema({})", self.schema)
    }
}

impl SettingsSchema {
    /// Checks the schema of a manifest.
    ///
    /// # Errors
    /// What is wrong with it, and where: paths begin at `manifest.settings`.
    pub fn new(schema: &Value) -> Result<Self, FieldError> {
        if schema.get("type") != Some(&Value::from("object")) {
            return Err(FieldError::new(
                SCHEMA,
                "must be a JSON schema with \"type\": \"object\", as settings are one",
            ));
        }
        refuse_references(schema, SCHEMA)?;
        let validator = validator(schema, SCHEMA)?;
        check_defaults(schema, SCHEMA)?;
        Ok(Self { schema: Arc::new(schema.clone()), validator: Arc::new(validator) })
    }

    /// What the provider is given: the settings, and defaults where the schema has some and nothing was set.
    ///
    /// # Errors
    /// Everything that does not fit; paths begin at `spec.settings`.
    pub fn resolve(&self, settings: &Map<String, Value>) -> Result<Map<String, Value>, Vec<FieldError>> {
        let mut value = Value::Object(settings.clone());
        fill_in(&mut value, &self.schema);
        let errors: Vec<FieldError> = self.validator.iter_errors(&value).flat_map(|error| told(&error)).collect();
        match value {
            Value::Object(settings) if errors.is_empty() => Ok(settings),
            _ => Err(errors),
        }
    }
}

fn validator(schema: &Value, path: &str) -> Result<Validator, FieldError> {
    jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| FieldError::new(at(path, error.instance_path()), said(&error)))
}

/// Schemas within a schema, each with its path.
fn parts<'a>(schema: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    let lists = LISTS.iter().filter_map(|keyword| Some((keyword, schema.get(keyword)?.as_array()?)));
    let lists = lists.flat_map(|(keyword, list)| {
        list.iter().enumerate().map(move |(index, part)| (format!("{path}.{keyword}[{index}]"), part))
    });
    let named = NAMED.iter().filter_map(|keyword| Some((keyword, schema.get(keyword)?.as_object()?)));
    let named = named.flat_map(|(keyword, parts)| {
        parts.iter().map(move |(name, part)| (below(&format!("{path}.{keyword}"), name), part))
    });
    let one = ONE.iter().filter_map(|keyword| Some((format!("{path}.{keyword}"), schema.get(keyword)?)));
    one.chain(lists).chain(named).filter(|(_, part)| part.is_object()).collect()
}

fn refuse_references(schema: &Value, path: &str) -> Result<(), FieldError> {
    if let Some(keyword) = REFERENCES.iter().find(|keyword| schema.get(keyword).is_some()) {
        let message = "is not supported: write the schema that it leads to in its place";
        return Err(FieldError::new(format!("{path}.{keyword}"), message));
    }
    parts(schema, path).into_iter().try_for_each(|(path, part)| refuse_references(part, &path))
}

/// A default that its own schema refuses would make every Provider wrong that says nothing.
fn check_defaults(schema: &Value, path: &str) -> Result<(), FieldError> {
    for (name, property) in properties(schema) {
        let Some(default) = default(property) else { continue };
        let path = below(&format!("{path}.properties"), name);
        let mut value = default.clone();
        fill_in(&mut value, property);
        if let Some(error) = validator(property, &path)?.iter_errors(&value).next() {
            return Err(FieldError::new(at(&format!("{path}.default"), error.instance_path()), said(&error)));
        }
    }
    parts(schema, path).into_iter().try_for_each(|(path, part)| check_defaults(part, &path))
}

/// As the API server does it by the schema of a CRD: in objects that are there, in lists and in maps, never by what stands in
/// `anyOf` and the like.
fn fill_in(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, property) in properties(schema) {
                let is_missing = match fields.get(name) {
                    None => true,
                    Some(value) => value.is_null() && !takes_null(property),
                };
                if let Some(default) = default(property).filter(|_| is_missing) {
                    fields.insert(name.clone(), default.clone());
                }
            }
            let others = schema.get("additionalProperties").unwrap_or(&Value::Null);
            for (name, value) in fields {
                let known = schema.get("properties").and_then(|properties| properties.get(name));
                fill_in(value, known.unwrap_or(others));
            }
        }
        Value::Array(elements) => {
            if let Some(items) = schema.get("items") {
                elements.iter_mut().for_each(|element| fill_in(element, items));
            }
        }
        _ => {}
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// `null` is what schemars writes for an `Option`: nothing is set then.
fn default(schema: &Value) -> Option<&Value> {
    schema.get("default").filter(|default| !default.is_null())
}

fn takes_null(schema: &Value) -> bool {
    match schema.get("type") {
        None => true,
        Some(Value::Array(types)) => types.iter().any(|name| name == "null"),
        Some(name) => name == "null",
    }
}

/// What is wrong with settings, in the words of the schema, or, of fields, in those that people know from Kubernetes.
fn told(error: &ValidationError<'_>) -> Vec<FieldError> {
    let path = at(SETTINGS, error.instance_path());
    let field = |name: &str, message: &str| FieldError::new(below(&path, name), message);
    match error.kind() {
        ValidationErrorKind::Required { property: Value::String(name) } => vec![field(name, "is required")],
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().map(|name| field(name, "there is no such setting")).collect()
        }
        _ => vec![FieldError::new(path, said(error))],
    }
}

fn said(error: &ValidationError<'_>) -> String {
    let text = error.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let short: String = error.masked().to_string().chars().take(LONGEST).collect();
    format!("the {short}")
}

fn at(root: &str, location: &Location) -> String {
    location.segments().fold(root.to_owned(), |path, segment| match segment {
        LocationSegment::Property(name) => below(&path, &name),
        LocationSegment::Index(index) => format!("{path}[{index}]"),
    })
}

fn below(path: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$');
    if !name.is_empty() && name.chars().all(is_plain) { format!("{path}.{name}") } else { format!("{path}[{name:?}]") }
}

#[cfg(test)]
mod tests;
