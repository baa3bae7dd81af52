//! What can no longer change once a store exists: its data was laid out for it. What it was made with stands on the
//! StatefulSet as annotations, since its replicas and arguments may be edited by hand and are then repaired.

use bartizan_sdk::Fault;
use bartizan_sdk::observed::StatefulSetView;
use bartizan_sdk::storage::{Annotations, same_claims};

use crate::validation::Plan;

/// How many servers the store was made with.
pub(crate) const NODES: &str = "minio.rook.io/nodes";
/// The port that it was made with.
const PORT: &str = "minio.rook.io/port";
/// The DNS domain that it was made in.
const CLUSTER_DOMAIN: &str = "minio.rook.io/cluster-domain";

/// The record that the StatefulSet carries.
pub(crate) fn record(plan: &Plan<'_>) -> Annotations {
    let layout = &plan.layout;
    [
        (NODES.to_owned(), layout.nodes.to_string()),
        (PORT.to_owned(), layout.port.to_string()),
        (CLUSTER_DOMAIN.to_owned(), layout.domain.clone()),
    ]
    .into()
}

/// What of the plan differs from what the store was made with.
pub(crate) fn faults(plan: &Plan<'_>, observed: Option<&StatefulSetView<'_>>) -> Vec<Fault> {
    let Some(observed) = observed else { return Vec::new() };
    let mut faults = Vec::new();
    for (key, wanted) in record(plan) {
        let Some(made) = observed.metadata.annotation(&key).filter(|made| *made != wanted) else { continue };
        let (field, why) = match key.as_str() {
            NODES => (
                "spec.scope.nodeCount",
                "the servers of a MinIO pool are fixed when it is made; to grow, add a pool, which this version cannot do yet",
            ),
            PORT => ("spec.network.ports", "the servers know each other by it"),
            _ => ("spec.clusterDomain", "the servers know each other by it"),
        };
        faults.push(Fault::new(field, format!("cannot change from {made} to {wanted}: {why}")));
    }
    if !same_claims(&plan.layout.claims, &observed.spec.volume_claim_templates) {
        let message = "cannot change: the drives of a MinIO pool are fixed when it is made";
        faults.push(Fault::new("spec.scope.volumeClaimTemplates", message));
    }
    faults
}

/// How many servers a store has that exists, whatever its spec says now.
pub(crate) fn nodes(observed: &StatefulSetView<'_>) -> i32 {
    let recorded = observed.metadata.annotation(NODES);
    recorded.and_then(|nodes| nodes.parse().ok()).unwrap_or(observed.spec.replicas)
}

/// Where clients find a store that exists, whatever its spec says now.
pub(crate) fn endpoint(name: &str, namespace: &str, observed: &StatefulSetView<'_>) -> Option<String> {
    let port = observed.metadata.annotation(PORT)?.parse().ok()?;
    Some(crate::layout::client_endpoint(name, namespace, &observed.metadata.annotation(CLUSTER_DOMAIN)?, port))
}
