//! The recreation of a child whose update the API server refuses because of an immutable field. It is deleted only once the API
//! server has said that it could be created; the create is left to a later decision, which observes that the child is gone, so
//! that a crash in between does no harm.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use crate::api_error::ApiError;
use crate::object::Observed;
use crate::plan::{Apply, Delete};
use crate::reconcile::effect::{Effect, Propagation, Reply};

/// A recreation, in progress.
#[derive(Debug)]
pub(super) struct Recreate {
    seen: Arc<Observed>,
    propagation: Propagation,
    /// Why the update was refused.
    refused: String,
    /// New addresses of a Service that were not looked up yet: a dry-run create passes although they are in use.
    addresses: BTreeSet<IpAddr>,
    awaits: Awaits,
}

/// Which reply is awaited.
#[derive(Clone, Copy, Debug)]
enum Awaits {
    Trial,
    Holder(IpAddr),
    Deletion,
}

/// What follows.
#[derive(Debug)]
pub(super) enum Step {
    /// Another request.
    Send(Box<Recreate>, Effect),
    /// It was deleted. This is why its update was refused.
    Deleted(String),
    /// It changed since the snapshot; what the API server said.
    Stale(String),
    /// It was not deleted, since it could not be created.
    Kept(ApiError),
    /// The delete failed.
    Failed(ApiError),
}

impl Recreate {
    /// Starts with a dry-run create. `refused` is why the update was refused.
    pub(super) fn begin(apply: Arc<Apply>, seen: Arc<Observed>, propagation: Propagation, refused: String) -> Step {
        let is_service = seen.key.group.is_empty() && &*seen.key.kind == "Service";
        let new = if is_service { addresses(&apply.intent.object) } else { BTreeSet::new() };
        let addresses = new.difference(&addresses(&seen.value())).copied().collect();
        let effect = Effect::TryCreate { apply, seen: seen.clone() };
        Step::Send(Box::new(Self { seen, propagation, refused, addresses, awaits: Awaits::Trial }), effect)
    }

    /// Takes the reply to the last request.
    pub(super) fn reply(self, reply: Reply) -> Step {
        match self.awaits {
            Awaits::Trial => match reply.done() {
                Ok(()) => self.look_up(),
                Err(ApiError::NotFound(message)) => Step::Stale(message),
                Err(error) => Step::Kept(error),
            },
            Awaits::Holder(address) => match reply {
                Reply::Address(Ok(None)) => self.look_up(),
                Reply::Address(Ok(Some(holder))) => {
                    Step::Kept(ApiError::Rejected(format!("the address {address} belongs to {holder}")))
                }
                Reply::Address(Err(error)) => Step::Kept(error),
                other => Step::Kept(other.unexpected()),
            },
            Awaits::Deletion => match reply.done() {
                Ok(()) | Err(ApiError::NotFound(_)) => Step::Deleted(self.refused),
                Err(ApiError::Conflict(message)) => Step::Stale(message),
                Err(error) => Step::Failed(error),
            },
        }
    }

    /// Looks up the next address, or deletes the child if all are free.
    fn look_up(mut self) -> Step {
        let (awaits, effect) = match self.addresses.pop_first() {
            Some(address) => (Awaits::Holder(address), Effect::ReadAddress(address)),
            None => {
                let delete = Delete::of(&self.seen);
                (Awaits::Deletion, Effect::Delete { delete, propagation: self.propagation })
            }
        };
        self.awaits = awaits;
        Step::Send(Box::new(self), effect)
    }
}

/// The addresses that a Service requests, or has.
fn addresses(service: &Value) -> BTreeSet<IpAddr> {
    let first = service.pointer("/spec/clusterIP").into_iter();
    let all = service.pointer("/spec/clusterIPs").and_then(Value::as_array).into_iter().flatten();
    first.chain(all).filter_map(Value::as_str).filter_map(|address| address.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{intent, stored};
    use crate::plan::{ApplyReason, Fence};
    use rstest::rstest;
    use serde_json::json;

    const NEW: &str = "10.0.0.2";

    /// A Service with another address than the one that is stored.
    fn begin() -> Step {
        let service = |address: &str| {
            let mut intent = intent("Service", "s", 1);
            intent.object["spec"] = json!({"clusterIP": address, "clusterIPs": [address]});
            intent
        };
        let seen = Arc::new(stored(&service("10.0.0.1"), 5));
        let apply = Apply { intent: service(NEW), fence: Fence::unchanged(&seen), reason: ApplyReason::IntentChanged };
        Recreate::begin(Arc::new(apply), seen, Propagation::Background, "may not change".to_owned())
    }

    /// What follows from these replies in order, as text.
    fn run(replies: Vec<Reply>) -> String {
        let step = replies.into_iter().fold(begin(), |step, reply| match step {
            Step::Send(recreate, _) => recreate.reply(reply),
            step => step,
        });
        match step {
            Step::Send(_, Effect::TryCreate { .. }) => "try".to_owned(),
            Step::Send(_, Effect::ReadAddress(address)) => format!("look up {address}"),
            Step::Send(_, Effect::Delete { delete, .. }) => format!("delete {}", delete.resource_version),
            Step::Send(_, effect) => format!("{effect:?}"),
            Step::Deleted(refused) => format!("deleted: {refused}"),
            Step::Stale(_) => "stale".to_owned(),
            Step::Kept(error) => format!("kept: {error}"),
            Step::Failed(error) => format!("failed: {error}"),
        }
    }

    fn passed() -> Reply {
        Reply::Done(Ok(()))
    }

    fn failing(error: ApiError) -> Reply {
        Reply::Done(Err(error))
    }

    fn free() -> Reply {
        Reply::Address(Ok(None))
    }

    #[rstest]
    #[case::first(vec![], "try")]
    #[case::refused(vec![failing(ApiError::Forbidden("exceeded quota".to_owned()))], "kept: exceeded quota")]
    #[case::no_answer(vec![failing(ApiError::transient("too late".to_owned()))], "kept: too late")]
    #[case::gone(vec![failing(ApiError::NotFound("gone".to_owned()))], "stale")]
    #[case::passed(vec![passed()], "look up 10.0.0.2")]
    #[case::taken(
        vec![passed(), Reply::Address(Ok(Some("services n/other".to_owned())))],
        "kept: the address 10.0.0.2 belongs to services n/other"
    )]
    #[case::unknown(vec![passed(), Reply::Address(Err(ApiError::Forbidden("no".to_owned())))], "kept: no")]
    #[case::free(vec![passed(), free()], "delete 5")]
    #[case::deleted(vec![passed(), free(), passed()], "deleted: may not change")]
    #[case::changed(vec![passed(), free(), failing(ApiError::Conflict("changed".to_owned()))], "stale")]
    #[case::not_deleted(vec![passed(), free(), failing(ApiError::Forbidden("no".to_owned()))], "failed: no")]
    fn nothing_is_deleted_before_it_could_be_made_again(#[case] replies: Vec<Reply>, #[case] expected: &str) {
        assert_eq!(run(replies), expected);
    }
}
