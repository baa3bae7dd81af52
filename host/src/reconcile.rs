//! Drives the engine's reconcile of one parent: carries out its effects, side by side where it hands out several, and says in
//! the log what came of it.

pub(crate) mod call_pool;
pub(crate) mod dry_run;
mod effects;
pub(crate) mod explain;
mod generated_values;
mod provider_call;
pub(crate) mod shared;

use std::collections::VecDeque;
use std::time::Instant;

use crate::telemetry::timestamp;
use bartizan_contract::Kind;
use bartizan_engine::ObjectKey;
use bartizan_engine::reconcile::{Clock, Decided, Ended, Reconcile, Report};
use bartizan_engine::snapshot::{Kept, Snapshot};
use bartizan_engine::status::Outcome;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tracing::{info, trace, warn};

use crate::telemetry::observer::Observer;
use effects::Target;
use shared::Shared;

/// Requests of one reconcile that are under way at the same time.
const SIDE_BY_SIDE: usize = 8;

/// What one reconcile works on.
pub(crate) struct Job {
    /// The state of the parent.
    pub(crate) snapshot: Snapshot,
    /// What is kept between reconciles.
    pub(crate) kept: Kept,
    /// Children whose last write was not answered.
    pub(crate) unsure: Vec<(Kind, ObjectKey)>,
    /// Who counts and records.
    pub(crate) observer: Observer,
}

/// Reconciles one parent. `None` never happens: a reconcile without a request under way has ended.
pub(crate) async fn reconcile(shared: &Shared, job: Job) -> Option<Report> {
    let Job { snapshot, kept, unsure, observer } = job;
    let (parent, kind) = (snapshot.parent.clone(), snapshot.kind.clone());
    let mut reconcile = Reconcile::new(shared.context.clone(), snapshot, kept, unsure);
    let target = Target { shared, parent: &parent, kind: &kind, observer: &observer };
    let mut waiting = VecDeque::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        waiting.extend(reconcile.effects(&Now));
        if let Some(plan) = reconcile.take_begun() {
            info!(provider = shared.provider(), parent = %parent.key, "{plan}");
        }
        while under_way.len() < SIDE_BY_SIDE
            && let Some((ticket, effect)) = waiting.pop_front()
        {
            let carried_out = target.carry_out(effect, reconcile.issued());
            under_way.push(async move { (ticket, carried_out.await) });
        }
        let Some((ticket, reply)) = under_way.next().await else { break };
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
    let provider = shared.provider();
    match ended {
        Ended::Unchanged { .. } => trace!(provider, %parent, "nothing changed since the last call"),
        Ended::Undecided | Ended::AskedForMore { .. } => {}
        Ended::Decided(decided) => {
            let Decided { outcome, status_error, .. } = &**decided;
            if let Outcome::Failed { reason, message, .. } = outcome {
                warn!(provider, %parent, %reason, "{message}");
            }
            if let Some(error) = status_error {
                warn!(provider, %parent, "status could not be written: {error}");
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
