//! Names, labels and selectors of a cluster's objects.

use bartizan_sdk::json::WriteJson;
use bartizan_sdk::kubernetes::Meta;
use bartizan_sdk::object;

use crate::labels::{CLUSTER, DATACENTER, MANAGED_BY, NAME, RACK};
use crate::spec::ClusterRequest;

pub(super) fn meta<'a>(request: &'a ClusterRequest<'_>, name: &'a str) -> Meta<'a, impl WriteJson> {
    Meta { name, namespace: request.namespace(), labels: labels(request, None) }
}

/// Selects the members of one cluster.
pub(super) fn selector(request: &ClusterRequest<'_>) -> impl WriteJson {
    object!({CLUSTER: request.name()})
}

/// Selects the members of one rack.
pub(super) fn rack_selector(request: &ClusterRequest<'_>, rack: &str) -> impl WriteJson {
    object!({CLUSTER: request.name(), DATACENTER: request.spec.datacenter.name, RACK: rack})
}

/// The labels of every object of a cluster, or of a rack.
pub(super) fn labels(request: &ClusterRequest<'_>, rack: Option<&str>) -> impl WriteJson {
    object!({
        NAME: request.spec.mode().as_str(),
        MANAGED_BY: "bartizan",
        CLUSTER: request.name(),
        DATACENTER: rack.map(|_| &request.spec.datacenter.name),
        RACK: rack,
    })
}
