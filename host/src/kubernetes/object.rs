//! Converts objects of the API to those of the engine.

use bartizan_engine::Observed;
use bartizan_engine::object::Projection;
use kube::core::DynamicObject;

/// Projects an object for the engine. Watches and responses to writes both use this: otherwise an object would differ by how it was
/// received, which would look like drift.
///
/// # Errors
/// If it is not a stored object.
pub(crate) fn project(object: DynamicObject, projection: &Projection) -> Result<Observed, String> {
    let value = serde_json::to_value(&object).map_err(|error| error.to_string())?;
    Observed::project_for(value, projection).map_err(|error| error.to_string())
}
