//! The related objects that a provider requests: each within its grants, or the whole answer is refused.

use bartizan_contract::{Kind, ReconcileResponse, RelatedSelector};

use super::input::{GateInput, Refusal};
use crate::related::{Reference, References};
use crate::selector::Selector;

/// The references to related objects that the provider requests, each within its grants.
///
/// # Errors
/// The first request that was not granted, or that selects nothing.
pub fn references(response: &ReconcileResponse, input: &GateInput<'_>) -> Result<References, Refusal> {
    let path = |position| format!("response.related[{position}]");
    response.related.iter().enumerate().map(|(position, request)| reference(request, &path(position), input)).collect()
}

fn reference(request: &RelatedSelector, path: &str, input: &GateInput<'_>) -> Result<Reference, Refusal> {
    let kind = Kind::from_api_version(&request.api_version, &request.kind);
    let Some(grant) = input.grants.related.get(&kind) else {
        let granted: Vec<String> = input.grants.related.keys().map(ToString::to_string).collect();
        let granted = if granted.is_empty() { "nothing".to_owned() } else { granted.join(", ") };
        let message = format!("{kind} was not granted to provider {} to read; it may read {granted}", input.provider);
        return Err(Refusal::new(path, message));
    };
    let selector = Selector::of_labels(request.match_labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    if request.names.is_empty() && selector.is_none() {
        return Err(Refusal::new(path, "needs names or matchLabels: selecting all objects of a kind is not supported"));
    }
    let namespace = match (grant.namespaced, &request.namespace) {
        (false, None) => None,
        (false, Some(_)) => {
            return Err(Refusal::new(format!("{path}.namespace"), format!("{kind} is cluster-scoped: leave it out")));
        }
        (true, requested) => {
            let own = input.parent.key.namespace.as_deref();
            let Some(namespace) = requested.as_deref().or(own) else {
                return Err(Refusal::new(format!("{path}.namespace"), "the parent is cluster-scoped: set a namespace"));
            };
            if !grant.covers(namespace, input.parent) {
                let message =
                    format!("{kind} in namespace \"{namespace}\" was not granted to provider {}", input.provider);
                return Err(Refusal::new(format!("{path}.namespace"), message));
            }
            Some(namespace.to_owned())
        }
    };
    Ok(Reference { kind, namespace, names: request.names.iter().cloned().collect(), selector })
}
