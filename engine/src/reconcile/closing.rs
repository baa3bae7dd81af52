//! The end of a reconcile: the status, the events, the state kept for the next one, and the requeue.

use std::collections::VecDeque;
use std::time::Duration;

use bartizan_contract::{EventType, ProviderEvent, Reason};
use serde_json::Value;

use super::{Reconcile, State, StatusWrite};
use crate::api_error::ApiError;
use crate::breaker::Called;
use crate::contest::Contested;
use crate::decide::Answered;
use crate::object::{ObjectKey, Observed};
use crate::patch::MergePatch;
use crate::plan::{ApplyReason, Plan};
use crate::queue::{BACKOFF_MAX, Finished};
use crate::reconcile::clock::Clock;
use crate::reconcile::effect::{Effect, Reply};
use crate::reconcile::execution::Executed;
use crate::reconcile::outcome::{Conclusion, Retry, failed, persistent_conflict};
use crate::reconcile::report::{Decided, Ended, Next, Report};
use crate::snapshot::{Conflicts, Left, Settled, Snapshot, WrittenStatus};
use crate::status::{self, Outcome, ReportedStatus, StatusInput};
use crate::takeover::Earlier;

/// Delay of the retry after a lost race: the watch has most often delivered the new state by then.
const LOST_RACE: Duration = Duration::from_millis(250);
/// Conflicts in a row that may be lost races: the watch has delivered the new state by then.
const MAX_CONFLICTS: u32 = 8;
/// Decisions in a row that wrote the status, before the next one waits for [`STATUS_PAUSE`].
const MAX_STATUS_WRITES: u32 = 20;
/// See [`MAX_STATUS_WRITES`].
const STATUS_PAUSE: Duration = Duration::from_secs(10);
/// Tries to write the status of a parent that others write to at the same time.
const STATUS_TRIES: u32 = 4;
/// Longest backoff of a parent in a write loop.
const WRITE_LOOP_BACKOFF_MAX: Duration = Duration::from_secs(30);

impl Reconcile {
    /// The plan is executed: the status is next.
    pub(super) fn conclude(&mut self, (outcome, retry): Conclusion, clock: &dyn Clock) {
        (self.draft.outcome, self.draft.retry) = (outcome, retry);
        self.detect_persistent_conflict();
        self.detect_contest(clock);
        if self.is_leaving() {
            // What it said about the parent is no longer its to say, nor is a failure to let go.
            let is_clear = self.snapshot.parent.owned_status.as_object().is_none_or(serde_json::Map::is_empty);
            match self.has_left() && !is_clear {
                true => {
                    // The finalizer may have been removed since the snapshot.
                    let patch = MergePatch::withdraw_status(self.latest_parent());
                    self.send(State::WritingStatus, Effect::Patch(patch));
                }
                false => self.send_events(Ok(None), clock),
            }
            return;
        }
        self.detect_write_loop();
        // A lost race is resolved by the next retry: not worth a condition that flaps.
        let writes_status = !self.draft.executed.finalizer_removed && self.draft.retry != Retry::LostRace;
        match writes_status.then(|| self.decided_status(clock)).flatten() {
            Some(status) => self.write_status(State::WritingStatus, status),
            None => {
                self.kept.status_writes = 0;
                self.send_events(Ok(None), clock);
            }
        }
    }

    /// Whether the parent is no longer this provider's, and all that it had was released.
    fn has_left(&self) -> bool {
        self.is_leaving() && self.draft.retry == Retry::No && self.draft.outcome == Outcome::Applied
    }

    /// The parent as it was written or read last.
    fn latest_parent(&self) -> &Observed {
        self.draft.executed.parent.as_ref().unwrap_or(&self.snapshot.parent)
    }

    /// The status of this decision; `None` if the parent has it.
    fn decided_status(&self, clock: &dyn Clock) -> Option<Value> {
        let reported = match &self.draft.answered {
            Some(Answered { status, .. }) => ReportedStatus::Status(status.as_ref()),
            None => ReportedStatus::NoAnswer,
        };
        self.status(reported, &self.draft.outcome, clock)
    }

    /// The status to write; `None` if the parent has it, or has what the API server made of it.
    fn status(&self, reported: ReportedStatus<'_>, outcome: &Outcome, clock: &dyn Clock) -> Option<Value> {
        let (shape, parent) = (&self.snapshot.status, self.latest_parent());
        let live = parent.value().get("status").cloned().unwrap_or_default();
        let status = status::next(&StatusInput {
            owned: &parent.owned_status,
            live: &live,
            shape,
            written: &self.kept.condition_types,
            keeps_ready: self.context.keeps_ready,
            reported,
            outcome,
            generation: parent.generation,
            now: &clock.timestamp(),
        })?;
        let written = WrittenStatus { sent: status::digest(&status), stored: status::digest(&parent.owned_status) };
        (self.kept.status != Some(written)).then_some(status)
    }

    fn write_status(&mut self, state: State, status: Value) {
        self.draft.sent_status = Some(status::digest(&status));
        // Of the answer: in a list that is written as a whole there are those of others.
        if let Some(Answered { status, .. }) = &self.draft.answered {
            self.kept.condition_types = status.as_ref().map(status::condition_types).unwrap_or_default();
        }
        let resource_version = self.latest_parent().resource_version.clone();
        let is_subresource = self.snapshot.status.is_subresource;
        self.send(state, Effect::ApplyStatus { status, resource_version, is_subresource });
    }

    /// Remembers what the API server made of the status.
    fn remember_status(&mut self, parent: &Observed) {
        let stored = status::digest(&parent.owned_status);
        self.kept.status = self.draft.sent_status.take().map(|sent| WrittenStatus { sent, stored });
        self.draft.stored_status = Some(parent.owned_status.clone());
    }

    pub(super) fn status_written(&mut self, result: Result<Observed, ApiError>, clock: &dyn Clock) {
        let status = match result {
            Ok(parent) => {
                self.remember_status(&parent);
                self.kept.status_writes = self.kept.status_writes.saturating_add(1);
                // Each would lead to the next one: a provider whose status depends on its status.
                if self.kept.status_writes > MAX_STATUS_WRITES {
                    Err(Some(STATUS_PAUSE))
                } else {
                    Ok(Some(Box::new(parent)))
                }
            }
            Err(ApiError::Conflict(_)) if !self.is_leaving() && self.draft.status_conflicts < STATUS_TRIES => {
                self.draft.status_conflicts += 1;
                self.send(State::RereadingParent, Effect::FindParent(Earlier::of(&self.snapshot.parent)));
                return;
            }
            Err(error) => {
                let (retry_after, message) = (error.retry_after(), error.to_string());
                // A smaller status helps only if the API server rejected the content.
                let is_refused = matches!(
                    error,
                    ApiError::Invalid { .. } | ApiError::Rejected(_) | ApiError::Transient { is_busy: false, .. }
                );
                self.draft.status_error = Some(error);
                if self.is_leaving() {
                    // What the API server does not let it take back, it leaves.
                    let is_forbidden =
                        matches!(self.draft.status_error, Some(ApiError::Denied(_) | ApiError::Forbidden(_)));
                    let is_final = is_refused || is_forbidden;
                    self.send_events(if is_final { Ok(None) } else { Err(retry_after) }, clock);
                    return;
                }
                // Without an answer, the status has nothing that could be left out.
                if is_refused && self.draft.answered.is_some() {
                    self.status_refused(&message, clock);
                    return;
                }
                Err(retry_after)
            }
        };
        self.send_events(status, clock);
    }

    /// The parent as it is now, after a conflict. If only its status or what the host does not decide on has changed, the status is
    /// written again; else the next decision is on what the parent is.
    pub(super) fn parent_reread(&mut self, reply: Reply, clock: &dyn Clock) {
        match reply {
            Reply::Parent(Ok(Some(live))) if live.digest == self.latest_parent().digest => {
                self.draft.executed.parent = Some(*live);
                match self.decided_status(clock) {
                    Some(status) => self.write_status(State::WritingStatus, status),
                    None => self.send_events(Ok(None), clock),
                }
            }
            Reply::Parent(Ok(_)) => {
                if matches!(self.draft.retry, Retry::No | Retry::Later(_)) {
                    self.draft.retry = Retry::LostRace;
                }
                self.next_event(VecDeque::new(), Ok(None), clock);
            }
            Reply::Parent(Err(error)) => {
                let retry_after = error.retry_after();
                self.draft.status_error = Some(error);
                self.send_events(Err(retry_after), clock);
            }
            other => self.status_written(Err(other.unexpected()), clock),
        }
    }

    /// The status cannot be written, most often since the CRD rejects it: reports at least that.
    fn status_refused(&mut self, refused: &str, clock: &dyn Clock) {
        let provider = &self.context.name;
        let message = format!("The status that provider {provider} gave could not be written: {refused}");
        let outcome = match self.draft.outcome.clone() {
            // The earlier failure matters more: its reason stays.
            Outcome::Failed { reason, message: failure, stalled } => {
                Outcome::Failed { reason, message: format!("{failure}. {message}"), stalled }
            }
            _ => Outcome::Failed { reason: Reason::StatusRefused, message, stalled: false },
        };
        let status = self.status(ReportedStatus::NoAnswer, &outcome, clock);
        self.draft.outcome = outcome;
        match status {
            Some(status) => self.write_status(State::WritingRefusal, status),
            None => self.refusal_written(Ok(None), clock),
        }
    }

    /// The status that reports the refusal was written, or was there already (`None`).
    pub(super) fn refusal_written(&mut self, result: Result<Option<Observed>, ApiError>, clock: &dyn Clock) {
        match result {
            Ok(Some(parent)) => {
                self.remember_status(&parent);
                self.draft.executed.parent = Some(parent);
            }
            Ok(None) => {}
            Err(error) => self.draft.status_error = Some(error),
        }
        self.send_events(Err(None), clock);
    }

    /// Sends the events that are new since the last decision. The host's own event is sent with the status that it goes with; where
    /// none can be written, once for each failure. The first decision after a start sends none of the provider's events if there is
    /// nothing to do, since they were sent before.
    pub(super) fn send_events(&mut self, status: StatusWrite, clock: &dyn Clock) {
        let mut events = VecDeque::new();
        if self.has_left() {
            let did_something = !self.draft.plan.is_settled() || self.draft.stored_status.is_some();
            let left = self.snapshot.left.as_ref().filter(|_| did_something);
            events.extend(left.map(|left| released(&self.context.name, left)));
        } else if self.draft.retry != Retry::LostRace && !self.draft.executed.finalizer_removed {
            let outcome = &self.draft.outcome;
            let (before, now) = (&self.snapshot.parent.owned_status, self.draft.stored_status.as_ref());
            let told = self.kept.told.take();
            let was_told = told.as_ref().map(Outcome::reason) == Some(outcome.reason());
            if self.is_leaving() || !status::reports(now.unwrap_or(before), outcome) {
                events.extend(status::event_instead(told.as_ref(), outcome));
                self.kept.told = match outcome {
                    Outcome::Failed { .. } => Some(outcome.clone()),
                    Outcome::Applied => None,
                    // The failure may go on afterwards.
                    _ => told,
                };
            } else if told.is_some() && *outcome == Outcome::Applied {
                events.extend(status::event_instead(told.as_ref(), outcome));
            } else if !was_told {
                events.extend(now.and_then(|_| status::event(before, outcome)));
            }
        }
        if let Some(answered) = &self.draft.answered {
            let is_unchanged = self.draft.plan.is_settled() && matches!(status, Ok(None));
            let sent = self.kept.events_sent.replace(answered.events.clone());
            let is_new = |event: &&ProviderEvent| match &sent {
                Some(sent) => !sent.contains(event),
                None => !is_unchanged,
            };
            events.extend(answered.events.iter().filter(is_new).cloned());
        }
        self.next_event(events, status, clock);
    }

    pub(super) fn next_event(&mut self, mut waiting: VecDeque<ProviderEvent>, status: StatusWrite, clock: &dyn Clock) {
        match waiting.pop_front() {
            Some(event) => self.send(State::SendingEvents { waiting, status }, Effect::SendEvent(event)),
            None => self.finish(status, clock),
        }
    }

    /// Decides when to requeue the parent, and reports.
    pub(super) fn finish(&mut self, status: StatusWrite, clock: &dyn Clock) {
        let resync = self.draft.answered.as_ref().and_then(|answered| answered.resync);
        self.kept.resync_at = resync.map(|after| clock.instant() + after);
        let finished = match (self.draft.retry, &status) {
            (Retry::After(after), _) => Finished::Retry { after, most: BACKOFF_MAX },
            (Retry::Exactly(after), _) => Finished::RetryAfter(after),
            (Retry::Within { most, after }, _) => Finished::Retry { after, most },
            (_, Err(after)) => Finished::Retry { after: *after, most: BACKOFF_MAX },
            (Retry::LostRace, Ok(_)) => Finished::Again { after: LOST_RACE },
            (Retry::Later(after), Ok(_)) => Finished::Again { after },
            (Retry::No, Ok(_)) => Finished::Done { resync },
        };
        let denied = self.denied();
        let draft = std::mem::take(&mut self.draft);
        let settled = draft.request.filter(|_| matches!(finished, Finished::Done { .. }));
        self.kept.settled = settled.map(|request| Settled { request, module: self.context.digest.clone() });
        let before = self.kept.outcome.replace(draft.outcome.clone());
        let is_tried_again = matches!(finished, Finished::Retry { .. } | Finished::RetryAfter(_));
        let missing = if draft.request.is_some() { self.missing(&draft.plan) } else { Vec::new() };
        let decided = Decided {
            request: draft.request,
            is_repeated: !is_tried_again && before.as_ref() == Some(&draft.outcome),
            outcome: draft.outcome,
            plan: draft.plan,
            taken: draft.executed.taken.clone(),
            refused: draft.refused,
            ignored: draft.ignored,
            status_error: draft.status_error,
            denied,
            missing,
        };
        self.draft.called = draft.called;
        self.done(Next::Finish(finished), draft.executed, Ended::Decided(Box::new(decided)));
        if let (Some(report), Ok(Some(parent))) = (&mut self.report, status) {
            report.observed.push(*parent);
        }
    }

    /// What the provider requests by name, does not exist, and is no child of its own.
    fn missing(&self, plan: &Plan) -> Vec<ObjectKey> {
        let Snapshot { supplied, children, .. } = &self.snapshot;
        let named = supplied.references.iter().flat_map(|reference| {
            reference.names.iter().map(|name| ObjectKey::new(&reference.kind, reference.namespace.as_deref(), name))
        });
        let exists = |key: &ObjectKey| supplied.objects.iter().chain(children).any(|object| object.key == *key);
        let is_made = |key: &ObjectKey| plan.applies.iter().any(|apply| apply.intent.key == *key);
        named.filter(|key| !exists(key) && !is_made(key)).collect()
    }

    /// Counts reconciles in which the write of one object met a conflict, and backs off if there are too many in a row.
    fn detect_persistent_conflict(&mut self) {
        let Some((key, message)) = self.draft.executed.stale.first() else {
            self.kept.conflicts = None;
            return;
        };
        let edited = self.snapshot.parent.digest;
        let before = self.kept.conflicts.take().filter(|before| before.key == *key && before.parent == edited);
        let count = before.map_or(0, |before| before.count) + 1;
        self.kept.conflicts = Some(Conflicts { key: key.clone(), parent: edited, count });
        if count > MAX_CONFLICTS && self.draft.retry == Retry::LostRace {
            (self.draft.outcome, self.draft.retry) = persistent_conflict(key, message);
        }
    }

    /// Takes note of repairs, and reports a child that another writer keeps changing.
    fn detect_contest(&mut self, clock: &dyn Clock) {
        let now = clock.instant();
        let contest = &mut self.kept.contest;
        let is_repair = |key: &ObjectKey| {
            let mut applies = self.draft.plan.applies.iter();
            applies.any(|apply| apply.intent.key == *key && apply.reason == ApplyReason::Drifted)
        };
        let children = &self.snapshot.children;
        let before = |key: &ObjectKey| children.iter().find(|child| child.key == *key);
        for (_, child) in self.draft.executed.written.iter().filter(|(_, child)| is_repair(&child.key)) {
            // What others add without changing what is desired is no fight.
            if let Some(before) = before(&child.key).filter(|before| before.digest != child.digest) {
                contest.repaired(&child.key, before.last_writer.as_deref(), now);
            }
        }
        contest.forget_quiet(|key| children.iter().any(|child| child.key == *key), now);
        let Some(Contested { key, writer, interval, after }) = contest.contested(now) else { return };
        let Some(answered) = self.draft.answered.as_ref().filter(|_| self.draft.retry == Retry::No) else { return };
        if self.draft.outcome == Outcome::Applied {
            let message = format!(
                "{key} is changed again and again by another client (field manager {writer:?}); it is repaired no more often than \
                 every {} s. Stop one of the two",
                interval.as_secs()
            );
            let outcome = Outcome::Failed { reason: Reason::Contested, message, stalled: false };
            self.draft.outcome = outcome;
        }
        self.draft.retry = Retry::Later(answered.resync.map_or(after, |resync| resync.min(after)));
    }

    /// Counts decisions that write, and backs off in a write loop.
    pub(super) fn detect_write_loop(&mut self) {
        let draft = &self.draft;
        // A failure or a lost race backs off already, and shows nothing about a loop.
        let counts = draft.answered.is_some() && draft.retry == Retry::No;
        if !counts || matches!(draft.outcome, Outcome::Failed { .. }) {
            return;
        }
        let plan = &draft.plan;
        let wrote = plan.writes_children();
        // Waiting for a deletion is neither settled nor a write.
        if !wrote && !plan.is_settled() {
            return;
        }
        let Self { context, snapshot, kept, .. } = self;
        if kept.write_loop.decided(snapshot.parent.digest, &context.digest, &context.settings, wrote) {
            let conclusion = failed(
                Reason::Unsettled,
                write_loop_message(&self.draft.plan),
                false,
                Retry::Within { most: WRITE_LOOP_BACKOFF_MAX, after: None },
            );
            (self.draft.outcome, self.draft.retry) = conclusion;
        }
    }

    /// What the provider's account lacks the right to, if that kept anything from being read or written.
    fn denied(&self) -> Option<String> {
        let Executed { failed, kept, .. } = &self.draft.executed;
        let unread = self.snapshot.unread.as_ref().map(|unread| &unread.error);
        let of_children = failed.iter().chain(kept).map(|(_, error)| error);
        let mut errors = unread.into_iter().chain(of_children).chain(&self.draft.status_error);
        errors.find_map(|error| match error {
            ApiError::Denied(message) => Some(message.clone()),
            _ => None,
        })
    }

    pub(super) fn done(&mut self, next: Next, executed: Executed, ended: Ended) {
        let mut kept = std::mem::take(&mut self.kept);
        let mut observed = executed.restored;
        let kinds = &self.context.written_kinds;
        let lost =
            executed.failed.iter().chain(&self.unsure).filter(|(_, error)| error.is_unsure()).map(|(key, _)| key);
        let unsure = lost.filter_map(|key| Some((kinds.iter().find(|kind| key.is_of(kind))?.clone(), key.clone())));
        let unsure = unsure.collect();
        for (intent, child) in executed.written {
            kept.memory.remember(child.key.clone(), intent, child.digest);
            observed.push(child);
        }
        observed.extend(executed.parent);
        let (references, called) = match &next {
            Next::Supply(supplied) => (supplied.references.clone(), Called::Answered),
            Next::Finish(_) => {
                let called = std::mem::replace(&mut self.draft.called, Called::No);
                (self.snapshot.supplied.references.clone(), called)
            }
        };
        let wanted = executed.taken.into_iter().map(|(key, _)| key).collect();
        self.state = State::Done;
        let deleted = executed.deleted;
        self.report = Some(Report { next, references, kept, observed, deleted, unsure, wanted, called, ended });
    }
}

/// The event on a parent that has left the claim of its provider.
fn released(provider: &str, left: &Left) -> ProviderEvent {
    let now = match &left.successor {
        Some(successor) => format!("provider {successor} serves it from now on"),
        None => "no provider claims it: its children stay as they are".to_owned(),
    };
    let message = format!("Provider {provider} no longer claims it and has released its children; {now}");
    ProviderEvent { type_: EventType::Normal, reason: Reason::Released.to_string(), message }
}

fn write_loop_message(plan: &Plan) -> String {
    let applied = plan.waves().flatten().next().map(|apply| &apply.intent.key);
    let deleted = plan.due_deletes().first().map(|delete| &delete.key);
    let child = applied.or(deleted).map_or_else(|| "its children".to_owned(), ToString::to_string);
    format!(
        "{child} is written over and over, though nobody edits the parent: either the provider's answer depends on its own \
         writes (report it to its author), or another writer keeps changing the children; retrying with backoff"
    )
}
