//! What a provider asks to see: each wish within its grants, or the whole answer is refused.

use bartizan_contract::{Kind, ReconcileResponse, RelatedSelector};

use super::input::{GateInput, Refusal};
use crate::related::{Reference, References};
use crate::selector::Selector;

/// What the provider asks to see, each within its grants.
///
/// # Errors
/// The first reference that was not granted, or that says nothing.
pub fn references(response: &ReconcileResponse, input: &GateInput<'_>) -> Result<References, Refusal> {
    let path = |position| format!("response.related[{position}]");
    response.related.iter().enumerate().map(|(position, wish)| reference(wish, &path(position), input)).collect()
}

fn reference(wish: &RelatedSelector, path: &str, input: &GateInput<'_>) -> Result<Reference, Refusal> {
    let kind = Kind::from_api_version(&wish.api_version, &wish.kind);
    let Some(grant) = input.grants.related.get(&kind) else {
        let granted: Vec<String> = input.grants.related.keys().map(ToString::to_string).collect();
        let granted = if granted.is_empty() { "nothing".to_owned() } else { granted.join(", ") };
        let message = format!("{kind} was not granted to provider {} to read; it may read {granted}", input.provider);
        return Err(Refusal::new(path, message));
    };
    let selector = Selector::of_labels(wish.match_labels.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    if wish.names.is_empty() && selector.is_none() {
        return Err(Refusal::new(path, "needs names or matchLabels: all objects of a kind are never supplied"));
    }
    let namespace = match (grant.namespaced, &wish.namespace) {
        (false, None) => None,
        (false, Some(_)) => {
            return Err(Refusal::new(format!("{path}.namespace"), format!("{kind} is cluster-scoped: leave it out")));
        }
        (true, wished) => {
            let own = input.parent.key.namespace.as_deref();
            let Some(namespace) = wished.as_deref().or(own) else {
                return Err(Refusal::new(format!("{path}.namespace"), "the parent has none: name one"));
            };
            if !grant.covers(namespace, input.parent) {
                let message =
                    format!("{kind} in namespace \"{namespace}\" was not granted to provider {}", input.provider);
                return Err(Refusal::new(format!("{path}.namespace"), message));
            }
            Some(namespace.to_owned())
        }
    };
    Ok(Reference { kind, namespace, names: wish.names.iter().cloned().collect(), selector })
}
