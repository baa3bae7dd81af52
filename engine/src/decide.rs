//! The decision that follows from a provider's answer about a parent. A pure function that the live host, the preview of an
//! upgrade and the property tests share.

use std::collections::BTreeSet;
use std::time::Duration;

use bartizan_contract::{ProviderEvent, ReconcileResponse};
use serde_json::Value;

use crate::gate::{self, GateInput, Refusal};
use crate::intent::Intent;
use crate::object::ObjectKey;
use crate::plan::{self, FinalizerStep, Memory, Plan, PlanInput};
use crate::related::{MAX_ROUNDS, References};
use crate::secrets::Revealed;
use crate::snapshot::{Origin, ProviderContext, Question, Snapshot, Supplied};

/// The input of [`decide`], beside the answer.
#[derive(Clone, Copy, Debug)]
pub struct DecideInput<'a> {
    /// The provider.
    pub context: &'a ProviderContext,
    /// The state that the provider was asked about.
    pub snapshot: &'a Snapshot,
    /// What it was asked for.
    pub question: Question,
    /// The values behind the tokens of the request.
    pub issued: &'a Revealed,
    /// What the host last wrote for this parent.
    pub memory: &'a Memory,
    /// Children of which it is not known whether the last write took effect.
    pub unsure: &'a BTreeSet<ObjectKey>,
    /// Children that another writer keeps changing, and that are not repaired yet.
    pub resting: &'a BTreeSet<ObjectKey>,
}

/// What follows from an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The output gate refused the answer: nothing is done.
    Refuse(Refusal),
    /// The provider must be called again with these related objects before its answer may be acted on.
    Supply(Supplied),
    /// Only the status is written.
    Hold(Answered),
    /// The provider has finalized a parent that is being deleted: this is recorded before any child is deleted.
    MarkFinalized(Answered),
    /// The parent's namespace is being deleted with everything in it: the finalizer is removed, whatever the answer was.
    RemoveFinalizer {
        /// What to do.
        plan: Plan,
        /// Why the gate would have refused the answer.
        refused: Option<Refusal>,
    },
    /// The plan is executed.
    Execute(Box<Execute>),
}

/// A plan, the intents it was made from, and the rest of the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Execute {
    /// What to do.
    pub plan: Plan,
    /// The desired children.
    pub intents: Vec<Intent>,
    /// The rest of the answer.
    pub answered: Answered,
}

/// An answer without its children: what concerns the parent itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answered {
    /// The parent's status; `None` if the answer has none.
    pub status: Option<Value>,
    /// When to call the provider again even if nothing changes.
    pub resync: Option<Duration>,
    /// Events on the parent.
    pub events: Vec<ProviderEvent>,
}

/// Decides what follows from an answer.
#[must_use]
pub fn decide(input: &DecideInput<'_>, answer: Result<ReconcileResponse, Refusal>) -> Decision {
    let bounds = input.snapshot.gate_input(input.context, input.issued, input.question);
    let missing =
        answer.as_ref().map_or(Ok(None), |response| missing_related(response, &bounds, &input.snapshot.supplied));
    let checked = match missing {
        Ok(Some(supplied)) => return Decision::Supply(supplied),
        Ok(None) => answer.and_then(|response| gate::check(response, &bounds)),
        Err(refusal) => Err(refusal),
    };
    match checked {
        checked if input.question.namespace_terminating() => {
            Decision::RemoveFinalizer { plan: plan::remove_finalizer(), refused: checked.err() }
        }
        Ok(answer) => act(input, answer),
        Err(refusal) => Decision::Refuse(refusal),
    }
}

/// What follows from an answer that passed the gate.
fn act(input: &DecideInput<'_>, answer: gate::Answer) -> Decision {
    let gate::Answer { intents, hold, status, resync_after_seconds, keep, events, finalized } = answer;
    let resync = resync_after_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    let answered = Answered { status, resync, events };
    if hold {
        return Decision::Hold(answered);
    }
    if finalized {
        return Decision::MarkFinalized(answered);
    }
    let plan = plan::plan(&PlanInput {
        provider: &input.context.name,
        parent: &input.snapshot.parent,
        intents: &intents,
        children: &input.snapshot.children,
        keep: &keep,
        memory: input.memory,
        unsure: input.unsure,
        resting: input.resting,
        finalizer: match input.question {
            Question::Serve(step) => step,
            Question::Finalize { .. } => FinalizerStep::Keep,
        },
    });
    Decision::Execute(Box::new(Execute { plan, intents, answered }))
}

/// The related objects that must be supplied before the answer may be acted on; `None` if none is missing. A decision starts
/// with the references of the previous one. If the answer does not request exactly these, it starts over with none, so that the
/// same cluster state always leads to the same request.
///
/// # Errors
/// If it requests what was not granted, or more after the last round.
fn missing_related(
    response: &ReconcileResponse,
    bounds: &GateInput<'_>,
    supplied: &Supplied,
) -> Result<Option<Supplied>, Refusal> {
    let requested = gate::references(response, bounds)?;
    let supply =
        |references, round| Ok(Some(Supplied { references, objects: Vec::new(), round, origin: Origin::Rounds }));
    if supplied.origin == Origin::Memory && !supplied.references.is_empty() {
        return if requested == supplied.references { Ok(None) } else { supply(References::new(), 0) };
    }
    if requested.is_subset(&supplied.references) {
        return Ok(None);
    }
    if supplied.round >= MAX_ROUNDS {
        let missing = requested.difference(&supplied.references).next();
        let missing = missing.map(|reference| reference.kind.to_string()).unwrap_or_default();
        return Err(Refusal {
            path: "response.related".to_owned(),
            message: format!(
                "requests more ({missing}) after {MAX_ROUNDS} rounds: request objects in an earlier round"
            ),
        });
    }
    supply(supplied.references.union(&requested).cloned().collect(), supplied.round + 1)
}
