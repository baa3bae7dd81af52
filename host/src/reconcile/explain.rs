//! The result of a reconcile, for `bartizan explain` and for metrics.

use bartizan_contract::Reason;
use bartizan_contract::names::PAUSED_ANNOTATION;
use bartizan_engine::object::{Hash, short_hex};
use bartizan_engine::reconcile::{Decided, Ended};
use bartizan_engine::status::Outcome;

use crate::telemetry::explain::Explained;
use crate::telemetry::timestamp;

/// The explanation; `None` if nothing was decided.
pub(crate) fn explained(ended: &Ended) -> Option<Explained> {
    match ended {
        Ended::Undecided => None,
        Ended::Unchanged { request } => {
            Some(now(Some(request), "not called: the request has not changed since the last complete reconcile"))
        }
        Ended::AskedForMore { request, supplied } => {
            let kinds: Vec<String> = supplied.references.iter().map(|reference| reference.kind.to_string()).collect();
            let call = format!("called (round {}); it requests {}", supplied.round, kinds.join(", "));
            Some(Explained { outcome: "Asking".to_owned(), ..now(Some(request), &call) })
        }
        Ended::Decided(decided) => Some(of_decision(decided)),
    }
}

/// The result as a label value of metrics; `None` if it continues.
pub(crate) fn result(ended: &Ended) -> Option<&'static str> {
    match ended {
        Ended::Undecided | Ended::AskedForMore { .. } => None,
        Ended::Unchanged { .. } => Some("unchanged"),
        Ended::Decided(decided) => Some(match decided.outcome {
            Outcome::Applied => "applied",
            Outcome::Held | Outcome::Paused | Outcome::Unserved { .. } => "held",
            Outcome::Waiting { .. } => "waiting",
            Outcome::Failed { .. } => "failed",
        }),
    }
}

fn now(request: Option<&Hash>, call: &str) -> Explained {
    Explained { time: timestamp::now(), request: request.map(short_hex), call: call.to_owned(), ..Explained::default() }
}

fn of_decision(decided: &Decided) -> Explained {
    let call = match decided.request {
        Some(_) => "called: the request changed, or a resync was due",
        None if matches!(
            decided.outcome,
            Outcome::Failed { reason: Reason::ReadFailed | Reason::RequestTooLarge, .. }
        ) =>
        {
            "not called: there could be no request"
        }
        None => "not called: this state of the parent needs no provider",
    };
    Explained {
        outcome: decided.outcome.reason().to_string(),
        message: decided.outcome.message().to_owned(),
        plan: decided.plan.to_string(),
        refused: decided.refused.as_ref().map(ToString::to_string),
        waits_for: waits_for(decided),
        ..now(decided.request.as_ref(), call)
    }
}

fn waits_for(decided: &Decided) -> Vec<String> {
    let Decided { outcome, plan, taken, missing, .. } = decided;
    let deletions = plan.waiting.iter().map(|key| format!("{key} to be deleted"));
    let taken = taken.iter().map(|(key, holder)| format!("the name of {key} to be free: {holder}"));
    let mut waits: Vec<String> = deletions.chain(taken).collect();
    match outcome {
        Outcome::Waiting { message } if waits.is_empty() => waits.push(message.clone()),
        Outcome::Paused => waits.push(format!("the annotation {PAUSED_ANNOTATION} to be removed")),
        Outcome::Held => {
            waits.push("a change of the parent or of another object in the request: the provider set hold".to_owned())
        }
        _ => {}
    }
    waits.extend(missing.iter().map(|key| format!("{key}, which the provider requests, to exist")));
    waits
}
