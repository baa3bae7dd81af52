//! Derives the outcome of a reconcile and its retry from the plan and the results of its writes.

use std::time::Duration;

use bartizan_contract::Reason;

use crate::api_error::ApiError;
use crate::breaker::Called;
use crate::object::ObjectKey;
use crate::plan::Plan;
use crate::reconcile::effect::{CallCause, CallError};
use crate::reconcile::execution::Executed;
use crate::snapshot::{Question, Unread};
use crate::status::Outcome;
use crate::takeover;

/// Longest backoff where no watch reports what a parent waits for: of an object with another owner, for example, only the deletion.
pub(super) const UNWATCHED: Duration = Duration::from_secs(30);

/// Whether the reconcile is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Only once something changes.
    No,
    /// A race was lost, which is not a failure: shortly.
    LostRace,
    /// It is due again after this delay, which does not count as a failure.
    Later(Duration),
    /// It failed: with backoff, and no sooner than the API server asked for.
    After(Option<Duration>),
    /// It failed: after the delay that the provider asked for.
    Exactly(Duration),
    /// It failed: with a backoff of at most this, and no sooner than the API server asked for.
    Within {
        /// The longest backoff.
        most: Duration,
        /// What the API server asked for.
        after: Option<Duration>,
    },
}

/// The outcome of a reconcile, and its retry.
pub(super) type Conclusion = (Outcome, Retry);

/// A failed outcome.
pub(super) fn failed(reason: Reason, message: String, stalled: bool, retry: Retry) -> Conclusion {
    (Outcome::Failed { reason, message, stalled }, retry)
}

/// What could not be read is read again: no watch reports that it can be.
pub(super) fn read_again(unread: &Unread) -> Retry {
    Retry::Within { most: UNWATCHED, after: unread.error.retry_after() }
}

/// Concludes a plan for a parent that is not being deleted.
pub(super) fn after_serving(plan: &Plan, executed: &Executed) -> Conclusion {
    if let Some(failed) = first_failure(executed) {
        return failed;
    }
    if let Some((key, provider)) = executed.not_released.first() {
        let message = format!(
            "{key} is adopted once provider {provider}, which served this parent before, has released it (not while it is \
             suspended, in conflict, or without its module; if there is no such Provider any more, create it once again)"
        );
        return (Outcome::Waiting { message }, Retry::Within { most: UNWATCHED, after: None });
    }
    let taken = executed.taken.first().map(|(key, holder)| (key, holder.as_str()));
    if let Some((key, holder)) = taken.or(plan.taken.first().map(|key| (key, takeover::FORGED))) {
        let message =
            format!("{key} exists and does not belong to this parent: {holder}. Delete or rename one of the two");
        return failed(Reason::NameTaken, message, true, Retry::Within { most: UNWATCHED, after: None });
    }
    let restored = executed.restored.first().map(|child| &child.key);
    if let Some(key) = executed.stale.first().map(|(key, _)| key).or(restored) {
        return changed_meanwhile(&key.to_string());
    }
    if let Some(key) = executed.terminating.first() {
        return (awaits_deletion(key), Retry::Within { most: UNWATCHED, after: None });
    }
    if let Some((key, refused)) = executed.recreating.first() {
        let message = format!("{key} is being recreated, since a field of it is immutable: {refused}");
        return (Outcome::Waiting { message }, Retry::No);
    }
    if let Some(key) = plan.waiting.first() {
        return (awaits_deletion(key), Retry::No);
    }
    if let Some((key, error)) = executed.kept.first() {
        return not_recreated(key, error);
    }
    if let Some(key) = executed.to_recreate.first() {
        let message = format!("{key} is recreated to change an immutable field, once every other child is as desired");
        return (Outcome::Waiting { message }, Retry::LostRace);
    }
    if let Some(key) = plan.held_up_by() {
        let message = format!("{key} is being deleted; earlier waves are deleted once that has completed");
        return (Outcome::Waiting { message }, Retry::No);
    }
    match plan.due_deletes().last() {
        // A deleted object is most often gone at once and then removed from the index already: no watch event follows.
        Some(delete) if plan.due_deletes().len() < plan.deletes.len() => {
            (Outcome::Waiting { message: format!("{} is being deleted", delete.key) }, Retry::LostRace)
        }
        _ => (Outcome::Applied, Retry::No),
    }
}

fn awaits_deletion(key: &impl std::fmt::Display) -> Outcome {
    Outcome::Waiting { message: format!("{key} is being deleted; it is recreated once that has completed") }
}

/// A write was rejected because its object changed since it was observed.
pub(super) fn changed_meanwhile(what: &str) -> Conclusion {
    (Outcome::Waiting { message: format!("{what} changed in the meantime; retrying") }, Retry::LostRace)
}

/// The same write met a conflict in too many reconciles in a row for that to be a race: a webhook answers so, or the cache lags.
pub(super) fn persistent_conflict(key: &ObjectKey, message: &str) -> Conclusion {
    let message = format!("{key} could not be written, since the API server reports a conflict each time: {message}");
    failed(Reason::ApplyRefused, message, false, Retry::After(None))
}

/// Concludes a plan for a parent that is being deleted.
pub(super) fn after_deleting(plan: &Plan, executed: &Executed) -> Conclusion {
    if let Some(failed) = first_failure(executed) {
        return failed;
    }
    if let Some((key, _)) = executed.stale.first() {
        return changed_meanwhile(&key.to_string());
    }
    let terminating = plan.deletes.iter().map(|delete| &delete.key).chain(&plan.waiting).next();
    match terminating {
        // A deleted object is most often gone at once and then removed from the index already: no watch event follows.
        Some(key) if !plan.deletes.is_empty() => {
            (Outcome::Waiting { message: format!("{key} is being deleted") }, Retry::LostRace)
        }
        Some(key) => (Outcome::Waiting { message: format!("waiting for the deletion of {key}") }, Retry::No),
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
        ApiError::Denied(_) | ApiError::Forbidden(_) => failed(Reason::Forbidden, message, false, Retry::After(None)),
        ApiError::Invalid { .. } | ApiError::Rejected(_) => {
            failed(Reason::ApplyRefused, message, false, Retry::After(None))
        }
        // The same change would fail again: it is retried only once something changes.
        ApiError::Immutable(_) => failed(Reason::ImmutableField, message, true, Retry::No),
        ApiError::Transient { retry_after, .. } => {
            failed(Reason::ApplyFailed, message, false, Retry::After(*retry_after))
        }
        ApiError::Conflict(_) | ApiError::NotFound(_) | ApiError::NotServed(_) => {
            failed(Reason::ApplyFailed, message, false, Retry::After(None))
        }
    })
}

/// A child must be recreated and could not be: it stays. Quotas, policies and addresses may come to allow it.
fn not_recreated(key: &ObjectKey, error: &ApiError) -> Conclusion {
    let reason = match error {
        ApiError::Denied(_) | ApiError::Forbidden(_) => Reason::Forbidden,
        ApiError::Transient { .. } => Reason::ApplyFailed,
        _ => Reason::ApplyRefused,
    };
    let message = format!(
        "{key} must be recreated to change an immutable field, and was not deleted, since it could not be created again: {error}"
    );
    failed(reason, message, false, Retry::After(error.retry_after()))
}

/// A parent that is being deleted is looked at again: its namespace may come to be deleted, too, which no watch reports, and then
/// it waits for its provider no longer.
pub(super) fn retried_while_finalizing((outcome, retry): Conclusion, question: Question) -> Conclusion {
    match retry {
        Retry::No if question.finalizing() => (outcome, Retry::Within { most: UNWATCHED, after: None }),
        _ => (outcome, retry),
    }
}

/// Concludes a call without an answer.
pub(super) fn without_answer(error: &CallError) -> (Conclusion, Called) {
    let CallError { message, cause, .. } = error;
    let reason = error.condition_reason();
    match cause {
        // A provider is a pure function: the same parent stays invalid. It is called again once something changes.
        CallCause::Failure(_) if reason == Reason::Invalid => {
            (failed(reason, message.clone(), true, Retry::No), Called::Answered)
        }
        CallCause::Failure(failure) => {
            let seconds = failure.retry_after_seconds.map(|seconds| Duration::from_secs(seconds.max(1).into()));
            (
                failed(reason, message.clone(), false, seconds.map_or(Retry::After(None), Retry::Exactly)),
                Called::Answered,
            )
        }
        CallCause::Module(fault) => {
            (failed(reason, message.clone(), false, Retry::After(None)), Called::Faulted(fault.clone()))
        }
        // The parent may be the cause of a request or an answer that is too large.
        CallCause::Other => (failed(reason, message.clone(), false, Retry::After(None)), Called::No),
    }
}
