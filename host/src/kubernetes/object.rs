//! Objects of the API as the engine sees them.

use bartizan_engine::Observed;
use bartizan_engine::object::Projection;
use kube::core::DynamicObject;

/// An object as the engine sees it. Watches and writes take the same way, or an object would look different by the way it
/// came, and that difference would look like drift.
///
/// # Errors
/// If it is no stored object.
pub(crate) fn project(object: DynamicObject, projection: &Projection) -> Result<Observed, String> {
    let value = serde_json::to_value(&object).map_err(|error| error.to_string())?;
    Observed::project_for(value, projection).map_err(|error| error.to_string())
}
