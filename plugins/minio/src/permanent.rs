//! Fields that cannot change once a store exists, because its data was laid out by them. Their values are recorded in annotations
//! of the StatefulSet: its replicas and arguments may be edited by hand, which is drift that the host repairs.

use bartizan_sdk::Fault;
use bartizan_sdk::observed::StatefulSetView;
use bartizan_sdk::storage::{Annotations, same_claims};

use crate::layout::client_endpoint;
use crate::plan::Plan;

/// The number of servers that the store was created with.
pub(crate) const NODES: &str = "minio.rook.io/nodes";
/// The port that the store was created with.
const PORT: &str = "minio.rook.io/port";
/// The DNS domain that the store was created with.
const CLUSTER_DOMAIN: &str = "minio.rook.io/cluster-domain";

/// The annotations of the StatefulSet.
pub(crate) fn record(plan: &Plan<'_>) -> Annotations {
    let layout = &plan.layout;
    [
        (NODES.to_owned(), layout.nodes.to_string()),
        (PORT.to_owned(), layout.port.to_string()),
        (CLUSTER_DOMAIN.to_owned(), layout.domain.clone()),
    ]
    .into()
}

/// The fields of the plan that differ from what the store was created with.
pub(crate) fn faults(plan: &Plan<'_>, observed: Option<&StatefulSetView<'_>>) -> Vec<Fault> {
    let Some(observed) = observed else { return Vec::new() };
    let mut faults = Vec::new();
    for (key, wanted) in record(plan) {
        let Some(made) = observed.metadata.annotation(&key).filter(|made| *made != wanted) else { continue };
        let (field, why) = match key.as_str() {
            NODES => (
                "spec.scope.nodeCount",
                "the number of servers of a MinIO pool is fixed when it is created; adding a pool is not supported yet",
            ),
            PORT => ("spec.network.ports", "the servers address each other by it"),
            _ => ("spec.clusterDomain", "the servers address each other by it"),
        };
        faults.push(Fault::new(field, format!("cannot change from {made} to {wanted}: {why}")));
    }
    if !same_claims(&plan.layout.claims, &observed.spec.volume_claim_templates) {
        let message = "cannot change: the drives of a MinIO pool are fixed when it is created";
        faults.push(Fault::new("spec.scope.volumeClaimTemplates", message));
    }
    faults
}

/// The number of servers of an existing store, whatever its spec says now.
pub(crate) fn nodes(observed: &StatefulSetView<'_>) -> i32 {
    let recorded = observed.metadata.annotation(NODES);
    recorded.and_then(|nodes| nodes.parse().ok()).unwrap_or(observed.spec.replicas)
}

/// The URL of an existing store for clients, whatever its spec says now.
pub(crate) fn endpoint(name: &str, namespace: &str, observed: &StatefulSetView<'_>) -> Option<String> {
    let port = observed.metadata.annotation(PORT)?.parse().ok()?;
    Some(client_endpoint(name, namespace, &observed.metadata.annotation(CLUSTER_DOMAIN)?, port))
}
