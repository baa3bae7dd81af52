//! What a store says about itself.

use bartizan_sdk::observed::{Rollout, StatefulSetView};
use bartizan_sdk::{Condition, Request, Response, condition};
use schemars::JsonSchema;
use serde::Serialize;

use crate::permanent;
use crate::spec::ObjectStoreSpec;
use crate::validation::Plan;

/// The status of an ObjectStore, beside its conditions.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStoreStatus {
    /// The generation of the ObjectStore that this is about.
    pub observed_generation: i64,
    /// How many servers there should be.
    pub nodes: i32,
    /// How many of them are ready.
    pub ready_servers: i32,
    /// Both, as `4/4`.
    pub ready: String,
    /// Where clients in the cluster find the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// Adds status and `Ready` to an answer. Without a plan what runs is reported as it is.
pub(crate) fn report(
    response: Response,
    request: &Request<'_, ObjectStoreSpec>,
    plan: Option<&Plan<'_>>,
    observed: Option<&StatefulSetView<'_>>,
) -> Response {
    let ready_servers = observed.map_or(0, |observed| observed.status.ready_replicas);
    let nodes = match (plan, observed) {
        (None, Some(observed)) => permanent::nodes(observed),
        _ => request.spec.scope.node_count,
    };
    let endpoint = match (plan, observed) {
        (Some(plan), _) => Some(plan.layout.client_endpoint()),
        (None, Some(observed)) => permanent::endpoint(request.name(), request.namespace(), observed),
        (None, None) => None,
    };
    let status = ObjectStoreStatus {
        observed_generation: request.metadata.generation,
        nodes,
        ready_servers,
        ready: format!("{ready_servers}/{nodes}"),
        endpoint,
    };
    response.status(status).condition(readiness(plan.is_some(), nodes, observed))
}

/// Whether the store serves with all its servers.
fn readiness(valid: bool, nodes: i32, observed: Option<&StatefulSetView<'_>>) -> Condition {
    let Some(observed) = observed else {
        return match valid {
            true => condition::not_ready("Creating", "the servers are being made"),
            false => condition::not_ready("InvalidSpec", "nothing is made until the spec is valid"),
        };
    };
    let ready = observed.status.ready_replicas;
    match observed.rollout(nodes) {
        Rollout::Settled => condition::ready("Ready", format!("all {nodes} servers are ready")),
        Rollout::Unready => condition::not_ready("ServersNotReady", format!("{ready} of {nodes} servers are ready")),
        Rollout::Updating => {
            let updated = observed.status.updated_replicas;
            condition::not_ready("Updating", format!("{updated} of {nodes} servers are up to date"))
        }
        Rollout::Unobserved => {
            condition::not_ready("Progressing", "the StatefulSet's controller has not yet seen its newest spec")
        }
    }
}
