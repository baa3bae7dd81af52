//! What the providers `scripted`, `scripted-finalizing` and `scripted-cluster-scoped` have in common: they do what the spec of their parent says, so that
//! tests can drive every field of the contract. They use the WIT of the contract and nothing else of this project's.
//!
//! `spec.answers` is a list of `{when, answer}` and `{when, fail}`. The first whose `when` matches the request wins; if
//! none does, the provider holds.
//!
//! - `when`: `finalizing`, `namespaceTerminating` (true or false); `edition` (of the module, see [`Provider::manifest`]); `children`, `related`, `descendants` (lists of
//!   `ConfigMap.v1 namespace/name`, all of which must be in the request); `absent` (the same, none of which may be among
//!   the children); `kinds` (what `cluster.kinds` must say). What is left out matches everything.
//! - `answer`: a ReconcileResponse; apiVersion and kind are added if it has none. It goes to the host as it is, mistakes
//!   included.
//! - `fail`: `{code, message, field, retryAfterSeconds}`.
//!
//! In the texts of an answer (values, not keys) and in a failure's message, `$(parent.name)`, `$(parent.secret)`,
//! `$(secret:namespace/name:key)` and `$(config:namespace/name:key)` are replaced by what the request holds, related
//! objects before children; by nothing if it holds none. Any other `$(...)` stays, since pods use the same form.
//!
//! With `spec.echo: true`, `status.seen` tells what was in the request. Other fields of the spec are ignored, but a
//! misspelt one within `answers` is a failure that names it.

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod provider;
mod request;
mod script;
mod text;

use serde::Deserialize;
use serde_json::{Value, json};

pub use provider::{CLUSTER_SCOPED, FINALIZING, Provider, SCRIPTED};

use request::Request;
use script::{Outcome, Script};

/// `apiVersion` of every document of the contract.
const API_VERSION: &str = "provider.bartizan.dev/v1alpha1";

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// `invalid`, `retry`, `internal`, or what a test wants it to be.
    pub code: String,
    /// For the person who reads the parent's conditions.
    pub message: String,
    /// The field of the parent that is at fault.
    pub field: Option<String>,
    /// When to try again.
    pub retry_after_seconds: Option<u32>,
}

/// Exports one of the providers as the functions of a component.
#[macro_export]
macro_rules! export {
    ($provider:expr) => {
        const _: () = {
            struct Component;
            impl $crate::guest::Guest for Component {
                fn describe() -> Vec<u8> {
                    $provider.manifest().to_string().into_bytes()
                }
                fn reconcile(request: Vec<u8>) -> Result<Vec<u8>, $crate::guest::GuestFailure> {
                    $crate::guest::reconcile(&request)
                }
            }
    $crate::guest::export_component!(Component with_types_in $crate::guest::bindings);
        };
    };
}

/// One request answered as its parent says.
///
/// # Errors
/// The failure that the parent asks for, or what is wrong with its spec.
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
        // A status that is no object is a mistake that a test wants to see refused.
        if script.echo
            && let Some(status) = answer.entry("status").or_insert_with(|| json!({})).as_object_mut()
        {
            status.insert("seen".to_owned(), request.seen());
        }
    }
    Ok(answer.to_string().into_bytes())
}

#[cfg(test)]
mod tests;
