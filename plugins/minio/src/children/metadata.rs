//! Names, labels and selectors of a store's objects.

use bartizan_sdk::json::WriteJson;
use bartizan_sdk::kubernetes::Meta;
use bartizan_sdk::object;

use crate::layout::Layout;

/// The label that tells the pods of different stores apart: the only one in selectors.
const STORE_LABEL: &str = "minio.rook.io/objectstore";

/// Labels that Kubernetes recommends: the application, and which instance of it.
const NAME_LABEL: &str = "app.kubernetes.io/name";
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
const APPLICATION: &str = "minio";

pub(super) fn meta<'a>(layout: &'a Layout, name: &'a str) -> Meta<'a, impl WriteJson> {
    Meta { name, namespace: &layout.namespace, labels: labels(layout) }
}

/// Selects the pods of one store.
pub(super) fn selector(layout: &Layout) -> impl WriteJson {
    object!({STORE_LABEL: layout.name})
}

/// The labels of every object of a store.
pub(super) fn labels(layout: &Layout) -> impl WriteJson {
    object!({STORE_LABEL: layout.name, NAME_LABEL: APPLICATION, INSTANCE_LABEL: layout.name})
}

/// The labels of a store's pods. `app` is for Services that were written for Rook's MinIO operator; no selector here uses it.
pub(super) fn pod_labels(layout: &Layout) -> impl WriteJson {
    object!({"app": APPLICATION, STORE_LABEL: layout.name, NAME_LABEL: APPLICATION, INSTANCE_LABEL: layout.name})
}
