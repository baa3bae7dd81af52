//! The one decision: what follows from a provider's answer about a parent. Pure: the live host, the preview of an upgrade and
//! the model of the property tests call the same function.

use std::time::Duration;

use bartizan_contract::{ProviderEvent, ReconcileResponse};
use serde_json::Value;

use crate::gate::{self, GateInput, Refusal};
use crate::intent::Intent;
use crate::plan::{self, FinalizerStep, Memory, Plan, PlanInput};
use crate::related::{MAX_ROUNDS, References};
use crate::secrets::Revealed;
use crate::snapshot::{Origin, ProviderContext, Question, Snapshot, Supplied};

/// What an answer is judged by.
#[derive(Clone, Copy, Debug)]
pub struct DecideInput<'a> {
    /// The provider.
    pub context: &'a ProviderContext,
    /// The state that the provider was asked about.
    pub snapshot: &'a Snapshot,
    /// What it was asked.
    pub question: Question,
    /// What stands behind the tokens of the request.
    pub issued: &'a Revealed,
    /// What the host last wrote for this parent.
    pub memory: &'a Memory,
}

/// What follows from an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The output gate refused it: nothing is done.
    Refuse(Refusal),
    /// The provider must see this before its answer may be acted on.
    Supply(Supplied),
    /// Only the status is written.
    Hold(Answered),
    /// The provider has finished with a parent that goes: that is recorded before anything is torn down.
    MarkFinalized(Answered),
    /// The parent's namespace goes with everything in it: the finalizer is removed, whatever the answer was.
    LeaveWithNamespace(Plan),
    /// The plan is executed.
    Execute(Box<Execute>),
}

/// A plan, what it was made of, and what the provider said beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Execute {
    /// What is to be done.
    pub plan: Plan,
    /// The children that should exist.
    pub intents: Vec<Intent>,
    /// What is written on the parent.
    pub answered: Answered,
}

/// What a provider says about its parent, beside the children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answered {
    /// The status; `None` if it has none.
    pub status: Option<Value>,
    /// When it wants to be asked again.
    pub resync: Option<Duration>,
    /// Events on the parent.
    pub events: Vec<ProviderEvent>,
}

/// Decides what follows from an answer.
#[must_use]
pub fn decide(input: &DecideInput<'_>, answer: Result<ReconcileResponse, Refusal>) -> Decision {
    let bounds = input.snapshot.gate_input(input.context, input.issued, input.question);
    let more = answer.as_ref().map_or(Ok(None), |response| wants_more(response, &bounds, &input.snapshot.supplied));
    match more {
        Ok(Some(supplied)) => Decision::Supply(supplied),
        _ if input.question.namespace_terminating() => Decision::LeaveWithNamespace(plan::leave_with_namespace()),
        Err(refusal) => Decision::Refuse(refusal),
        Ok(None) => match answer.and_then(|response| gate::check(response, &bounds)) {
            Ok(answer) => act(input, answer),
            Err(refusal) => Decision::Refuse(refusal),
        },
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
        finalizer: match input.question {
            Question::Serve(step) => step,
            Question::Finalize { .. } => FinalizerStep::Keep,
        },
    });
    Decision::Execute(Box::new(Execute { plan, intents, answered }))
}

/// What must be supplied before the answer may be acted on; `None` if everything was. A decision starts with what the last one
/// saw, and if that is not exactly what it asks for, from nothing: the same state of the cluster is always the same request.
///
/// # Errors
/// If it asks for what it may not see, or for more after the last round.
fn wants_more(
    response: &ReconcileResponse,
    bounds: &GateInput<'_>,
    supplied: &Supplied,
) -> Result<Option<Supplied>, Refusal> {
    let asked = gate::references(response, bounds)?;
    let again =
        |references, round| Ok(Some(Supplied { references, objects: Vec::new(), round, origin: Origin::Rounds }));
    if supplied.origin == Origin::Memory && !supplied.references.is_empty() {
        return if asked == supplied.references { Ok(None) } else { again(References::new(), 0) };
    }
    if asked.is_subset(&supplied.references) {
        return Ok(None);
    }
    if supplied.round >= MAX_ROUNDS {
        let missing = asked.difference(&supplied.references).next();
        let missing = missing.map(|reference| reference.kind.to_string()).unwrap_or_default();
        return Err(Refusal {
            path: "response.related".to_owned(),
            message: format!("asks for more ({missing}) after {MAX_ROUNDS} rounds: ask for what can be known earlier"),
        });
    }
    again(supplied.references.union(&asked).cloned().collect(), supplied.round + 1)
}
