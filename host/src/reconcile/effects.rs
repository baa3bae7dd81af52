//! Carries out the effects of a reconcile. Parents and children are written only here.

use std::sync::Arc;

use bartizan_engine::reconcile::{Effect, Propagation, Reply};
use bartizan_engine::secrets::Revealed;
use bartizan_engine::{ApiError, Apply, Observed};
use kube::api::PropagationPolicy;
use serde_json::Value;

use crate::reconcile::generated_values;
use crate::reconcile::provider_call;
use crate::reconcile::shared::Shared;
use crate::telemetry::observer::Observer;

/// The parent and the provider whose effects are carried out.
pub(super) struct Target<'a> {
    /// The provider.
    pub(super) shared: &'a Shared,
    /// The parent.
    pub(super) parent: &'a Observed,
    /// Its kind.
    pub(super) kind: &'a bartizan_contract::Kind,
    /// Metrics and recordings.
    pub(super) observer: &'a Observer,
}

impl Target<'_> {
    /// Carries out one effect; `issued` maps the tokens of the answer to their values.
    pub(super) async fn carry_out(&self, effect: Effect, issued: Arc<Revealed>) -> Reply {
        let Self { shared, parent, kind, .. } = self;
        let (writer, provider) = (&shared.writer, shared.provider());
        match effect {
            Effect::Call(request) => {
                Reply::Called(provider_call::observed(shared, request, parent, self.observer).await)
            }
            Effect::ReadNamespace(name) => Reply::Terminating(writer.is_terminating(&name).await),
            Effect::ListChildren => Reply::Children(writer.list_children(&shared.context, parent).await),
            Effect::Get { kind, key } => Reply::Object(writer.get(&kind, &key).await),
            Effect::FindParent(earlier) => Reply::Parent(writer.find_parent(kind, &earlier).await),
            Effect::Apply { apply, fence, existing } => {
                Reply::Object(match filled(&apply, existing.as_deref(), &issued) {
                    Ok(object) => writer.apply(&apply.intent.kind, &apply.intent.key, object, &fence).await,
                    Err(error) => Err(error),
                })
            }
            Effect::ClaimItems { apply, seen } => Reply::Claimed(match filled(&apply, Some(&seen), &issued) {
                Ok(object) => writer.claim(&apply.intent.kind, &seen, &object).await,
                Err(error) => Err(error),
            }),
            Effect::Adopt(live) => Reply::Object(writer.adopt(&live, provider, &parent.uid).await),
            Effect::TryCreate { apply, seen } => Reply::Done(match filled(&apply, Some(&seen), &issued) {
                Ok(object) => writer.try_create(&apply.intent.kind, &apply.intent.key, &object).await,
                Err(error) => Err(error),
            }),
            Effect::ReadAddress(address) => Reply::Address(writer.address_holder(address).await),
            Effect::Patch(patch) => Reply::Object(writer.merge(&patch).await),
            Effect::Delete { delete, propagation } => Reply::Done(writer.delete(&delete, policy(propagation)).await),
            Effect::ApplyStatus { status, resource_version, is_subresource } => {
                Reply::Object(writer.apply_status(kind, parent, &resource_version, status, is_subresource).await)
            }
            Effect::SendEvent(event) => {
                self.observer.metrics.wrote("event");
                shared.events.publish(parent, &event).await;
                Reply::Done(Ok(()))
            }
        }
    }
}

/// The object to send for a child, with the values behind its tokens and generated ones.
fn filled(apply: &Apply, existing: Option<&Observed>, issued: &Revealed) -> Result<Value, ApiError> {
    generated_values::fill(&apply.intent, existing, issued)
        .map_err(|error| ApiError::transient(format!("no random numbers for generated values: {error}")))
}

fn policy(propagation: Propagation) -> PropagationPolicy {
    match propagation {
        Propagation::Background => PropagationPolicy::Background,
        Propagation::Orphan => PropagationPolicy::Orphan,
    }
}
