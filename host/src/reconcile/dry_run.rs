//! A dry run of a candidate: it is called for a parent, and nothing is written.

use bartizan_engine::decide::{DecideInput, Decision, Execute, decide};
use bartizan_engine::plan::{FinalizerStep, Memory};
use bartizan_engine::preview::Prediction;
use bartizan_engine::snapshot::{Question, Snapshot, Supplied};

use crate::reconcile::provider_call;
use crate::reconcile::shared::Shared;

/// What a version answered about one parent.
pub(crate) enum Look {
    /// It asks to see more.
    More(Supplied),
    /// What it would do, or why it has no acceptable answer.
    Prediction(Result<Prediction, String>),
}

/// Calls a version for one parent, without the memory of earlier writes, as after a restart.
pub(crate) async fn look(shared: &Shared, snapshot: &Snapshot) -> Look {
    let (context, question) = (&*shared.context, Question::Serve(FinalizerStep::Keep));
    let answer = match provider_call::call(shared, snapshot.request(context, question)).await {
        Ok(answer) => answer,
        Err(error) => return Look::Prediction(Err(error.to_string())),
    };
    let (issued, memory) = (snapshot.issued(), Memory::default());
    Look::Prediction(
        match decide(&DecideInput { context, snapshot, question, issued: &issued, memory: &memory }, answer) {
            Decision::Supply(supplied) => return Look::More(supplied),
            Decision::Execute(execute) => {
                let Execute { plan, intents, .. } = *execute;
                Ok(Prediction { intents, plan })
            }
            Decision::Hold(_) => Err("it would hold: nothing but the status is written".to_owned()),
            Decision::Refuse(refusal) => {
                Err(format!("the answer of provider {} would be refused: {refusal}", shared.provider()))
            }
            // The gate refuses the first when not finalizing; the second is for terminating namespaces.
            Decision::MarkFinalized(_) | Decision::RemoveFinalizer { .. } => Ok(Prediction::default()),
        },
    )
}
