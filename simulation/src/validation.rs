//! What the API server in memory refuses (422).

use bartizan_engine::{ApiError, InvalidField};
use serde_json::Value;

/// Validates an update: the data of a ConfigMap that is marked immutable, and the address of a Service, are immutable.
pub(crate) fn validate_update(before: &Value, object: &Value) -> Result<(), ApiError> {
    let changes = |field: &str| before.pointer(field) != object.pointer(field);
    let invalid = |field: &str, message: &str| {
        Err(ApiError::Invalid { message: format!("{field}: {message}"), fields: vec![invalid_field(field)] })
    };
    match before["kind"].as_str() {
        Some("ConfigMap") if before["immutable"] == true && (changes("/data") || changes("/immutable")) => {
            invalid("data", "field is immutable when `immutable` is set")
        }
        Some("Service") if changes("/spec/clusterIP") => invalid("spec.clusterIP", "may not change once set"),
        _ => Ok(()),
    }
}

fn invalid_field(path: &str) -> InvalidField {
    InvalidField { path: path.to_owned(), is_forbidden: true }
}

/// Validates metadata, for every kind, and the keys of a ConfigMap.
pub(crate) fn validate(object: &Value) -> Result<(), ApiError> {
    let data = object["data"].as_object().into_iter().flatten();
    let is_bad = |key: &&String| {
        key.contains(|character: char| !character.is_ascii_alphanumeric() && !"-_.".contains(character))
    };
    if let Some(key) = data.map(|(key, _)| key).find(is_bad) {
        let field = format!("data[{key}]");
        let message = format!("{field}: not a valid config map key");
        return Err(ApiError::Invalid { message, fields: vec![invalid_field(&field)] });
    }
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    if owners.filter(|owner| owner["controller"] == true).count() > 1 {
        let message = "metadata.ownerReferences: Only one reference can have Controller set to true";
        let fields = vec![invalid_field("metadata.ownerReferences")];
        return Err(ApiError::Invalid { message: message.to_owned(), fields });
    }
    Ok(())
}
