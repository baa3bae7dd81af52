//! The answer to one request.

use serde_json::{Value, json};

use crate::contract::{API_VERSION, Failure};
use crate::request::Request;
use crate::script::{Outcome, Script};
use crate::text;

/// Answers one request as its parent says.
///
/// # Errors
/// The failure that the parent asks for, or the error in its spec.
pub fn reconcile(request: &[u8]) -> Result<Vec<u8>, Failure> {
    let request: Request = serde_json::from_slice(request).map_err(|error| Failure {
        code: "internal".to_owned(),
        message: format!("the request cannot be read: {error}"),
        field: None,
        retry_after_seconds: None,
    })?;
    let script = Script::of(&request.parent)?;
    let mut answer = match script.outcome(&request) {
        Some(Outcome::Answer(answer)) => Value::Object(answer.clone()),
        Some(Outcome::Fail(failure)) => {
            return Err(Failure {
                message: text::fill(&failure.message, &request).unwrap_or_else(|| failure.message.clone()),
                ..failure.clone()
            });
        }
        None => json!({"hold": true}),
    };
    text::fill_all(&mut answer, &request);
    if let Some(answer) = answer.as_object_mut() {
        answer.entry("apiVersion").or_insert_with(|| API_VERSION.into());
        answer.entry("kind").or_insert_with(|| "ReconcileResponse".into());
        // A status that is not an object is a mistake that a test wants to see refused.
        if script.echo
            && let Some(status) = answer.entry("status").or_insert_with(|| json!({})).as_object_mut()
        {
            status.insert("seen".to_owned(), request.seen());
        }
    }
    Ok(answer.to_string().into_bytes())
}
