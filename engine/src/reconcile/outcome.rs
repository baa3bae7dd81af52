//! How a reconcile ended, from what was to be done and what became of it: for the parent's conditions, and for the queue.

use std::time::Duration;

use bartizan_contract::{FailureCode, Reason};

use crate::api_error::ApiError;
use crate::breaker::Called;
use crate::plan::Plan;
use crate::reconcile::effect::{CallCause, CallError};
use crate::reconcile::execution::Executed;
use crate::status::Outcome;

/// Longest time until a taken name is tried again: no watch reports changes of an object that is not ours, but its end.
const NAME_TAKEN: Duration = Duration::from_secs(30);

/// Whether a decision must be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not before something changes.
    No,
    /// A race was lost: soon, and it is no failure.
    LostRace,
    /// It failed: after the given time, or after the backoff.
    After(Option<Duration>),
    /// It failed: after the backoff, which is no longer than this.
    Within(Duration),
}

/// An outcome, and what the queue does about it.
pub(super) type Conclusion = (Outcome, Retry);

/// A failure, for the conditions and the queue.
pub(super) fn failed(reason: Reason, message: String, stalled: bool, retry: Retry) -> Conclusion {
    (Outcome::Failed { reason, message, stalled }, retry)
}

/// After a plan that serves a parent.
pub(super) fn after_serving(plan: &Plan, executed: &Executed) -> Conclusion {
    if let Some(failed) = first_failure(executed) {
        return failed;
    }
    let taken = executed.taken.first().map(|(key, holder)| (key, holder.as_str()));
    let forged = plan.taken.first().map(|key| (key, "it carries this parent's labels but was not made by this host"));
    if let Some((key, holder)) = taken.or(forged) {
        let message = format!("{key} exists and is not this parent's: {holder}. Delete or rename one of the two");
        return failed(Reason::NameTaken, message, true, Retry::Within(NAME_TAKEN));
    }
    if let Some(key) = executed.stale.first().or(executed.restored.first().map(|child| &child.key)) {
        return changed_meanwhile(&key.to_string());
    }
    if let Some(key) = executed.leaving.first() {
        return (awaits_its_end(key), Retry::Within(NAME_TAKEN));
    }
    if let Some((key, field)) = executed.recreating.first() {
        let message = format!("{key} is made again, since a field of it never changes: {field}");
        return (Outcome::Waiting { message }, Retry::No);
    }
    if let Some(key) = plan.waiting.first() {
        return (awaits_its_end(key), Retry::No);
    }
    (Outcome::Applied, Retry::No)
}

fn awaits_its_end(key: &impl std::fmt::Display) -> Outcome {
    Outcome::Waiting { message: format!("{key} is being deleted; it is made again once it is gone") }
}

/// A write met a state that nobody had seen yet.
pub(super) fn changed_meanwhile(what: &str) -> Conclusion {
    (Outcome::Waiting { message: format!("{what} changed in the meantime; trying again") }, Retry::LostRace)
}

/// After a plan at a parent's end.
pub(super) fn after_ending(plan: &Plan, executed: &Executed) -> Conclusion {
    if let Some(failed) = first_failure(executed) {
        return failed;
    }
    if let Some(key) = executed.stale.first() {
        return changed_meanwhile(&key.to_string());
    }
    let leaving = plan.deletes.iter().map(|delete| &delete.key).chain(&plan.waiting).next();
    match leaving {
        // What is deleted is most often gone at once, and no watch reports that then.
        Some(key) if !plan.deletes.is_empty() => {
            (Outcome::Waiting { message: format!("{key} is being deleted") }, Retry::LostRace)
        }
        Some(key) => (Outcome::Waiting { message: format!("waiting until {key} is gone") }, Retry::No),
        None => (Outcome::Applied, Retry::No),
    }
}

fn first_failure(executed: &Executed) -> Option<Conclusion> {
    let (key, error) = executed.failed.first()?;
    let others = match executed.failed.len() {
        1 => String::new(),
        more => format!(" (and {} more)", more - 1),
    };
    let message = format!("{key} could not be written: {error}{others}");
    Some(match error {
        ApiError::Forbidden(_) => failed(Reason::Forbidden, message, false, Retry::After(None)),
        ApiError::Invalid(_) | ApiError::Rejected(_) => {
            failed(Reason::ApplyRefused, message, false, Retry::After(None))
        }
        // The same change is as impossible the next time: it is tried again when something changes.
        ApiError::Immutable(_) => failed(Reason::ImmutableField, message, true, Retry::No),
        ApiError::Transient { retry_after, .. } => {
            failed(Reason::ApplyFailed, message, false, Retry::After(*retry_after))
        }
        ApiError::Conflict(_) | ApiError::NotFound(_) | ApiError::NotServed(_) => {
            failed(Reason::ApplyFailed, message, false, Retry::After(None))
        }
    })
}

/// After a call without an answer.
pub(super) fn without_answer(error: &CallError) -> (Conclusion, Called) {
    let CallError { reason, message, cause } = error;
    match cause {
        // A provider is a pure function: the same parent is as invalid the next time. It is asked again once something
        // changes.
        CallCause::Failure(failure) if failure.code == FailureCode::Invalid => {
            (failed(Reason::Invalid, message.clone(), true, Retry::No), Called::Answered)
        }
        CallCause::Failure(failure) => {
            let after = failure.retry_after_seconds.map(|seconds| Duration::from_secs(seconds.max(1).into()));
            (failed(*reason, message.clone(), false, Retry::After(after)), Called::Answered)
        }
        CallCause::Module(fault) => {
            (failed(*reason, message.clone(), false, Retry::After(None)), Called::Faulted(fault.clone()))
        }
        // A request or an answer that is too large may well be the parent's fault.
        CallCause::Other => (failed(*reason, message.clone(), false, Retry::After(None)), Called::No),
    }
}
