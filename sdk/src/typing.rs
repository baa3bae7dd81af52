//! Deserializes a parent's spec: an explicit null is an absent field, errors have the path of the field as users write it, unknown
//! fields are collected, and quantities may be written as numbers.

mod deserializer;
mod error;
mod path;

use std::cell::RefCell;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::Fault;
use deserializer::Node;
use path::Path;

/// A value, and the paths of the fields that its type does not know, in the order of their names.
#[derive(Debug)]
pub(crate) struct Typed<T> {
    pub(crate) value: T,
    pub(crate) unknown_fields: Vec<String>,
}

/// Deserializes the value of the field `root`.
pub(crate) fn typed<T: DeserializeOwned>(root: &'static str, value: &Value) -> Result<Typed<T>, Fault> {
    let empty = Value::Object(serde_json::Map::new());
    let value = if value.is_null() { &empty } else { value };
    let unknown = RefCell::new(Vec::new());
    let root = Path::Root(root);
    let value = T::deserialize(Node { value, path: &root, unknown: &unknown });
    let value = value.map_err(|error| error.into_fault(&root))?;
    Ok(Typed { value, unknown_fields: unknown.into_inner() })
}

#[cfg(test)]
mod tests;
