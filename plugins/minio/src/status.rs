//! The status of an ObjectStore.

use bartizan_sdk::observed::{Rollout, StatefulSetView};
use bartizan_sdk::{Condition, ConditionStatus, Request, Response, condition};
use schemars::JsonSchema;
use serde::Serialize;

use crate::keys::{Keys, Servers};
use crate::layout::Layout;
use crate::permanent;
use crate::spec::ObjectStoreSpec;

/// The status of an ObjectStore, beside its conditions.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStoreStatus {
    /// The generation of the ObjectStore that this status is based on.
    pub observed_generation: i64,
    /// The wanted number of servers.
    pub nodes: i32,
    /// The number of ready servers.
    pub ready_servers: i32,
    /// Both numbers, such as `4/4`.
    pub ready: String,
    /// The URL of the store for clients in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// Adds the status and the condition `Ready` to a response. If the spec cannot be acted on, the status describes the running store.
pub(crate) fn report(
    response: Response,
    request: &Request<'_, ObjectStoreSpec>,
    wanted: Option<(&Layout, &Keys<'_>)>,
    observed: Option<&StatefulSetView<'_>>,
) -> Response {
    let ready_servers = observed.map_or(0, |observed| observed.status.ready_replicas);
    let nodes = match (wanted, observed) {
        (None, Some(observed)) => permanent::nodes(observed),
        _ => request.spec.scope.node_count,
    };
    let endpoint = match (wanted, observed) {
        (Some((layout, _)), _) => Some(layout.client_endpoint()),
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
    response.status(status).condition(readiness(wanted.map(|(_, keys)| keys), nodes, observed))
}

/// `Durable=False` if the store that runs, or else the one that is wanted, has no volume claims.
pub(crate) fn durability(spec: &ObjectStoreSpec, observed: Option<&StatefulSetView<'_>>) -> Option<Condition> {
    const EPHEMERAL: &str = "each server keeps its data in an emptyDir, which is deleted with its pod";
    let (is_ephemeral, advice) = match observed {
        Some(set) => (set.spec.volume_claim_templates.is_empty(), "make another store with claims, and copy the data"),
        None => (spec.scope.volume_claim_templates.is_empty(), "set spec.scope.volumeClaimTemplates"),
    };
    let message = format!("{EPHEMERAL}: {advice}");
    is_ephemeral.then(|| Condition::new("Durable", ConditionStatus::False, "EmptyDir", message))
}

/// Whether all servers are ready and up to date.
fn readiness(keys: Option<&Keys<'_>>, nodes: i32, observed: Option<&StatefulSetView<'_>>) -> Condition {
    let Some(observed) = observed else {
        return match keys {
            Some(Keys { servers: Servers::Wait, fault: Some(fault), .. }) => {
                condition::not_ready("CredentialsNotReady", fault.message())
            }
            Some(_) => condition::not_ready("Creating", "the servers are being created"),
            None => condition::not_ready("InvalidSpec", "nothing is created until the spec is valid"),
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
            condition::not_ready("Progressing", "the StatefulSet's controller has not observed the newest spec yet")
        }
    }
}
