//! What a store consists of in Kubernetes. The objects are written as JSON text: typed pod templates would
//! make the module twice as large.

mod credentials;
mod servers;
mod services;

use bartizan_sdk::json::WriteJson;
use bartizan_sdk::kubernetes::{Meta, disruption_budget};
use bartizan_sdk::{Response, object};

use crate::Mode;
use crate::layout::Layout;
use crate::validation::Plan;
pub(crate) use credentials::{ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE};

/// The label that tells one store's pods from another's: the whole of every selector.
const STORE_LABEL: &str = "minio.rook.io/objectstore";

/// The labels that Kubernetes recommends: what an object belongs to, and to which of these.
const NAME_LABEL: &str = "app.kubernetes.io/name";
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
const APPLICATION: &str = "minio";

/// How many servers may be away on purpose at the same time. The smallest erasure set, four drives on four servers, still
/// takes writes with one drive away, and not with two; in every larger layout one server is within parity as well.
const MAX_UNAVAILABLE: i32 = 1;

/// All children of a store, in an order that never changes.
pub(crate) fn desired(plan: &Plan<'_>) -> Response {
    let mut response = Response::new()
        .child_json(services::headless(plan))
        .child_json(services::client(plan))
        .child_json(servers::stateful_set(plan));
    if let Some(secret) = credentials::secret(plan) {
        response = response.child_json(secret);
    }
    for (key, length) in credentials::generated(plan) {
        response = response.generate(&credentials::secret_name(plan), key, length);
    }
    // A budget over a single server would either forbid to drain its node or mean nothing.
    if plan.layout.mode == Mode::Distributed {
        let layout = &plan.layout;
        let budget = disruption_budget(meta(layout, &layout.name), MAX_UNAVAILABLE, selector(layout));
        response = response.child_json(budget);
    }
    response
}

fn meta<'a>(layout: &'a Layout, name: &'a str) -> Meta<'a, impl WriteJson> {
    Meta { name, namespace: &layout.namespace, labels: labels(layout) }
}

/// What selects the pods of a store, and of no other.
fn selector(layout: &Layout) -> impl WriteJson {
    object!({STORE_LABEL: layout.name})
}

/// Labels of every object of a store.
fn labels(layout: &Layout) -> impl WriteJson {
    object!({STORE_LABEL: layout.name, NAME_LABEL: APPLICATION, INSTANCE_LABEL: layout.name})
}

/// Labels of a store's pods: `app` is for Services that people wrote for Rook's MinIO, and in no selector of ours.
fn pod_labels(layout: &Layout) -> impl WriteJson {
    object!({"app": APPLICATION, STORE_LABEL: layout.name, NAME_LABEL: APPLICATION, INSTANCE_LABEL: layout.name})
}
