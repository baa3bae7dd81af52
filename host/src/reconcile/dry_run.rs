//! A dry run of a candidate: it is called for a parent, and nothing is written.

use std::collections::BTreeSet;

use bartizan_contract::Reason;
use bartizan_engine::decide::{DecideInput, Decision, Execute, decide};
use bartizan_engine::plan::Memory;
use bartizan_engine::preview::{NoPrediction, Prediction};
use bartizan_engine::snapshot::{Question, Snapshot, Supplied};

use crate::reconcile::provider_call;
use crate::reconcile::shared::Shared;

/// What a version answered about one parent.
pub(crate) enum Look {
    /// It asks to see more.
    More(Supplied),
    /// What it would do, or why it has no acceptable answer.
    Prediction(Result<Prediction, NoPrediction>),
}

/// Calls a version for one parent, without the memory of earlier writes, as after a restart.
pub(crate) async fn look(shared: &Shared, snapshot: &Snapshot, question: Question) -> Look {
    let context = &*shared.context;
    let none = |reason, message| Look::Prediction(Err(NoPrediction { reason, message }));
    let answer = match provider_call::call(shared, snapshot.request(context, question)).await {
        Ok(answer) => answer,
        Err(error) => return none(error.condition_reason(), error.message),
    };
    let (issued, memory, none_of_them) = (snapshot.issued(), Memory::default(), BTreeSet::new());
    Look::Prediction(
        match decide(
            &DecideInput {
                context,
                snapshot,
                question,
                issued: &issued,
                memory: &memory,
                unsure: &none_of_them,
                resting: &none_of_them,
            },
            answer,
        ) {
            Decision::Supply(supplied) => return Look::More(supplied),
            Decision::Execute(execute) => {
                let Execute { plan, intents, .. } = *execute;
                Ok(Prediction { intents, plan })
            }
            Decision::Hold(_) => {
                return none(Reason::Held, "it would hold: nothing but the status is written".to_owned());
            }
            Decision::Refuse(refusal) => {
                let message = format!("the answer of provider {} would be refused: {refusal}", shared.provider());
                return none(Reason::Refused, message);
            }
            // What is left of a parent that is finalized goes, whatever the version. The second is for terminating namespaces.
            Decision::MarkFinalized(_) | Decision::RemoveFinalizer { .. } => Ok(Prediction::default()),
        },
    )
}
