//! One reconcile of one parent as a state machine without I/O: what the provider is asked, what follows from its answer, the
//! execution of the plan, the status, the events, and when the parent is due again. Whoever drives it carries out effects and
//! brings back replies, in any order: the host with a client, a simulation with an API server in memory. It may be dropped at any
//! point, as a crash would.

mod child;
mod clock;
mod closing;
mod effect;
mod execution;
mod outcome;
mod report;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bartizan_contract::{Kind, ProviderEvent, Reason, ReconcileResponse};
use sha2::{Digest as _, Sha256};

use crate::api_error::ApiError;
use crate::breaker::Called;
use crate::decide::{Answered, DecideInput, Decision, Execute, decide};
use crate::gate::Refusal;
use crate::object::{Hash, ObjectKey, Observed};
use crate::patch::MergePatch;
use crate::phase::{self, Phase};
use crate::plan::{self, FinalizerStep, Plan};
use crate::queue::{BACKOFF_MAX, Finished};
use crate::secrets::Revealed;
use crate::snapshot::{Kept, Origin, ProviderContext, Question, Settled, Snapshot};
use crate::status::Outcome;

pub use clock::Clock;
pub use effect::{CallCause, CallError, Effect, Propagation, Reply, Ticket};
pub use execution::Executed;
pub use outcome::Retry;
pub use report::{Decided, Ended, Next, Report};

use execution::{Execution, Slot, Target};
use outcome::{Conclusion, after_ending, after_serving, changed_meanwhile, failed, without_answer};

/// One reconcile of one parent.
#[derive(Debug)]
pub struct Reconcile {
    context: Arc<ProviderContext>,
    snapshot: Snapshot,
    /// What stands behind the tokens of the request.
    issued: Arc<Revealed>,
    kept: Kept,
    state: State,
    /// Effects that were not handed out yet.
    outbox: Vec<(Ticket, Effect)>,
    /// What is known of its end so far.
    draft: Draft,
    report: Option<Report>,
    /// A plan that was begun, until somebody asks for it.
    begun: Option<String>,
}

#[derive(Debug)]
enum State {
    Begin {
        /// Children whose last write was not answered.
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
    /// The status was refused by the CRD; this one says so.
    WritingRefusal,
    SendingEvents {
        waiting: VecDeque<ProviderEvent>,
        status: StatusWrite,
    },
    Done,
}

/// How a parent ends without being asked about.
#[derive(Clone, Copy, Debug)]
enum End {
    LetGo(FinalizerStep),
    Teardown,
}

/// What came of the status: `Ok` with the parent if it was written; `Err` asks for another try, after the given time if any.
type StatusWrite = Result<Option<Box<Observed>>, Option<Duration>>;

/// What is known of the end of a reconcile so far.
#[derive(Debug)]
struct Draft {
    request: Option<Hash>,
    outcome: Outcome,
    retry: Retry,
    /// What the provider said; `None` if it did not answer, or not acceptably.
    answered: Option<Answered>,
    plan: Plan,
    executed: Executed,
    called: Called,
    refused: Option<Refusal>,
    status_error: Option<ApiError>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            request: None,
            outcome: Outcome::Applied,
            retry: Retry::No,
            answered: None,
            plan: Plan::default(),
            executed: Executed::default(),
            called: Called::No,
            refused: None,
            status_error: None,
        }
    }
}

impl Reconcile {
    /// A reconcile of the parent of `snapshot`. `unsure` are children whose last write was not answered: what became of it is
    /// read first, and decides nothing else.
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
            begun: None,
        }
    }

    /// The state that it works on.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What stands behind the tokens of the request.
    #[must_use]
    pub fn issued(&self) -> Arc<Revealed> {
        self.issued.clone()
    }

    /// A plan with something to do that was begun since the last time, in words.
    pub fn take_begun(&mut self) -> Option<String> {
        self.begun.take()
    }

    /// What may be sent now, each once. None, and no reply outstanding: it is done.
    pub fn effects(&mut self, clock: &dyn Clock) -> Vec<(Ticket, Effect)> {
        if let State::Begin { unsure } = &mut self.state {
            let unsure = std::mem::take(unsure);
            self.begin(unsure, clock);
        }
        std::mem::take(&mut self.outbox)
    }

    /// Takes the reply to an effect.
    pub fn reply(&mut self, ticket: Ticket, reply: Reply, clock: &dyn Clock) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::ReadingUnsure { keys, replies } => self.unsure_read(ticket, reply, keys, replies),
            State::ReadingNamespace => match reply {
                Reply::Terminating(Ok(namespace_terminating)) => {
                    self.ask(Question::Finalize { namespace_terminating }, clock);
                }
                Reply::Terminating(Err(error)) => {
                    let after = Retry::After(error.retry_after());
                    self.conclude(failed(Reason::NamespaceUnknown, error.to_string(), false, after), clock);
                }
                other => self.bug(&other.misplaced(), clock),
            },
            State::Calling(question) => match reply {
                Reply::Called(result) => self.called(question, result, clock),
                other => self.bug(&other.misplaced(), clock),
            },
            State::Listing(end) => match reply {
                Reply::Children(Ok(children)) => self.end(end, &children, clock),
                Reply::Children(Err(error)) => {
                    let message = format!("the children could not be listed: {error}");
                    let after = Retry::After(error.retry_after());
                    self.conclude(failed(Reason::DeletionBlocked, message, false, after), clock);
                }
                other => self.bug(&other.misplaced(), clock),
            },
            State::MarkingFinalized => self.finalized_marked(reply.object(), clock),
            State::Executing { execution, conclude } => {
                self.executing(ticket.0, reply, *execution, conclude, clock);
            }
            State::WritingStatus => self.status_written(reply.object(), clock),
            State::WritingRefusal => {
                self.draft.status_error = reply.object().err().or(self.draft.status_error.take());
                self.send_events(Err(None), clock);
            }
            State::SendingEvents { waiting, status } => self.next_event(waiting, status, clock),
            state @ (State::Begin { .. } | State::Done) => self.state = state,
        }
    }

    /// What it leaves behind, once it is done.
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
        match phase::of(&self.snapshot.parent, &self.context.name, self.context.finalizes) {
            Phase::Going => self.undecided(Finished::Done { resync: None }, Executed::default()),
            Phase::Paused => self.conclude((Outcome::Paused, Retry::No), clock),
            Phase::LetGo(step) => self.send(State::Listing(End::LetGo(step)), Effect::ListChildren),
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

    /// What became of writes that were not answered. Their end decides what is asked next, so nothing else is decided now.
    fn unsure_read(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        keys: Vec<(Kind, ObjectKey)>,
        mut replies: Vec<Option<Result<Observed, ApiError>>>,
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
        let finished = match executed.failed.first() {
            Some((_, error)) => Finished::Retry { after: error.retry_after(), most: BACKOFF_MAX },
            None => Finished::Again { after: Duration::ZERO },
        };
        self.undecided(finished, executed);
    }

    /// Asks the provider, unless nothing changed since the last complete decision.
    fn ask(&mut self, question: Question, clock: &dyn Clock) {
        let request = self.snapshot.request(&self.context, question);
        let digest: Hash = Sha256::digest(&request).into();
        let timer_due = self.kept.resync_at.is_some_and(|at| at <= clock.instant());
        // What another module said counts no more.
        let settled = Settled { request: digest, module: self.context.digest.clone() };
        let is_settled = self.kept.settled.as_ref() == Some(&settled);
        // Within the rounds of a decision a request may well be one that was decided on when less was there.
        if is_settled && !timer_due && self.snapshot.supplied.origin == Origin::Memory {
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
                // Nobody waits for the provider where the namespace takes everything along.
                match question.namespace_terminating() {
                    true => self.execute(plan::leave_with_namespace(), &[], after_ending, clock),
                    false => self.conclude(conclusion, clock),
                }
                return;
            }
        };
        self.draft.called = Called::Answered;
        let decision = decide(
            &DecideInput {
                context: &self.context,
                snapshot: &self.snapshot,
                question,
                issued: &self.issued,
                memory: &self.kept.memory,
            },
            answer,
        );
        match decision {
            Decision::Refuse(refusal) => {
                let message = format!("The answer of provider {} was refused: {refusal}", self.context.name);
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
                self.conclude((Outcome::Held, Retry::No), clock);
            }
            Decision::MarkFinalized(answered) => {
                self.draft.answered = Some(answered);
                // Said once is said for good: what goes now must not look like something to be made again.
                let patch = MergePatch::finalized(&self.snapshot.parent, &self.context.name);
                self.send(State::MarkingFinalized, Effect::Patch(patch));
            }
            Decision::LeaveWithNamespace(plan) => self.execute(plan, &[], after_ending, clock),
            Decision::Execute(execute) => {
                let Execute { plan, answered, .. } = *execute;
                self.draft.answered = Some(answered);
                let children = self.snapshot.children.clone();
                self.execute(plan, &children, after_serving, clock);
            }
        }
    }

    fn finalized_marked(&mut self, result: Result<Observed, ApiError>, clock: &dyn Clock) {
        let conclusion = match result {
            Ok(parent) => {
                self.draft.executed.parent = Some(parent);
                let message = "its children are being deleted".to_owned();
                (Outcome::Waiting { message }, Retry::LostRace)
            }
            Err(ApiError::Conflict(_)) => changed_meanwhile("it"),
            Err(error) => {
                let after = Retry::After(error.retry_after());
                failed(Reason::DeletionBlocked, error.to_string(), false, after)
            }
        };
        self.conclude(conclusion, clock);
    }

    /// The provider has nothing left to do: what remains goes, by what the API server says now.
    fn end(&mut self, end: End, children: &[Arc<Observed>], clock: &dyn Clock) {
        let (provider, parent) = (&self.context.name, &self.snapshot.parent);
        let plan = match end {
            End::LetGo(step) => plan::abandon(provider, parent, children, step),
            End::Teardown => plan::teardown(provider, parent, children),
        };
        self.execute(plan, children, after_ending, clock);
    }

    fn execute(
        &mut self,
        plan: Plan,
        children: &[Arc<Observed>],
        conclude: fn(&Plan, &Executed) -> Conclusion,
        clock: &dyn Clock,
    ) {
        if !plan.is_settled() {
            self.begun = Some(plan.to_string());
        }
        let (execution, effects) = Execution::begin(plan, children, target(&self.context, &self.snapshot));
        self.go_on(execution, effects, conclude, clock);
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
        self.go_on(execution, effects, conclude, clock);
    }

    fn go_on(
        &mut self,
        mut execution: Execution,
        effects: Vec<(Slot, Effect)>,
        conclude: fn(&Plan, &Executed) -> Conclusion,
        clock: &dyn Clock,
    ) {
        self.outbox.extend(effects.into_iter().map(|(slot, effect)| (Ticket(slot), effect)));
        match execution.finished() {
            Some((plan, executed)) => {
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

    /// A reply that does not fit: nothing is concluded from it.
    fn bug(&mut self, error: &ApiError, clock: &dyn Clock) {
        self.conclude(failed(Reason::HostError, error.to_string(), false, Retry::After(None)), clock);
    }
}

fn target<'a>(context: &'a ProviderContext, snapshot: &'a Snapshot) -> Target<'a> {
    Target { provider: &context.name, finalizer: &context.finalizer, parent: &snapshot.parent }
}
