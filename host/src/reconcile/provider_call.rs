//! One call of a provider: waits for capacity, counts, records if configured, and forwards the provider's logs.

use std::time::{Duration, Instant};

use bartizan_contract::ReconcileResponse;
use bartizan_engine::reconcile::{self as engine, CallCause};
use bartizan_engine::{Observed, Refusal};
use bartizan_engine::{gate, weight};
use bartizan_runtime::{Answer, CallError, Fault, LogLevel, LogLine};
use tracing::{debug, error, info, trace, warn};

use crate::reconcile::shared::Shared;
use crate::telemetry::observer::Observer;
use crate::telemetry::recorder::Call;

/// A parsed answer, or why it is malformed.
pub(crate) type Read = Result<ReconcileResponse, Refusal>;

/// The result of a call.
struct Called {
    /// The answer, raw and parsed, or why there is none.
    result: Result<(Answer, Read), CallError>,
    /// Its duration, without the wait for capacity.
    duration: Duration,
    /// The request, returned to the caller.
    request: Vec<u8>,
}

/// Calls the provider once there is capacity.
///
/// # Errors
/// If there is no answer.
pub(crate) async fn call(shared: &Shared, request: Vec<u8>) -> Result<Read, engine::CallError> {
    let called = run(shared, request).await.and_then(|Called { result, .. }| result);
    called.map(|(_, read)| read).map_err(|error| engine_error(&error))
}

/// Calls the provider for a reconcile.
///
/// # Errors
/// If there is no answer.
pub(super) async fn observed(
    shared: &Shared,
    request: Vec<u8>,
    parent: &Observed,
    observer: &Observer,
) -> Result<Read, engine::CallError> {
    let Called { result, duration, request } = run(shared, request).await.map_err(|error| engine_error(&error))?;
    observer.metrics.called(duration);
    if observer.recorder.keeps(parent) {
        let (provider, module, limits) = (shared.provider(), shared.module.digest(), &shared.limits);
        let result = result.as_ref().map(|(answer, _)| answer);
        observer.recorder.keep(Call { provider, module, limits, parent, request, result });
    }
    log(shared, parent, result.as_ref().map_or_else(|error| &error.logs, |(answer, _)| &answer.logs));
    result.map(|(_, read)| read).map_err(|error| engine_error(&error))
}

async fn run(shared: &Shared, request: Vec<u8>) -> Result<Called, CallError> {
    let (module, limits) = (shared.module.clone(), shared.limits);
    // The guest's memory is gone before its answer is parsed; what that takes counts as well.
    let heaviest = weight::of_answer(limits.response_bytes);
    let called = shared.calls.run(shared.provider(), limits.memory_bytes.max(heaviest), move || {
        let started = Instant::now();
        let result = module.reconcile(&request, &limits);
        let duration = started.elapsed();
        // Parsing a large answer takes long: not on a thread of the async runtime.
        let result = result.map(|answer| {
            let read = gate::read_within(&answer.response, heaviest);
            (answer, read)
        });
        Called { result, duration, request }
    });
    called.await.map_err(|cause| CallError { fault: Fault::Host { cause }, logs: Vec::new() })
}

/// The error as the engine sees it.
fn engine_error(error: &CallError) -> engine::CallError {
    let cause = match &error.fault {
        Fault::Failure(failure) => CallCause::Failure(failure.clone()),
        Fault::Trap { .. } | Fault::Timeout { .. } | Fault::Memory { .. } | Fault::BadAnswer { .. } => {
            CallCause::Module(error.fault.to_string())
        }
        _ => CallCause::Other,
    };
    engine::CallError { reason: error.fault.reason(), message: error.to_string(), cause }
}

fn log(shared: &Shared, parent: &Observed, lines: &[LogLine]) {
    for LogLine { level, message } in lines {
        let (provider, (kind, namespace, name)) = (shared.provider(), parent.key.parts());
        match level {
            LogLevel::Trace => trace!(provider, kind, namespace, name, "{message}"),
            LogLevel::Debug => debug!(provider, kind, namespace, name, "{message}"),
            LogLevel::Info => info!(provider, kind, namespace, name, "{message}"),
            LogLevel::Warn => warn!(provider, kind, namespace, name, "{message}"),
            LogLevel::Error => error!(provider, kind, namespace, name, "{message}"),
        }
    }
}
