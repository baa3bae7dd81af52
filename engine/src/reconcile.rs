//! One reconcile of one parent as a state machine without I/O: the request to the provider, the decision on its answer, the
//! execution of the plan, the status, the events, and the requeue. A driver carries out its effects and returns the replies, in
//! any order: the host with a client, the simulation with an API server in memory. Dropping it at any point is equivalent to a
//! crash.

mod child;
mod clock;
mod closing;
mod draft;
mod effect;
mod execution;
mod obstacle;
mod outcome;
mod recreate;
mod report;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bartizan_contract::digest::sha256;
use bartizan_contract::{Kind, ProviderEvent, Reason, ReconcileResponse};

use crate::api_error::ApiError;
use crate::breaker::Called;
use crate::decide::{DecideInput, Decision, Execute, decide};
use crate::gate::Refusal;
use crate::object::{ObjectKey, Observed};
use crate::ownership;
use crate::patch::MergePatch;
use crate::phase::{self, Phase};
use crate::plan::{self, FinalizerStep, Plan};
use crate::queue::Finished;
use crate::secrets::Revealed;
use crate::snapshot::{Kept, Origin, ProviderContext, Question, Settled, Snapshot, Unread};
use crate::status::Outcome;

pub use clock::Clock;
pub use effect::{CallCause, CallError, Effect, Propagation, Reply, Ticket};
pub use execution::Executed;
pub use outcome::Retry;
pub use report::{Decided, Ended, Next, Report};

use draft::Draft;
use execution::{Execution, Slot, Target};
use outcome::{
    Conclusion, UNWATCHED, after_deleting, after_serving, changed_meanwhile, failed, read_again,
    retried_while_finalizing, without_answer,
};

/// One reconcile of one parent.
#[derive(Debug)]
pub struct Reconcile {
    context: Arc<ProviderContext>,
    snapshot: Snapshot,
    /// The values behind the tokens of the request.
    issued: Arc<Revealed>,
    kept: Kept,
    state: State,
    /// Effects that were not returned yet.
    outbox: Vec<(Ticket, Effect)>,
    /// The report, as far as it is known.
    draft: Draft,
    report: Option<Report>,
    /// The plan whose execution has begun, until it is taken.
    started_plan: Option<String>,
    /// Children of which it is still not known whether their last write took effect, and why it could not be read.
    unsure: Vec<(ObjectKey, ApiError)>,
}

#[derive(Debug)]
enum State {
    Begin {
        /// Children whose last write got no response.
        unsure: Vec<(Kind, ObjectKey)>,
    },
    ReadingUnsure {
        keys: Vec<(Kind, ObjectKey)>,
        replies: Vec<Option<Result<Observed, ApiError>>>,
    },
    ReadingNamespace,
    Calling(Question),
    Listing(End),
    MarkingFinalized,
    Executing {
        execution: Box<Execution>,
        conclude: fn(&Plan, &Executed) -> Conclusion,
    },
    WritingStatus,
    /// The parent changed since it was observed: whether by something that matters to the status.
    RereadingParent,
    /// The CRD rejected the status; this one reports that.
    WritingRefusal,
    SendingEvents {
        waiting: VecDeque<ProviderEvent>,
        status: StatusWrite,
    },
    Done,
}

/// How the children of a deleted parent are handled without calling its provider.
#[derive(Clone, Copy, Debug)]
enum End {
    Release(FinalizerStep),
    Teardown,
    /// It lives, and is no longer this provider's.
    Leave,
}

/// Result of the status write: `Ok` with the parent if it was written; `Err` requests a retry, after the given delay if any.
type StatusWrite = Result<Option<Box<Observed>>, Option<Duration>>;

impl Reconcile {
    /// A reconcile of the parent of `snapshot`. `unsure` are children whose last write got no response: they are read first. If a
    /// read shows something, nothing else is decided in this reconcile; those that cannot be read are left alone.
    #[must_use]
    pub fn new(context: Arc<ProviderContext>, snapshot: Snapshot, kept: Kept, unsure: Vec<(Kind, ObjectKey)>) -> Self {
        Self {
            context,
            snapshot,
            issued: Arc::default(),
            kept,
            state: State::Begin { unsure },
            outbox: Vec::new(),
            draft: Draft::default(),
            report: None,
            started_plan: None,
            unsure: Vec::new(),
        }
    }

    /// The snapshot that it works on.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The values behind the tokens of the request.
    #[must_use]
    pub fn issued(&self) -> Arc<Revealed> {
        self.issued.clone()
    }

    /// The plan whose execution has begun since the last call, as text; `None` if there is nothing to do.
    pub fn take_started_plan(&mut self) -> Option<String> {
        self.started_plan.take()
    }

    /// The effects that may be carried out now; each is returned once. If there are none and no reply is outstanding, it is done.
    pub fn effects(&mut self, clock: &dyn Clock) -> Vec<(Ticket, Effect)> {
        if let State::Begin { unsure } = &mut self.state {
            let unsure = std::mem::take(unsure);
            self.begin(unsure, clock);
        }
        std::mem::take(&mut self.outbox)
    }

    /// Takes the reply to an effect.
    pub fn reply(&mut self, ticket: Ticket, reply: Reply, clock: &dyn Clock) {
        let reply = match reply {
            Reply::Children(listed) => Reply::Children(listed.map(|listed| self.children_of(listed))),
            reply => reply,
        };
        match std::mem::replace(&mut self.state, State::Done) {
            State::ReadingUnsure { keys, replies } => self.unsure_read(ticket, reply, keys, replies, clock),
            State::ReadingNamespace => match reply {
                Reply::Terminating(Ok(namespace_terminating)) => {
                    self.ask(Question::Finalize { namespace_terminating }, clock);
                }
                Reply::Terminating(Err(error)) => {
                    let after = Retry::After(error.retry_after());
                    self.conclude(failed(Reason::NamespaceUnknown, error.to_string(), false, after), clock);
                }
                other => self.unexpected_reply(&other.unexpected(), clock),
            },
            State::Calling(question) => match reply {
                Reply::Called(result) => self.called(question, result, clock),
                other => self.unexpected_reply(&other.unexpected(), clock),
            },
            State::Listing(end) => match reply {
                Reply::Children(Ok(children)) => self.end(end, &children, clock),
                Reply::Children(Err(error)) => {
                    let message = format!("listing the children failed: {error}");
                    let after = Retry::After(error.retry_after());
                    self.conclude(failed(Reason::DeletionBlocked, message, false, after), clock);
                }
                other => self.unexpected_reply(&other.unexpected(), clock),
            },
            State::MarkingFinalized => self.finalized_marked(reply.object(), clock),
            State::Executing { execution, conclude } => {
                self.executing(ticket.0, reply, *execution, conclude, clock);
            }
            State::WritingStatus => self.status_written(reply.object(), clock),
            State::RereadingParent => self.parent_reread(reply, clock),
            State::WritingRefusal => self.refusal_written(reply.object().map(Some), clock),
            State::SendingEvents { waiting, status } => self.next_event(waiting, status, clock),
            state @ (State::Begin { .. } | State::Done) => self.state = state,
        }
    }

    fn children_of(&self, listed: Vec<Arc<Observed>>) -> Vec<Arc<Observed>> {
        ownership::children_of(&self.snapshot.parent, listed, &self.context.name, &self.context.grants)
    }

    /// The report, once it is done.
    #[must_use]
    pub fn into_report(self) -> Option<Report> {
        self.report
    }

    fn send(&mut self, state: State, effect: Effect) {
        self.state = state;
        self.outbox.push((Ticket(0), effect));
    }

    fn begin(&mut self, unsure: Vec<(Kind, ObjectKey)>, clock: &dyn Clock) {
        if !unsure.is_empty() {
            let gets = unsure.iter().cloned().map(|(kind, key)| Effect::Get { kind, key });
            self.outbox.extend(gets.enumerate().map(|(slot, effect)| (Ticket(slot), effect)));
            let replies = vec![None; unsure.len()];
            self.state = State::ReadingUnsure { keys: unsure, replies };
            return;
        }
        self.begin_phase(clock);
    }

    /// Whether the parent is no longer this provider's. One that is being deleted is finalized by whoever holds its finalizer, and a
    /// paused one stays as it is.
    fn is_leaving(&self) -> bool {
        let Snapshot { parent, left, .. } = &self.snapshot;
        left.is_some() && !parent.deleting && !parent.marks.paused
    }

    fn begin_phase(&mut self, clock: &dyn Clock) {
        if self.is_leaving() {
            self.send(State::Listing(End::Leave), Effect::ListChildren);
            return;
        }
        match phase::of(&self.snapshot.parent, &self.context.name, self.context.finalizes) {
            Phase::Terminating => {
                let again = |unread: &Unread| Finished::Retry { after: unread.error.retry_after(), most: UNWATCHED };
                let finished = self.snapshot.unread.as_ref().map_or(Finished::Done { resync: None }, again);
                self.undecided(finished, Executed::default());
            }
            // What could not be read is read again all the same: a preview asks about paused parents, too.
            Phase::Paused => {
                let retry = self.snapshot.unread.as_ref().map_or(Retry::No, read_again);
                self.conclude((Outcome::Paused, retry), clock);
            }
            Phase::Release(step) => self.send(State::Listing(End::Release(step)), Effect::ListChildren),
            Phase::Teardown => self.send(State::Listing(End::Teardown), Effect::ListChildren),
            Phase::Serve(step) => self.ask(Question::Serve(step), clock),
            Phase::Finalize => match &self.snapshot.parent.key.namespace {
                Some(namespace) => {
                    let name = namespace.to_string();
                    self.send(State::ReadingNamespace, Effect::ReadNamespace(name));
                }
                None => self.ask(Question::Finalize { namespace_terminating: false }, clock),
            },
        }
    }

    /// Handles the reads of children whose last write got no response. The next decision depends on their state, so nothing else
    /// is decided now if one was read. One that cannot be read must not keep the parent from being edited or deleted.
    fn unsure_read(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        keys: Vec<(Kind, ObjectKey)>,
        mut replies: Vec<Option<Result<Observed, ApiError>>>,
        clock: &dyn Clock,
    ) {
        if let Some(slot) = replies.get_mut(ticket.0) {
            *slot = Some(reply.object());
        }
        if replies.iter().any(Option::is_none) {
            self.state = State::ReadingUnsure { keys, replies };
            return;
        }
        let mut executed = Executed::default();
        for ((_, key), reply) in keys.into_iter().zip(replies.into_iter().flatten()) {
            match reply {
                Ok(live) => executed.restored.push(live),
                Err(ApiError::NotFound(_)) => {}
                Err(error) => executed.failed.push((key, error)),
            }
        }
        if executed.failed.is_empty() || !executed.restored.is_empty() {
            self.undecided(Finished::Again { after: Duration::ZERO }, executed);
        } else {
            self.unsure = executed.failed;
            self.begin_phase(clock);
        }
    }

    /// Calls the provider, unless nothing changed since the last complete decision.
    fn ask(&mut self, question: Question, clock: &dyn Clock) {
        if let Some((reason, message, retry)) = self.obstacle() {
            // The deletion of the namespace does not wait for it.
            if question.namespace_terminating() {
                self.draft.ignored = Some(message);
                self.execute(plan::remove_finalizer(), &[], after_deleting, clock);
            } else {
                self.conclude(failed(reason, message, false, retry), clock);
            }
            return;
        }
        let request = self.snapshot.request(&self.context, question);
        let digest = sha256(&request);
        let resync_due = self.kept.resync_at.is_some_and(|at| at <= clock.instant());
        // The answer of another module does not count.
        let settled = Settled { request: digest, module: self.context.digest.clone() };
        let is_settled = self.kept.settled.as_ref() == Some(&settled);
        // Within the rounds of a decision, a request may equal an earlier one that was complete when fewer objects existed.
        if is_settled && !resync_due && self.unsure.is_empty() && self.snapshot.supplied.origin == Origin::Memory {
            let resync = self.kept.resync_at.map(|at| at.saturating_duration_since(clock.instant()));
            let next = Next::Finish(Finished::Done { resync });
            self.done(next, Executed::default(), Ended::Unchanged { request: digest });
            return;
        }
        self.draft.request = Some(digest);
        self.issued = Arc::new(self.snapshot.issued());
        self.send(State::Calling(question), Effect::Call(request));
    }

    fn called(
        &mut self,
        question: Question,
        result: Result<Result<ReconcileResponse, Refusal>, CallError>,
        clock: &dyn Clock,
    ) {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                let (conclusion, called) = without_answer(&error);
                self.draft.called = called;
                // The deletion of the namespace does not wait for the provider.
                match question.namespace_terminating() {
                    true => {
                        self.draft.ignored = Some(error.message);
                        self.execute(plan::remove_finalizer(), &[], after_deleting, clock);
                    }
                    false => self.conclude(retried_while_finalizing(conclusion, question), clock),
                }
                return;
            }
        };
        self.draft.called = Called::Answered;
        let unsure = self.unsure.iter().map(|(key, _)| key.clone()).collect();
        let resting = self.kept.contest.resting(clock.instant());
        let decision = decide(
            &DecideInput {
                context: &self.context,
                snapshot: &self.snapshot,
                question,
                issued: &self.issued,
                memory: &self.kept.memory,
                unsure: &unsure,
                resting: &resting,
            },
            answer,
        );
        match decision {
            Decision::Refuse(refusal) => {
                let message = self.refusal(&refusal);
                self.draft.refused = Some(refusal);
                self.conclude(failed(Reason::Refused, message, false, Retry::After(None)), clock);
            }
            Decision::Supply(supplied) => {
                let request = self.draft.request.unwrap_or_default();
                let ended = Ended::AskedForMore { request, supplied: supplied.clone() };
                self.done(Next::Supply(supplied), Executed::default(), ended);
            }
            Decision::Hold(answered) => {
                self.draft.answered = Some(answered);
                self.conclude(retried_while_finalizing((Outcome::Held, Retry::No), question), clock);
            }
            Decision::MarkFinalized(answered) => {
                self.draft.answered = Some(answered);
                // Recorded for good: children that are deleted from now on must not be recreated.
                let patch = MergePatch::finalized(&self.snapshot.parent, &self.context.name);
                self.send(State::MarkingFinalized, Effect::Patch(patch));
            }
            Decision::RemoveFinalizer { plan, refused } => {
                self.draft.ignored = refused.as_ref().map(|refusal| self.refusal(refusal));
                self.draft.refused = refused;
                self.execute(plan, &[], after_deleting, clock);
            }
            Decision::Execute(execute) => {
                let Execute { plan, answered, .. } = *execute;
                self.draft.answered = Some(answered);
                let children = self.snapshot.children.clone();
                self.execute(plan, &children, after_serving, clock);
            }
        }
    }

    fn refusal(&self, refusal: &Refusal) -> String {
        format!("The answer of provider {} was refused: {refusal}", self.context.name)
    }

    fn finalized_marked(&mut self, result: Result<Observed, ApiError>, clock: &dyn Clock) {
        let conclusion = match result {
            Ok(parent) => {
                self.draft.executed.parent = Some(parent);
                let message = "its children are being deleted".to_owned();
                (Outcome::Waiting { message }, Retry::LostRace)
            }
            Err(ApiError::Conflict(message)) => {
                self.draft.executed.stale.push((self.snapshot.parent.key.clone(), message));
                changed_meanwhile("it")
            }
            Err(error) => {
                let after = Retry::After(error.retry_after());
                failed(Reason::DeletionBlocked, error.to_string(), false, after)
            }
        };
        self.conclude(conclusion, clock);
    }

    /// The provider has nothing left to do: the remaining children are deleted or released, by a live list.
    fn end(&mut self, end: End, children: &[Arc<Observed>], clock: &dyn Clock) {
        let (provider, parent) = (&self.context.name, &self.snapshot.parent);
        let plan = match end {
            End::Release(step) => plan::release_all(provider, parent, children, step),
            End::Teardown => plan::teardown(provider, parent, children, &self.kept.memory),
            End::Leave if parent.finalizers.contains(&self.context.finalizer) => {
                plan::let_go(provider, parent, children, FinalizerStep::Remove)
            }
            End::Leave => plan::let_go(provider, parent, children, FinalizerStep::Keep),
        };
        self.execute(plan, children, after_deleting, clock);
    }

    fn execute(
        &mut self,
        plan: Plan,
        children: &[Arc<Observed>],
        conclude: fn(&Plan, &Executed) -> Conclusion,
        clock: &dyn Clock,
    ) {
        if !plan.is_settled() {
            self.started_plan = Some(plan.to_string());
        }
        let (execution, effects) = Execution::begin(plan, children, target(&self.context, &self.snapshot));
        self.advance(execution, effects, conclude, clock);
    }

    fn executing(
        &mut self,
        slot: Slot,
        reply: Reply,
        mut execution: Execution,
        conclude: fn(&Plan, &Executed) -> Conclusion,
        clock: &dyn Clock,
    ) {
        let effects = execution.reply(slot, reply, target(&self.context, &self.snapshot));
        self.advance(execution, effects, conclude, clock);
    }

    fn advance(
        &mut self,
        mut execution: Execution,
        effects: Vec<(Slot, Effect)>,
        conclude: fn(&Plan, &Executed) -> Conclusion,
        clock: &dyn Clock,
    ) {
        self.outbox.extend(effects.into_iter().map(|(slot, effect)| (Ticket(slot), effect)));
        match execution.finished() {
            Some((plan, mut executed)) => {
                executed.failed.append(&mut self.unsure);
                let conclusion = conclude(&plan, &executed);
                (self.draft.plan, self.draft.executed) = (plan, executed);
                self.conclude(conclusion, clock);
            }
            None => self.state = State::Executing { execution: Box::new(execution), conclude },
        }
    }

    fn undecided(&mut self, finished: Finished, executed: Executed) {
        self.done(Next::Finish(finished), executed, Ended::Undecided);
    }

    /// A reply that does not match its effect: a bug of the driver.
    fn unexpected_reply(&mut self, error: &ApiError, clock: &dyn Clock) {
        self.conclude(failed(Reason::HostError, error.to_string(), false, Retry::After(None)), clock);
    }
}

fn target<'a>(context: &'a ProviderContext, snapshot: &'a Snapshot) -> Target<'a> {
    Target { provider: &context.name, finalizer: &context.finalizer, parent: &snapshot.parent }
}
