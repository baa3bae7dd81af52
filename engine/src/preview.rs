//! Previews what another version of a provider would change, by comparing the answers of two versions to the same cluster
//! state, so that an upgrade can be reviewed before it is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bartizan_contract::names::INTENT_ANNOTATION;
use bartizan_contract::{GroupKind, OnImmutableChange, Reason};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::immutable;
use crate::intent::Intent;
use crate::managed_fields;
use crate::object::{ObjectKey, Observed};
use crate::plan::Plan;
use crate::secrets::is_secret;

/// Immutable fields of `spec` that the API server sets where they are left out: they do not change by that.
const DEFAULTED: [&str; 3] = ["podManagementPolicy", "volumeMode", "completionMode"];
/// Placeholder for a value of a Secret.
const HIDDEN: &str = "(secret)";

/// The predicted effect of one version on one parent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// The desired children.
    pub intents: Vec<Intent>,
    /// What the host would do now.
    pub plan: Plan,
}

/// Why a version has no acceptable answer for a parent.
#[derive(Clone, Debug, PartialEq)]
pub struct NoPrediction {
    /// As it would stand in the parent's condition.
    pub reason: Reason,
    /// What happened.
    pub message: String,
}

impl NoPrediction {
    /// Whether it fails like another version: for the same reason. A spec that one calls invalid, another may hold.
    fn is_like(&self, other: Reason) -> bool {
        let kind = |reason| if reason == Reason::Held { Reason::Invalid } else { reason };
        kind(self.reason) == kind(other)
    }

    /// Whether the host could not ask, so that nothing is known of the version.
    fn is_of_host(&self) -> bool {
        matches!(self.reason, Reason::HostBusy | Reason::HostError)
    }
}

/// What a version would do to a parent, beside the version that serves it.
#[derive(Clone, Debug, PartialEq)]
pub enum Outlook {
    /// It would change these children.
    Changes(Vec<Change>),
    /// It has no acceptable answer, and neither has the version that serves, for the same reason: nothing changes.
    AsBefore(NoPrediction),
    /// It has no acceptable answer.
    Fails(NoPrediction),
    /// It could not be asked, or nothing is known of the version that serves.
    Unknown(NoPrediction),
}

/// Compares what two versions have to say about one parent.
#[must_use]
pub fn outlook(
    candidate: Result<Prediction, NoPrediction>,
    active: Result<Prediction, NoPrediction>,
    children: &[Arc<Observed>],
) -> Outlook {
    match (candidate, active) {
        (Ok(candidate), active) => Outlook::Changes(compare(&candidate, active.ok().as_ref(), children)),
        (Err(failure), _) if failure.is_of_host() => Outlook::Unknown(failure),
        (Err(failure), Err(before)) if failure.is_like(before.reason) => Outlook::AsBefore(failure),
        (Err(failure), _) => Outlook::Fails(failure),
    }
}

/// Judges what a version has to say about one parent by the reason of its last condition: the version that serves it is not at hand.
#[must_use]
pub fn outlook_alone(
    candidate: Result<Prediction, NoPrediction>,
    last: Option<Reason>,
    children: &[Arc<Observed>],
) -> Outlook {
    match candidate {
        Ok(candidate) => {
            let mut changes = compare(&candidate, None, children);
            // A parent whose name is already taken is no worse off.
            if last == Some(Reason::NameTaken) {
                changes.retain(|change| change.action != Action::Refuse || change.because_of.is_some());
            }
            Outlook::Changes(changes)
        }
        // The condition of a paused parent does not say how it was served.
        Err(failure) if failure.is_of_host() || last == Some(Reason::Paused) => Outlook::Unknown(failure),
        Err(failure) if last.is_some_and(|last| failure.is_like(last)) => Outlook::AsBefore(failure),
        Err(failure) => Outlook::Fails(failure),
    }
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// It is created.
    Create,
    /// It is updated.
    Update,
    /// It is deleted and recreated, since an immutable field changes.
    Recreate,
    /// It is deleted.
    Delete,
    /// It is released, and stays.
    Release,
    /// It would fail: an immutable field changes, or the name is taken.
    Refuse,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Recreate => "recreate",
            Self::Delete => "delete",
            Self::Release => "release",
            Self::Refuse => "refuse",
        })
    }
}

/// A change of one child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What would be done.
    pub action: Action,
    /// The child, for display.
    pub child: String,
    /// The immutable field because of which it is recreated or refused, as a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because_of: Option<String>,
    /// Fields that differ, if it exists. Values of Secrets are hidden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The path, as a JSON pointer (RFC 6901).
    pub path: String,
    /// Its value under the active version, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Its value under the candidate, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// The changes of a parent's children if the candidate replaced the active version. Without `active`, because that is no longer
/// available or gives no answer for this parent, the candidate is compared with the live children: removed fields are not
/// detected then.
#[must_use]
pub fn compare(candidate: &Prediction, active: Option<&Prediction>, children: &[Arc<Observed>]) -> Vec<Change> {
    compare_all(candidate, active, children, &|_, _| Vec::new())
}

/// The same where more than the compared fields goes of a child that the candidate changes.
pub(crate) fn compare_all(
    candidate: &Prediction,
    active: Option<&Prediction>,
    children: &[Arc<Observed>],
    left_out: &dyn Fn(&Intent, &Value) -> Vec<FieldChange>,
) -> Vec<Change> {
    let existing: BTreeMap<&ObjectKey, &Arc<Observed>> = children.iter().map(|child| (&child.key, child)).collect();
    let desired: BTreeMap<&ObjectKey, &Intent> =
        active.into_iter().flat_map(|active| &active.intents).map(|intent| (&intent.key, intent)).collect();
    let nothing = Plan::default();
    let before = active.map_or(&nothing, |active| &active.plan);
    let mut changes = Vec::new();
    for intent in &candidate.intents {
        if candidate.plan.taken.contains(&intent.key) {
            if !before.taken.contains(&intent.key) {
                changes.push(bare(Action::Refuse, &intent.key));
            }
            continue;
        }
        let desired = desired.get(&intent.key).copied();
        if desired.is_some_and(|desired| desired.hash == intent.hash) {
            continue;
        }
        match (existing.get(&intent.key), desired) {
            (None, _) => changes.push(bare(Action::Create, &intent.key)),
            (Some(child), None) if child.intent.as_deref() == Some(&*intent.hash) => {}
            (Some(child), desired) => changes.push(changed(intent, desired, child, left_out)),
        }
    }
    let deleted: BTreeSet<&ObjectKey> = before.deletes.iter().map(|delete| &delete.key).collect();
    let released: BTreeSet<&ObjectKey> = before.releases.iter().map(|release| &release.child.key).collect();
    let deletes = candidate.plan.deletes.iter().map(|delete| &delete.key).filter(|key| !deleted.contains(key));
    changes.extend(deletes.map(|key| bare(Action::Delete, key)));
    let releases = candidate.plan.releases.iter().map(|release| &release.child.key);
    changes.extend(releases.filter(|key| !released.contains(key)).map(|key| bare(Action::Release, key)));
    changes
}

fn bare(action: Action, key: &ObjectKey) -> Change {
    Change { action, child: key.to_string(), because_of: None, fields: Vec::new() }
}

/// The change of a child that exists.
fn changed(
    intent: &Intent,
    desired: Option<&Intent>,
    child: &Observed,
    left_out: &dyn Fn(&Intent, &Value) -> Vec<FieldChange>,
) -> Change {
    let live = child.value();
    let (before, how) = match desired {
        Some(desired) => (&desired.object, Compared::Whole),
        None => (&live, Compared::DesiredFields),
    };
    let mut fields = Vec::new();
    differences(before, &intent.object, how, &mut String::new(), &mut fields);
    fields.extend(left_out(intent, &live));
    // The API server sets these again.
    let is_defaulted = |field: &&FieldChange| {
        field.after.is_none() && DEFAULTED.iter().any(|name| field.path.strip_prefix("/spec/") == Some(name))
    };
    let paths = fields.iter().filter(|field| !is_defaulted(field)).map(|field| field.path.as_str());
    let because_of = immutable::refused(&GroupKind::from(&intent.kind), before, &intent.object, paths);
    let because_of = because_of.map(str::to_owned);
    let action = match (&because_of, intent.on_immutable_change) {
        (None, _) => Action::Update,
        (Some(_), OnImmutableChange::Refuse) => Action::Refuse,
        (Some(_), OnImmutableChange::Recreate | OnImmutableChange::RecreateOrphan) => Action::Recreate,
    };
    if is_secret(&intent.kind) {
        fields.iter_mut().filter(|field| field.path.starts_with("/data")).for_each(hide);
    }
    Change { action, child: intent.key.to_string(), because_of, fields }
}

fn hide(field: &mut FieldChange) {
    let hidden = |value: &mut Option<Value>| {
        if value.is_some() {
            *value = Some(HIDDEN.into());
        }
    };
    hidden(&mut field.before);
    hidden(&mut field.after);
}

/// Which differences count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compared {
    /// All.
    Whole,
    /// Only those in fields of the second object: the first one also has defaults and the fields of other managers.
    DesiredFields,
}

fn differences(before: &Value, after: &Value, how: Compared, path: &mut String, found: &mut Vec<FieldChange>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => objects(before, after, how, path, found),
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (position, (before, after)) in before.iter().zip(after).enumerate() {
                within(path, &position.to_string(), |path| differences(before, after, how, path, found));
            }
        }
        _ if before == after => {}
        _ => {
            let (before, after) = (Some(before.clone()), Some(after.clone()));
            found.push(FieldChange { path: path.clone(), before, after });
        }
    }
}

fn objects(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    how: Compared,
    path: &mut String,
    found: &mut Vec<FieldChange>,
) {
    // Derived from the rest of the object.
    let is_derived = |key: &str| key == INTENT_ANNOTATION;
    for (key, value) in after.iter().filter(|(key, _)| !is_derived(key)) {
        within(path, key, |path| match before.get(key) {
            Some(before) => differences(before, value, how, path, found),
            None => found.push(FieldChange { path: path.clone(), before: None, after: Some(value.clone()) }),
        });
    }
    if how == Compared::Whole {
        for (key, value) in before.iter().filter(|(key, _)| !is_derived(key) && !after.contains_key(*key)) {
            within(path, key, |path| {
                found.push(FieldChange { path: path.clone(), before: Some(value.clone()), after: None });
            });
        }
    }
}

fn within(path: &mut String, token: &str, visit: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    path.push_str(&managed_fields::escaped(token));
    visit(path);
    path.truncate(length);
}

#[cfg(test)]
mod tests;
