//! A parent whose decisions lead to nothing but the next ones is told so, and waits ever longer.

use std::time::Duration;

use bartizan_engine::Plan;
use bartizan_engine::status::Outcome;
use tracing::warn;

use crate::reconcile::snapshot::{Decision, Job, Retry, Shared};

/// Longest time until a parent is decided on again whose decisions lead to nothing but the next ones.
const RESTLESS: Duration = Duration::from_secs(30);

/// A decision that was executed as those before it, and that will lead to the next one, waits for that ever longer.
pub(crate) fn slow_down(shared: &Shared, job: &mut Job, decision: &mut Decision) {
    // What failed, or lost a race, waits already, and says nothing about rest.
    let counts = decision.answered.is_some() && decision.retry == Retry::No;
    if !counts || matches!(decision.outcome, Outcome::Failed { .. }) {
        return;
    }
    let plan = &decision.plan;
    let wrote = !(plan.applies.is_empty() && plan.deletes.is_empty() && plan.releases.is_empty());
    // Who only waits for something to go is not at rest, and writes nothing.
    if !wrote && !plan.is_settled() {
        return;
    }
    if job.kept.restless.decided(job.parent.digest, &shared.digest, &shared.settings, wrote) {
        let message = unsettled(&decision.plan);
        warn!(provider = shared.provider, parent = %job.parent.key, "{message}");
        decision.outcome = Outcome::Failed { reason: "Unsettled", message, stalled: false };
        decision.retry = Retry::Within(RESTLESS);
    }
}

fn unsettled(plan: &Plan) -> String {
    let applied = plan.applies.first().map(|apply| &apply.intent.key);
    let ended = plan.deletes.first().map(|delete| &delete.key);
    let child = applied.or(ended).map_or_else(|| "its children".to_owned(), ToString::to_string);
    format!(
        "{child} is written over and over, though nobody edits the parent: either the provider's answer depends on what it \
         wrote before (report it to its author), or somebody else keeps changing that; trying again ever more seldom"
    )
}
