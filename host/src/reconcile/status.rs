//! What is said on the parent: its status and its events.

use std::time::Duration;

use bartizan_engine::Observed;
use bartizan_engine::status::{self, Outcome, Said, StatusInput};
use k8s_openapi::jiff::Timestamp;
use tracing::warn;

use crate::kubernetes::error::ApiError;
use crate::reconcile::snapshot::{Decision, Job, Retry, Shared};

/// Writes the status if it says something new. `Err` asks for another try.
pub(crate) async fn status(
    shared: &Shared,
    job: &Job,
    decision: &Decision,
) -> Result<Option<Observed>, Option<Duration>> {
    // A lost race is over by the next try: not worth a condition that comes and goes.
    if !job.has_status || decision.retry == Retry::LostRace {
        return Ok(None);
    }
    let said = decision.answered.as_ref().map_or(Said::NoAnswer, |status| Said::Status(status.as_ref()));
    let refused = match apply(shared, job, said, &decision.outcome).await {
        Err(ApiError::Invalid(refused)) => refused,
        Err(ApiError::Transient { retry_after, .. }) => return Err(retry_after),
        Err(_) => return Err(None),
        Ok(parent) => return Ok(parent),
    };
    // The CRD does not allow what the provider says: then say at least that.
    let message =
        format!("The status of provider {} does not fit its CustomResourceDefinition: {refused}", shared.provider);
    let outcome = Outcome::Failed { reason: "StatusRefused", message, stalled: false };
    match apply(shared, job, Said::NoAnswer, &outcome).await {
        Ok(_) | Err(_) => Err(None),
    }
}

/// One apply of the status, if it says something new.
async fn apply(shared: &Shared, job: &Job, said: Said<'_>, outcome: &Outcome) -> Result<Option<Observed>, ApiError> {
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

/// Tells what is new since the last decision. The host's own event goes with a status that was written (`recorded`): one that
/// could not be would be new with every try. The first decision after a start tells nothing if it finds everything done
/// (`quiet`): it was told then.
pub(crate) async fn events(shared: &Shared, job: &mut Job, decision: &Decision, recorded: bool, quiet: bool) {
    if recorded && let Some(event) = status::event(&job.parent.owned_status, &decision.outcome) {
        job.observer.metrics.wrote("event");
        shared.events.tell(&job.parent, &event).await;
    }
    if decision.answered.is_none() {
        return;
    }
    let told = job.kept.told.take();
    for event in &decision.events {
        let is_new = match &told {
            Some(told) => !told.contains(event),
            None => !quiet,
        };
        if is_new {
            job.observer.metrics.wrote("event");
            shared.events.tell(&job.parent, event).await;
        }
    }
    job.kept.told = Some(decision.events.clone());
}
