//! Settings of a provider: the schema in its manifest, and the values that an administrator sets. The schema is untrusted: it has no
//! references, so that checking settings takes time and depth in proportion to its length, and its patterns run in linear time.

use std::fmt;
use std::sync::Arc;

use bartizan_contract::field::FieldError;
use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

/// Path of the schema.
const SCHEMA: &str = "manifest.settings";
/// Path of the settings.
const SETTINGS: &str = "spec.settings";

/// Keywords that refer to another schema.
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

/// Longest message about one value, in characters: it may quote the value.
const LONGEST: usize = 200;

/// A valid schema of settings.
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
    /// The first field that is wrong; paths begin at `manifest.settings`.
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

    /// The settings that the provider receives: those that are set, and the schema's defaults for the others.
    ///
    /// # Errors
    /// Every field that is wrong; paths begin at `spec.settings`.
    pub fn resolve(&self, settings: &Map<String, Value>) -> Result<Map<String, Value>, Vec<FieldError>> {
        let mut value = Value::Object(settings.clone());
        fill_in(&mut value, &self.schema);
        let errors: Vec<FieldError> =
            self.validator.iter_errors(&value).flat_map(|error| field_errors(&error)).collect();
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
        .map_err(|error| FieldError::new(at(path, error.instance_path()), message(&error)))
}

/// Schemas within a schema, each with its path.
fn parts<'a>(schema: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    let lists = LISTS.iter().filter_map(|keyword| Some((keyword, schema.get(keyword)?.as_array()?)));
    let lists = lists.flat_map(|(keyword, list)| {
        list.iter().enumerate().map(move |(index, part)| (format!("{path}.{keyword}[{index}]"), part))
    });
    let named = NAMED.iter().filter_map(|keyword| Some((keyword, schema.get(keyword)?.as_object()?)));
    let named = named.flat_map(|(keyword, parts)| {
        parts.iter().map(move |(name, part)| (child_path(&format!("{path}.{keyword}"), name), part))
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

/// A default that its own schema refuses would make every Provider invalid that does not set the field.
fn check_defaults(schema: &Value, path: &str) -> Result<(), FieldError> {
    for (name, property) in properties(schema) {
        let Some(default) = default(property) else { continue };
        let path = child_path(&format!("{path}.properties"), name);
        let mut value = default.clone();
        fill_in(&mut value, property);
        if let Some(error) = validator(property, &path)?.iter_errors(&value).next() {
            return Err(FieldError::new(at(&format!("{path}.default"), error.instance_path()), message(&error)));
        }
    }
    parts(schema, path).into_iter().try_for_each(|(path, part)| check_defaults(part, &path))
}

/// Fills in defaults as the API server does by the schema of a CRD: in objects that are present, in lists and in maps, and never from
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

/// schemars writes `null` as the default of an `Option`, which means that there is none.
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

/// What is wrong with settings: for missing and unknown fields in the words of Kubernetes, otherwise in those of the schema.
fn field_errors(error: &ValidationError<'_>) -> Vec<FieldError> {
    let path = at(SETTINGS, error.instance_path());
    let field = |name: &str, message: &str| FieldError::new(child_path(&path, name), message);
    match error.kind() {
        ValidationErrorKind::Required { property: Value::String(name) } => vec![field(name, "is required")],
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().map(|name| field(name, "there is no such setting")).collect()
        }
        _ => vec![FieldError::new(path, message(error))],
    }
}

fn message(error: &ValidationError<'_>) -> String {
    let text = error.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let short: String = error.masked().to_string().chars().take(LONGEST).collect();
    format!("the {short}")
}

fn at(root: &str, location: &Location) -> String {
    location.segments().fold(root.to_owned(), |path, segment| match segment {
        LocationSegment::Property(name) => child_path(&path, &name),
        LocationSegment::Index(index) => format!("{path}[{index}]"),
    })
}

fn child_path(path: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$');
    if !name.is_empty() && name.chars().all(is_plain) { format!("{path}.{name}") } else { format!("{path}[{name:?}]") }
}

#[cfg(test)]
mod tests;
