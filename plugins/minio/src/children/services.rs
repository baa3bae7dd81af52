//! The two Services: one by which servers find each other, one for clients.

use bartizan_sdk::json::WriteJson;
use bartizan_sdk::object;
use bartizan_sdk::storage::Annotations;

use super::{labels, selector};
use crate::layout::client_service;
use crate::validation::{PORT_NAME, Plan};

/// Gives every server its name in DNS, before it is ready: servers need each other to become so.
pub(super) fn headless(plan: &Plan<'_>) -> impl WriteJson {
    object!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": plan.layout.name,
            "namespace": plan.layout.namespace,
            "labels": labels(&plan.layout),
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": selector(&plan.layout),
            "ports": [port(plan)],
        },
    })
}

/// Spreads clients over the servers that are ready.
pub(super) fn client(plan: &Plan<'_>) -> impl WriteJson {
    let annotations: Option<&Annotations> = Some(&plan.spec.service_annotations).filter(|given| !given.is_empty());
    object!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": client_service(&plan.layout.name),
            "namespace": plan.layout.namespace,
            "labels": labels(&plan.layout),
            "annotations": annotations,
        },
        "spec": {"type": "ClusterIP", "selector": selector(&plan.layout), "ports": [port(plan)]},
    })
}

fn port(plan: &Plan<'_>) -> impl WriteJson {
    object!({"name": PORT_NAME, "port": plan.layout.port, "protocol": "TCP", "targetPort": PORT_NAME})
}
