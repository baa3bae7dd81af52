//! How a reconcile ended, from what was to be done and what became of it: for the parent's conditions, and for the queue.

use std::time::Duration;

use bartizan_engine::Plan;
use bartizan_engine::status::Outcome;

use crate::kubernetes::error::ApiError;
use crate::reconcile::executor::Executed;
use crate::reconcile::snapshot::Retry;

/// Longest time until a taken name is tried again: nothing is heard of an object that is not ours, but that it can go.
const NAME_TAKEN: Duration = Duration::from_secs(30);

/// After a plan that serves a parent.
pub(crate) fn conclude(plan: &Plan, executed: &Executed) -> (Outcome, Retry) {
    if let Some(failed) = failed(executed) {
        return failed;
    }
    let taken = executed.taken.first().map(|(key, holder)| (key, holder.as_str()));
    let forged = plan.taken.first().map(|key| (key, "it carries this parent's labels but was not made by this host"));
    if let Some((key, holder)) = taken.or(forged) {
        let message = format!("{key} exists and is not this parent's: {holder}. Delete or rename one of the two");
        return (Outcome::Failed { reason: "NameTaken", message, stalled: true }, Retry::Within(NAME_TAKEN));
    }
    if let Some(key) = executed.stale.first().or(executed.restored.first().map(|child| &child.key)) {
        let message = format!("{key} changed in the meantime; trying again");
        return (Outcome::Waiting { message }, Retry::LostRace);
    }
    if let Some(key) = executed.leaving.first() {
        let message = format!("{key} is being deleted; it is made again once it is gone");
        return (Outcome::Waiting { message }, Retry::Within(NAME_TAKEN));
    }
    if let Some((key, field)) = executed.recreating.first() {
        let message = format!("{key} is made again, since a field of it never changes: {field}");
        return (Outcome::Waiting { message }, Retry::No);
    }
    if let Some(key) = plan.waiting.first() {
        let message = format!("{key} is being deleted; it is made again once it is gone");
        return (Outcome::Waiting { message }, Retry::No);
    }
    (Outcome::Applied, Retry::No)
}

/// After a plan at a parent's end.
pub(crate) fn conclude_end(plan: &Plan, executed: &Executed) -> (Outcome, Retry) {
    if let Some(failed) = failed(executed) {
        return failed;
    }
    if let Some(key) = executed.stale.first() {
        let message = format!("{key} changed in the meantime; trying again");
        return (Outcome::Waiting { message }, Retry::LostRace);
    }
    let leaving = plan.deletes.iter().map(|delete| &delete.key).chain(&plan.waiting).next();
    match leaving {
        // What is deleted is most often gone at once, and nothing is heard of it then.
        Some(key) if !plan.deletes.is_empty() => {
            (Outcome::Waiting { message: format!("{key} is being deleted") }, Retry::LostRace)
        }
        Some(key) => (Outcome::Waiting { message: format!("waiting until {key} is gone") }, Retry::No),
        None => (Outcome::Applied, Retry::No),
    }
}

fn failed(executed: &Executed) -> Option<(Outcome, Retry)> {
    let (key, error) = executed.failed.first()?;
    let others = match executed.failed.len() {
        1 => String::new(),
        more => format!(" (and {} more)", more - 1),
    };
    let message = format!("{key} could not be written: {error}{others}");
    let (reason, stalled, retry) = match error {
        ApiError::Forbidden(_) => ("Forbidden", false, Retry::After(None)),
        ApiError::Invalid(_) | ApiError::Rejected(_) => ("ApplyRefused", false, Retry::After(None)),
        // The same change is as impossible the next time: it is tried again when something changes.
        ApiError::Immutable(_) => ("ImmutableField", true, Retry::No),
        ApiError::Transient { retry_after, .. } => ("ApplyFailed", false, Retry::After(*retry_after)),
        ApiError::Conflict(_) | ApiError::NotFound(_) | ApiError::NotServed(_) => {
            ("ApplyFailed", false, Retry::After(None))
        }
    };
    Some((Outcome::Failed { reason, message, stalled }, retry))
}
