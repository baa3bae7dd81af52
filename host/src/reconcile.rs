//! One reconcile: ask the provider, pass its answer through the gate, plan, execute, say what came of it.

pub(crate) mod call_pool;
pub(crate) mod dry_run;
pub(crate) mod executor;
pub(crate) mod generated_values;
pub(crate) mod outcome;
pub(crate) mod provider_call;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod write_loop;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_contract::FailureCode;
use bartizan_engine::breaker::Called;
use bartizan_engine::gate::{self, Answer};
use bartizan_engine::object::Hash;
use bartizan_engine::phase::{self, Phase};
use bartizan_engine::plan::{self, PlanInput};
use bartizan_engine::queue::{BACKOFF_MAX, Finished};
use bartizan_engine::secrets::Revealed;
use bartizan_engine::status::Outcome;
use bartizan_engine::{FinalizerStep, ObjectKey, Observed, Plan, Refusal};
use bartizan_runtime::{CallError, Fault, LogLevel, LogLine};
use sha2::{Digest as _, Sha256};
use tracing::{debug, error, info, trace, warn};

use crate::kubernetes::error::ApiError;
use crate::reconcile::executor::{Executed, Target};
use crate::reconcile::outcome::{conclude, conclude_end};
use crate::reconcile::provider_call::{Answered, Read};
use crate::reconcile::snapshot::{Decision, Job, Next, Origin, Report, Retry, Shared, Supplied};
use crate::telemetry::explain::Explained;
use crate::telemetry::observer::Observer;
use crate::telemetry::recorder::Call;

/// Time until the next try after a lost race: the watch has most often delivered the new state by then.
const LOST_RACE: Duration = Duration::from_millis(250);

/// What a call of the provider leads to.
enum Asked {
    /// Nothing changed since the last complete decision.
    Unchanged(Hash),
    /// It wants to see more.
    More(Supplied, Hash),
    /// It decided.
    Decided(Box<Decision>, Hash),
}

/// Reconciles one parent.
pub(crate) async fn reconcile(shared: &Shared, mut job: Job) -> Report {
    if let Some(report) = read_unsure(shared, &mut job).await {
        return report;
    }
    let asked = match phase::of(&job.parent, &shared.provider, shared.finalizes) {
        Phase::Going => {
            let finish = Next::Finish(Finished::Done { resync: None });
            return report(job, finish, Executed::default(), None);
        }
        Phase::Paused => Ok(Decision::new(Outcome::Paused, Retry::No)),
        Phase::LetGo(step) => {
            Ok(end(shared, &job, |children| plan::abandon(&shared.provider, &job.parent, children, step)).await)
        }
        Phase::Teardown => Ok(teardown(shared, &job).await),
        Phase::Serve(step) => Err(ask(shared, &job, Some(step), false).await),
        Phase::Finalize => match namespace_goes(shared, &job.parent).await {
            Ok(terminating) => Err(ask(shared, &job, None, terminating).await),
            Err(error) => {
                let (message, after) = (error.to_string(), error.retry_after());
                Ok(Decision::failed("NamespaceUnknown", message, false, Retry::After(after)))
            }
        },
    };
    let (decision, digest) = match asked {
        Ok(decision) => (decision, None),
        Err(Asked::Decided(decision, digest)) => (*decision, Some(digest)),
        Err(Asked::Unchanged(digest)) => {
            let now = Instant::now();
            let resync = job.kept.resync_at.map(|at| at.saturating_duration_since(now));
            let explained = Explained::unchanged(&digest);
            return report(job, Next::Finish(Finished::Done { resync }), Executed::default(), Some(explained));
        }
        Err(Asked::More(supplied, digest)) => {
            let explained = Explained::asked_for_more(&digest, &supplied);
            let report = report(job, Next::Supply(supplied), Executed::default(), Some(explained));
            return Report { called: Called::Answered, ..report };
        }
    };
    finish(shared, job, decision, digest).await
}

/// Says what came of a decision, and when the parent is due again.
async fn finish(shared: &Shared, mut job: Job, mut decision: Decision, digest: Option<Hash>) -> Report {
    write_loop::slow_down(shared, &mut job, &mut decision);
    let status = if decision.executed.let_go { Ok(None) } else { status::status(shared, &job, &decision).await };
    let quiet = decision.plan.is_settled() && matches!(status, Ok(None));
    let recorded = matches!(status, Ok(Some(_)));
    status::events(shared, &mut job, &decision, recorded, quiet).await;
    job.kept.resync_at = decision.resync.map(|after| Instant::now() + after);

    let finished = match (decision.retry, &status) {
        (Retry::After(after), _) => Finished::Retry { after, most: BACKOFF_MAX },
        (Retry::Within(most), _) => Finished::Retry { after: None, most },
        (_, Err(after)) => Finished::Retry { after: *after, most: BACKOFF_MAX },
        (Retry::LostRace, Ok(_)) => Finished::Again { after: LOST_RACE },
        (Retry::No, Ok(_)) => Finished::Done { resync: decision.resync },
    };
    let settled = digest.filter(|_| matches!(finished, Finished::Done { .. }));
    job.kept.settled = settled.map(|request| (request, shared.digest.clone()));
    let explained = Explained::decided(digest.as_ref(), &decision, &job.supplied);
    let mut report = report(job, Next::Finish(finished), decision.executed, Some(explained));
    report.called = decision.called;
    report.observed.extend(status.ok().flatten());
    report
}

fn report(job: Job, next: Next, executed: Executed, explained: Option<Explained>) -> Report {
    let mut kept = job.kept;
    let mut observed = executed.restored;
    let lost = |(key, error): &(ObjectKey, ApiError)| matches!(error, ApiError::Transient { .. }).then(|| key.clone());
    let unsure = executed.failed.iter().filter_map(lost);
    let kinds = executed.kinds;
    let unsure = unsure.filter_map(|key| Some((kinds.iter().find(|kind| key.is_of(kind))?.clone(), key))).collect();
    for (intent, child) in executed.written {
        kept.memory.remember(child.key.clone(), intent, child.digest);
        observed.push(child);
    }
    observed.extend(executed.parent);
    let references = match &next {
        Next::Supply(supplied) => supplied.references.clone(),
        Next::Finish(_) => job.supplied.references,
    };
    let wanted = executed.taken.into_iter().map(|(key, _)| key).collect();
    let (deleted, called) = (executed.deleted, Called::No);
    Report { next, references, kept, observed, deleted, unsure, wanted, explained, called }
}

/// Reads what became of writes that were not answered. Their end decides what is asked next, so it comes first.
async fn read_unsure(shared: &Shared, job: &mut Job) -> Option<Report> {
    let unsure = std::mem::take(&mut job.unsure);
    if unsure.is_empty() {
        return None;
    }
    let mut executed = Executed { kinds: shared.written_kinds.clone(), ..Executed::default() };
    for (kind, key) in unsure {
        match shared.writer.get(&kind, &key).await {
            Ok(live) => executed.restored.push(live),
            Err(ApiError::NotFound(_)) => {}
            Err(error) => executed.failed.push((key, error)),
        }
    }
    let finished = match executed.failed.first() {
        Some((_, error)) => Finished::Retry { after: error.retry_after(), most: BACKOFF_MAX },
        None => Finished::Again { after: Duration::ZERO },
    };
    let job = Job {
        parent: job.parent.clone(),
        kind: job.kind.clone(),
        has_status: job.has_status,
        children: Vec::new(),
        descendants: Vec::new(),
        supplied: std::mem::take(&mut job.supplied),
        optional_kinds: BTreeMap::new(),
        unsure: Vec::new(),
        kept: std::mem::take(&mut job.kept),
        observer: job.observer.clone(),
    };
    Some(report(job, Next::Finish(finished), executed, None))
}

/// Whether the parent's namespace is going, with everything in it.
async fn namespace_goes(shared: &Shared, parent: &Observed) -> Result<bool, ApiError> {
    match &parent.key.namespace {
        Some(namespace) => shared.writer.is_terminating(namespace).await,
        None => Ok(false),
    }
}

/// The provider has nothing left to do: what remains goes, by what the API server says now.
async fn teardown(shared: &Shared, job: &Job) -> Decision {
    end(shared, job, |children| plan::teardown(&shared.provider, &job.parent, children)).await
}

/// Executes a plan over the children as they are now.
async fn end(shared: &Shared, job: &Job, plan: impl FnOnce(&[Arc<Observed>]) -> Plan) -> Decision {
    let children = match shared.writer.list_children(&shared.written_kinds, &shared.provider, &job.parent).await {
        Ok(children) => children,
        Err(error) => {
            let message = format!("the children could not be listed: {error}");
            return Decision::failed("DeletionBlocked", message, false, Retry::After(error.retry_after()));
        }
    };
    let plan = plan(&children);
    let executed = run(shared, job, &plan, &children, &Revealed::default()).await;
    let (outcome, retry) = conclude_end(&plan, &executed);
    Decision { plan, executed, ..Decision::new(outcome, retry) }
}

async fn run(shared: &Shared, job: &Job, plan: &Plan, children: &[Arc<Observed>], revealed: &Revealed) -> Executed {
    if !plan.is_settled() {
        info!(provider = shared.provider, parent = %job.parent.key, "{plan}");
    }
    let target = Target {
        writer: &shared.writer,
        provider: &shared.provider,
        parent: &job.parent,
        kind: &job.kind,
        finalizer: &shared.finalizer,
        children,
        revealed,
    };
    let mut executed = target.execute(plan).await;
    executed.kinds.clone_from(&shared.written_kinds);
    executed
}

/// Builds the request, and calls the provider unless nothing changed. `serve` is `None` if it is asked to finish.
async fn ask(shared: &Shared, job: &Job, serve: Option<FinalizerStep>, terminating: bool) -> Asked {
    let request = provider_call::request(shared, job, serve.is_none(), terminating);
    let digest: Hash = Sha256::digest(&request).into();
    let timer_due = job.kept.resync_at.is_some_and(|at| at <= Instant::now());
    // What another module said counts no more.
    let is_settled = job.kept.settled.as_ref() == Some(&(digest, shared.digest.clone()));
    // Within the rounds of a decision a request may well be one that was decided on when less was there.
    if is_settled && !timer_due && job.supplied.origin == Origin::Memory {
        trace!(provider = shared.provider, parent = %job.parent.key, "nothing changed since the last call");
        return Asked::Unchanged(digest);
    }
    let called = call(shared, request, &job.parent, &job.observer).await;
    let of_breaker = called.as_ref().map_or_else(|error| of_fault(&error.fault), |_| Called::Answered);
    let mut decision = match called {
        Err(error) => failure(shared, job, &error),
        Ok(response) => match decide(shared, job, response, serve, terminating).await {
            Ok(decision) => decision,
            Err(Undecided::More(supplied)) => return Asked::More(supplied, digest),
            Err(Undecided::Refused(refusal)) => {
                let message = format!("The answer of provider {} was refused: {refusal}", shared.provider);
                warn!(provider = shared.provider, parent = %job.parent.key, "{message}");
                job.observer.metrics.refused();
                Decision::failed("Refused", message, false, Retry::After(None))
            }
        },
    };
    decision.called = of_breaker.clone();
    // A namespace that goes takes everything along: whatever the provider said, it was asked, and nobody waits for it.
    if terminating {
        let plan = Plan { finalizer: FinalizerStep::Remove, ..Plan::default() };
        let executed = run(shared, job, &plan, &[], &Revealed::default()).await;
        let (outcome, retry) = conclude_end(&plan, &executed);
        let decision = Decision { plan, executed, called: of_breaker, ..Decision::new(outcome, retry) };
        return Asked::Decided(Box::new(decision), digest);
    }
    Asked::Decided(Box::new(decision), digest)
}

/// Calls the provider: counted, recorded if that is wanted, and with what it logged told.
async fn call(shared: &Shared, request: Vec<u8>, parent: &Observed, observer: &Observer) -> Result<Read, CallError> {
    let Answered { result, duration, request } = provider_call::call(shared, request).await?;
    observer.metrics.called(duration);
    if observer.recorder.keeps(parent) {
        let (provider, module, limits) = (&shared.provider, shared.module.digest(), &shared.limits);
        let result = result.as_ref().map(|(answer, _)| answer);
        observer.recorder.keep(Call { provider, module, limits, parent, request, result });
    }
    let logs = result.as_ref().map_or_else(|error| &error.logs, |(answer, _)| &answer.logs);
    for LogLine { level, message } in logs {
        let (provider, parent) = (shared.provider.as_str(), parent.key.to_string());
        match level {
            LogLevel::Trace => trace!(provider, parent, "{message}"),
            LogLevel::Debug => debug!(provider, parent, "{message}"),
            LogLevel::Info => info!(provider, parent, "{message}"),
            LogLevel::Warn => warn!(provider, parent, "{message}"),
            LogLevel::Error => error!(provider, parent, "{message}"),
        }
    }
    result.map(|(_, read)| read)
}

/// What a fault says about the provider as a whole. A response that is too large says nothing: it may well be the parent's.
fn of_fault(fault: &Fault) -> Called {
    match fault {
        Fault::Failure(_) => Called::Answered,
        Fault::Trap { .. } | Fault::Timeout { .. } | Fault::Memory { .. } | Fault::BadAnswer { .. } => {
            Called::Faulted(fault.to_string())
        }
        _ => Called::No,
    }
}

/// The provider did not answer.
fn failure(shared: &Shared, job: &Job, error: &CallError) -> Decision {
    let message = error.to_string();
    warn!(provider = shared.provider, parent = %job.parent.key, reason = error.fault.reason(), "{message}");
    match &error.fault {
        // A provider is a pure function: the same parent is as invalid the next time. It is asked again once something
        // changes.
        Fault::Failure(failure) if failure.code == FailureCode::Invalid => {
            Decision::failed("Invalid", message, true, Retry::No)
        }
        Fault::Failure(failure) => {
            let after = failure.retry_after_seconds.map(|seconds| Duration::from_secs(seconds.max(1).into()));
            Decision::failed(error.fault.reason(), message, false, Retry::After(after))
        }
        fault => Decision::failed(fault.reason(), message, false, Retry::After(None)),
    }
}

/// Why an answer is not acted on.
enum Undecided {
    Refused(Refusal),
    More(Supplied),
}

impl From<Refusal> for Undecided {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The provider answered: gate, plan, execution.
async fn decide(
    shared: &Shared,
    job: &Job,
    response: Read,
    serve: Option<FinalizerStep>,
    terminating: bool,
) -> Result<Decision, Undecided> {
    let response = response?;
    let issued = provider_call::issued(job);
    let input = provider_call::gate_input(shared, job, &issued, serve.is_none());
    if let Some(supplied) = provider_call::wants_more(&response, &input, &job.supplied)? {
        return Err(Undecided::More(supplied));
    }
    let Answer { intents, hold, status, resync_after_seconds, keep, events, finalized } =
        gate::check(response, &input)?;
    let resync = resync_after_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    let mut decision = if hold {
        Decision::new(Outcome::Held, Retry::No)
    } else if terminating {
        Decision::new(Outcome::Applied, Retry::No)
    } else if finalized {
        // Said once is said for good: what goes now must not look like something to be made again.
        match shared.writer.mark_finalized(&job.kind, &job.parent, &shared.provider).await {
            Ok(parent) => {
                let waiting = Outcome::Waiting { message: "its children are being deleted".to_owned() };
                let executed = Executed { parent: Some(parent), ..Executed::default() };
                Decision { executed, ..Decision::new(waiting, Retry::LostRace) }
            }
            Err(ApiError::Conflict(_)) => {
                let waiting = Outcome::Waiting { message: "it changed in the meantime; trying again".to_owned() };
                Decision::new(waiting, Retry::LostRace)
            }
            Err(error) => {
                let (message, after) = (error.to_string(), error.retry_after());
                Decision::failed("DeletionBlocked", message, false, Retry::After(after))
            }
        }
    } else {
        let plan = plan::plan(&PlanInput {
            provider: &shared.provider,
            parent: &job.parent,
            intents: &intents,
            children: &job.children,
            keep: &keep,
            memory: &job.kept.memory,
            finalizer: serve.unwrap_or_default(),
        });
        let executed = run(shared, job, &plan, &job.children, &issued).await;
        let (outcome, retry) = conclude(&plan, &executed);
        Decision { plan, executed, ..Decision::new(outcome, retry) }
    };
    if let Outcome::Failed { message, .. } = &decision.outcome {
        warn!(provider = shared.provider, parent = %job.parent.key, "{message}");
    }
    (decision.answered, decision.resync, decision.events) = (Some(status), resync, events);
    Ok(decision)
}
