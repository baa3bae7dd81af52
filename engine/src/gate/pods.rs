//! Checks the pods among the desired children: against the granted level of the Pod Security Standards, the granted
//! ServiceAccounts, and the Secrets that they may use. To create pods is the widest permission in a cluster: without bounds it
//! gives access to the node, and to every ServiceAccount and Secret of the namespace.

mod levels;
mod references;
mod template;

use std::collections::BTreeSet;

use bartizan_contract::provider::PodLevel;

use crate::gate::input::{GateInput, Refusal};
use crate::intent::Intent;
use crate::object::ObjectKey;
use template::{Refused, is, template};

/// Checks every pod among the children of an answer, and every object that would bypass that check. Returns for each child the
/// objects that it may use only because the same answer contains them: they must be applied before the child.
///
/// # Errors
/// The first field that was not granted.
pub(crate) fn check(intents: &[Intent], input: &GateInput<'_>) -> Result<Vec<BTreeSet<ObjectKey>>, Refusal> {
    let known = references::Known::new(intents, input);
    let check = |intent| {
        in_object(intent, input.grants.pods.level)?;
        references::check(intent, &known)
    };
    let refusal = |position, Refused { path, message }| Refusal {
        path: format!("response.children[{position}].object.{path}"),
        message,
    };
    let checked = intents.iter().enumerate();
    checked.map(|(position, intent)| check(intent).map_err(|refused| refusal(position, refused))).collect()
}

/// Checks the pod template of an object, and PersistentVolumes on a directory of a node.
fn in_object(intent: &Intent, granted: PodLevel) -> Result<(), Refused> {
    let Intent { kind, object, .. } = intent;
    if granted != PodLevel::Privileged && is(kind, "", "PersistentVolume") {
        for field in ["hostPath", "local"] {
            if object.get("spec").and_then(|spec| spec.get(field)).is_some_and(|source| !source.is_null()) {
                let violation =
                    levels::Violation::of_baseline(field, "a directory of a node is not allowed as a volume");
                return Err(refused("spec", violation, granted));
            }
        }
    }
    match template(kind, object) {
        Some(template) => {
            levels::check(&template, granted).map_err(|violation| refused(&template.path, violation, granted))
        }
        None => Ok(()),
    }
}

fn refused(below: &str, violation: levels::Violation, granted: PodLevel) -> Refused {
    let levels::Violation { path, rule, needs } = violation;
    let path = if below.is_empty() { path } else { format!("{below}.{path}") };
    let message = format!(
        "{rule} at level {granted:?} of the Pod Security Standards, which is the granted level; to allow it, set \
         spec.grants.pods.level: {needs:?}"
    );
    Refused { path, message }
}

#[cfg(test)]
mod tests;
