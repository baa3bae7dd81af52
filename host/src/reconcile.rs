//! One reconcile: ask the provider, pass its answer through the gate, plan, execute, say what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_contract::{FailureCode, Kind};
use bartizan_engine::gate::{self, Answer, GateInput};
use bartizan_engine::object::Hash;
use bartizan_engine::plan::{self, PlanInput};
use bartizan_engine::queue::Finished;
use bartizan_engine::request::{self, RequestInput};
use bartizan_engine::status::{self, Outcome, Said, StatusInput};
use bartizan_engine::{Delete, Grants, Memory, Observed, Plan};
use bartizan_runtime::{CallError, Fault, Limits, LogLevel, LogLine, Module};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tracing::{debug, error, info, trace, warn};

use crate::api::{ApiError, Writer};
use crate::execute::{Executed, execute};

/// What all reconciles of one provider share.
pub(crate) struct Shared {
    /// Name of the provider.
    pub(crate) provider: String,
    /// Version of its module.
    pub(crate) version: String,
    /// Its code.
    pub(crate) module: Module,
    /// Bounds of one call.
    pub(crate) limits: Limits,
    /// What it may write.
    pub(crate) grants: Grants,
    /// Kinds of its children.
    pub(crate) child_kinds: Vec<Kind>,
    /// Optional kinds, and whether the cluster serves each.
    pub(crate) optional_kinds: std::collections::BTreeMap<String, bool>,
    /// Version of the API server.
    pub(crate) cluster_version: String,
    /// Where to write.
    pub(crate) writer: Writer,
    /// As many calls of all providers at the same time as the sandbox has room for.
    pub(crate) calls: Arc<Semaphore>,
}

/// Most children in one answer.
const MAX_CHILDREN: usize = 1000;

/// The snapshot that one reconcile works on.
pub(crate) struct Job {
    /// The parent.
    pub(crate) parent: Arc<Observed>,
    /// Its kind, and whether a status can be written.
    pub(crate) kind: Kind,
    /// Whether the parent's kind has a status subresource.
    pub(crate) has_status: bool,
    /// Its children.
    pub(crate) children: Vec<Arc<Observed>>,
    /// What was last written.
    pub(crate) memory: Memory,
    /// Hash of the last request whose plan was executed completely.
    pub(crate) settled: Option<Hash>,
    /// When the provider wants to be asked again, whatever happens.
    pub(crate) resync_at: Option<Instant>,
}

/// What a reconcile leaves behind.
pub(crate) struct Report {
    /// What the queue is told.
    pub(crate) finished: Finished,
    /// What was written, from now on.
    pub(crate) memory: Memory,
    /// Hash of the request whose plan was executed completely, if it was.
    pub(crate) settled: Option<Hash>,
    /// When the provider wants to be asked again.
    pub(crate) resync_at: Option<Instant>,
    /// Objects as the API server answered them: newer than the cache.
    pub(crate) observed: Vec<Observed>,
    /// Children that were deleted.
    pub(crate) deleted: Vec<Delete>,
}

/// What came of one decision, before the status is written.
struct Decision {
    outcome: Outcome,
    /// The provider's status; `None` if it did not answer, or not acceptably.
    answered: Option<Option<Value>>,
    retry: Retry,
    resync: Option<Duration>,
    executed: Executed,
}

/// Whether a decision must be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// Not before something changes.
    No,
    /// A race was lost: soon, and it is no failure.
    LostRace,
    /// It failed: after the given time, or after the backoff.
    After(Option<Duration>),
}

/// Time until the next try after a lost race: the watch has most often delivered the new state by then.
const LOST_RACE: Duration = Duration::from_millis(250);

impl Decision {
    fn failed(reason: &'static str, message: String, stalled: bool, retry: Retry) -> Self {
        let outcome = Outcome::Failed { reason, message, stalled };
        Self { outcome, answered: None, retry, resync: None, executed: Executed::default() }
    }
}

/// Reconciles one parent.
pub(crate) async fn reconcile(shared: &Shared, mut job: Job) -> Report {
    let children: Vec<&Observed> = job.children.iter().map(AsRef::as_ref).collect();
    let settings = Value::Object(Map::new());
    let request = request::build(&RequestInput {
        provider: &shared.provider,
        provider_version: &shared.version,
        settings: &settings,
        cluster_version: &shared.cluster_version,
        optional_kinds: &shared.optional_kinds,
        parent: &job.parent,
        child_kinds: &shared.child_kinds,
        children: &children,
    });
    let digest: Hash = Sha256::digest(&request).into();
    let now = Instant::now();
    let timer_due = job.resync_at.is_some_and(|at| at <= now);
    if job.settled == Some(digest) && !timer_due {
        trace!(provider = shared.provider, parent = %job.parent.key, "nothing changed since the last call");
        let resync = job.resync_at.map(|at| at.saturating_duration_since(now));
        return report(job, Finished::Done { resync }, Some(digest), Executed::default());
    }

    let decision = match call(shared, request, &job.parent).await {
        Ok(response) => decide(shared, &job, &response).await,
        Err(error) => failure(shared, &job, &error),
    };
    let status = write_status(shared, &job, &decision).await;
    job.resync_at = decision.resync.map(|after| Instant::now() + after);

    let finished = match (decision.retry, &status) {
        (Retry::After(after), _) => Finished::Retry { after },
        (_, Err(after)) => Finished::Retry { after: *after },
        (Retry::LostRace, Ok(_)) => Finished::Again { after: LOST_RACE },
        (Retry::No, Ok(_)) => Finished::Done { resync: decision.resync },
    };
    let settled = matches!(finished, Finished::Done { .. }).then_some(digest);
    let mut report = report(job, finished, settled, decision.executed);
    report.observed.extend(status.ok().flatten());
    report
}

fn report(job: Job, finished: Finished, settled: Option<Hash>, executed: Executed) -> Report {
    let mut memory = job.memory;
    let mut observed = executed.restored;
    for (intent, child) in executed.written {
        memory.remember(child.key.clone(), intent, child.digest);
        observed.push(child);
    }
    Report { finished, memory, settled, resync_at: job.resync_at, observed, deleted: executed.deleted }
}

async fn call(shared: &Shared, request: Vec<u8>, parent: &Observed) -> Result<Vec<u8>, CallError> {
    let host = |cause: String| CallError { fault: Fault::Host { cause }, logs: Vec::new() };
    // Never closed: the semaphore lives as long as the host.
    let _permit = shared.calls.acquire().await.map_err(|error| host(error.to_string()))?;
    let (module, limits) = (shared.module.clone(), shared.limits);
    let called = tokio::task::spawn_blocking(move || module.reconcile(&request, &limits)).await;
    let result = called.unwrap_or_else(|error| Err(host(error.to_string())));
    let logs = result.as_ref().map_or_else(|error| &error.logs, |answer| &answer.logs);
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
    result.map(|answer| answer.response)
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

/// The provider answered: gate, plan, execution.
async fn decide(shared: &Shared, job: &Job, response: &[u8]) -> Decision {
    let input = GateInput {
        provider: &shared.provider,
        grants: &shared.grants,
        parent: &job.parent,
        max_children: MAX_CHILDREN,
    };
    let Answer { intents, hold, status, resync_after_seconds } = match gate::check(response, &input) {
        Ok(answer) => answer,
        Err(refusal) => {
            let message = format!("The answer of provider {} was refused: {refusal}", shared.provider);
            warn!(provider = shared.provider, parent = %job.parent.key, "{message}");
            return Decision::failed("Refused", message, false, Retry::After(None));
        }
    };
    let resync = resync_after_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    let answered = Some(status);
    if hold {
        let executed = Executed::default();
        return Decision { outcome: Outcome::Held, answered, retry: Retry::No, resync, executed };
    }
    let plan = plan::plan(&PlanInput {
        provider: &shared.provider,
        parent: &job.parent,
        intents: &intents,
        children: &job.children,
        memory: &job.memory,
    });
    if !plan.is_settled() {
        info!(provider = shared.provider, parent = %job.parent.key, "{plan}");
    }
    let executed = execute(&shared.writer, &shared.provider, &job.parent.uid, &job.children, &plan).await;
    let (outcome, retry) = conclude(&plan, &executed);
    if let Outcome::Failed { message, .. } = &outcome {
        warn!(provider = shared.provider, parent = %job.parent.key, "{message}");
    }
    Decision { outcome, answered, retry, resync, executed }
}

/// How it ended, and whether to try again.
fn conclude(plan: &Plan, executed: &Executed) -> (Outcome, Retry) {
    if let Some((key, error)) = executed.failed.first() {
        let others = match executed.failed.len() {
            1 => String::new(),
            more => format!(" (and {} more)", more - 1),
        };
        let message = format!("{key} could not be written: {error}{others}");
        let (reason, after) = match error {
            ApiError::Forbidden(_) => ("Forbidden", None),
            ApiError::Invalid(_) | ApiError::Rejected(_) => ("ApplyRefused", None),
            ApiError::Transient { retry_after, .. } => ("ApplyFailed", *retry_after),
            ApiError::Conflict(_) | ApiError::NotFound(_) | ApiError::NotServed(_) => ("ApplyFailed", None),
        };
        return (Outcome::Failed { reason, message, stalled: false }, Retry::After(after));
    }
    let taken = executed.taken.first().map(|(key, holder)| (key, holder.as_str()));
    let forged = plan.taken.first().map(|key| (key, "it carries this parent's labels but was not made by this host"));
    if let Some((key, holder)) = taken.or(forged) {
        let message = format!("{key} exists and is not this parent's: {holder}. Delete or rename one of the two");
        return (Outcome::Failed { reason: "NameTaken", message, stalled: true }, Retry::After(None));
    }
    if let Some(key) = executed.stale.first().or(executed.restored.first().map(|child| &child.key)) {
        let message = format!("{key} changed in the meantime; trying again");
        return (Outcome::Waiting { message }, Retry::LostRace);
    }
    if let Some(key) = plan.waiting.first() {
        let message = format!("{key} is being deleted; it is made again once it is gone");
        return (Outcome::Waiting { message }, Retry::No);
    }
    (Outcome::Applied, Retry::No)
}

/// Writes the status if it says something new. `Err` asks for another try.
async fn write_status(shared: &Shared, job: &Job, decision: &Decision) -> Result<Option<Observed>, Option<Duration>> {
    // A lost race is over by the next try: not worth a condition that comes and goes.
    if !job.has_status || decision.retry == Retry::LostRace {
        return Ok(None);
    }
    let said = decision.answered.as_ref().map_or(Said::NoAnswer, |status| Said::Status(status.as_ref()));
    let refused = match apply_status(shared, job, said, &decision.outcome).await {
        Err(ApiError::Invalid(refused)) => refused,
        Err(ApiError::Transient { retry_after, .. }) => return Err(retry_after),
        Err(_) => return Err(None),
        Ok(parent) => return Ok(parent),
    };
    // The CRD does not allow what the provider says: then say at least that.
    let message =
        format!("The status of provider {} does not fit its CustomResourceDefinition: {refused}", shared.provider);
    let outcome = Outcome::Failed { reason: "StatusRefused", message, stalled: false };
    match apply_status(shared, job, Said::NoAnswer, &outcome).await {
        Ok(_) | Err(_) => Err(None),
    }
}

/// One apply of the status, if it says something new.
async fn apply_status(
    shared: &Shared,
    job: &Job,
    said: Said<'_>,
    outcome: &Outcome,
) -> Result<Option<Observed>, ApiError> {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let status = status::next(&StatusInput {
        owned: &job.parent.owned_status,
        said,
        outcome,
        generation: job.parent.generation,
        now: &now,
    });
    let Some(status) = status else { return Ok(None) };
    match shared.writer.apply_status(&job.kind, &job.parent, status).await {
        Ok(parent) => Ok(Some(parent)),
        // The parent is gone, or another one stands under its name: nobody is left to read a status.
        Err(ApiError::NotFound(_) | ApiError::Conflict(_)) => Ok(None),
        Err(error) => {
            warn!(provider = shared.provider, parent = %job.parent.key, "status could not be written: {error}");
            Err(error)
        }
    }
}
