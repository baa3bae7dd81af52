//! Drives the engine's reconcile of one parent: carries out its effects, concurrently where it returns several, and logs the
//! result.

pub(crate) mod call_pool;
pub(crate) mod dry_run;
mod effects;
pub(crate) mod explain;
mod generated_values;
mod provider_call;
pub(crate) mod shared;

use std::collections::VecDeque;
use std::time::Instant;

use bartizan_contract::Kind;
use bartizan_engine::ObjectKey;
use bartizan_engine::reconcile::{Clock, Decided, Ended, Reconcile, Report};
use bartizan_engine::snapshot::{Kept, Snapshot};
use bartizan_engine::status::Outcome;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tracing::{info, trace, warn};

use crate::telemetry::observer::Observer;
use crate::telemetry::timestamp;

use effects::Target;
use shared::Shared;

/// Maximum number of concurrent requests of one reconcile.
const MAX_IN_FLIGHT: usize = 8;

/// The input of one reconcile.
pub(crate) struct Job {
    /// The observed state of the parent and the objects around it.
    pub(crate) snapshot: Snapshot,
    /// The state that is kept between reconciles.
    pub(crate) kept: Kept,
    /// Children whose last write got no response.
    pub(crate) unsure: Vec<(Kind, ObjectKey)>,
    /// Metrics and recordings.
    pub(crate) observer: Observer,
}

/// Reconciles one parent. Never returns `None`: a reconcile without a request in flight has ended.
pub(crate) async fn reconcile(shared: &Shared, job: Job) -> Option<Report> {
    let Job { snapshot, kept, unsure, observer } = job;
    let (parent, kind) = (snapshot.parent.clone(), snapshot.kind.clone());
    let mut reconcile = Reconcile::new(shared.context.clone(), snapshot, kept, unsure);
    let target = Target { shared, parent: &parent, kind: &kind, observer: &observer };
    let mut pending = VecDeque::new();
    let mut in_flight = FuturesUnordered::new();
    loop {
        pending.extend(reconcile.effects(&Now));
        if let Some(plan) = reconcile.take_started_plan() {
            let (kind, namespace, name) = parent.key.parts();
            info!(provider = shared.provider(), kind, namespace, name, "{plan}");
        }
        while in_flight.len() < MAX_IN_FLIGHT
            && let Some((ticket, effect)) = pending.pop_front()
        {
            let carried_out = target.carry_out(effect, reconcile.issued());
            in_flight.push(async move { (ticket, carried_out.await) });
        }
        let Some((ticket, reply)) = in_flight.next().await else { break };
        reconcile.reply(ticket, reply, &Now);
    }
    let report = reconcile.into_report()?;
    log(shared, &parent.key, &report.ended);
    if let Ended::Decided(decided) = &report.ended
        && decided.refused.is_some()
    {
        observer.metrics.refused();
    }
    Some(report)
}

fn log(shared: &Shared, parent: &ObjectKey, ended: &Ended) {
    let (provider, (kind, namespace, name)) = (shared.provider(), parent.parts());
    match ended {
        Ended::Unchanged { .. } => {
            trace!(provider, kind, namespace, name, "the request has not changed since the last call")
        }
        Ended::Undecided | Ended::AskedForMore { .. } => {}
        Ended::Decided(decided) => {
            let Decided { outcome, is_repeated, ignored, status_error, .. } = &**decided;
            // Another client that fights would have a line for each of its writes.
            if let Outcome::Failed { reason, message, .. } = outcome
                && !is_repeated
            {
                warn!(provider, kind, namespace, name, %reason, "{message}");
            }
            if let Some(message) = ignored {
                warn!(
                    provider,
                    kind, namespace, name, "released all the same, since its namespace is being deleted: {message}"
                );
            }
            if let Some(error) = status_error {
                warn!(provider, kind, namespace, name, "writing the status failed: {error}");
            }
        }
    }
}

/// The clocks of this machine.
struct Now;

impl Clock for Now {
    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn timestamp(&self) -> String {
        timestamp::now()
    }
}
