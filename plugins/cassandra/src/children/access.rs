//! The rights of members: the ServiceAccount, Role and RoleBinding of the sidecar. If somebody else created them beforehand,
//! as Rook's example does, they are left alone.

use bartizan_sdk::k8s_openapi::api::core::v1::ServiceAccount;
use bartizan_sdk::k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use bartizan_sdk::kubernetes::{role, role_binding, service_account};
use bartizan_sdk::{ChildKind, Failure, Response, object};

use super::metadata::meta;
use crate::spec::ClusterRequest;

/// The name of the members' ServiceAccount, Role and RoleBinding.
pub(super) fn account(request: &ClusterRequest<'_>) -> String {
    [request.name(), "-member"].concat()
}

/// Requests the objects, to see whether somebody else created them.
pub(super) fn request_related(response: Response, request: &ClusterRequest<'_>) -> Response {
    let account = account(request);
    [ChildKind::of::<ServiceAccount>(), ChildKind::of::<Role>(), ChildKind::of::<RoleBinding>()]
        .into_iter()
        .fold(response, |response, kind| response.related(kind, &[&account]))
}

/// Adds the objects that nobody else created.
pub(super) fn grant(mut response: Response, request: &ClusterRequest<'_>) -> Result<Response, Failure> {
    let name = account(request);
    if request.is_free::<ServiceAccount>(&name)? {
        response = response.child_json(service_account(meta(request, &name)));
    }
    if request.is_free::<Role>(&name)? {
        let rules = object!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch", "patch"]},
            {"apiGroups": ["cassandra.rook.io"], "resources": ["clusters"], "verbs": ["get"]},
        ]);
        response = response.child_json(role(meta(request, &name), rules));
    }
    if request.is_free::<RoleBinding>(&name)? {
        response = response.child_json(role_binding(meta(request, &name)));
    }
    Ok(response)
}
