//! What members may do: their ServiceAccount, for the sidecar. Whoever made them beforehand, as Rook's example does, keeps
//! them.

use bartizan_sdk::k8s_openapi::api::core::v1::ServiceAccount;
use bartizan_sdk::k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use bartizan_sdk::kubernetes::{role, role_binding, service_account};
use bartizan_sdk::{ChildKind, Failure, Response, object};

use super::{Asked, meta};

/// Name of the members' ServiceAccount, Role and RoleBinding.
pub(super) fn account(request: &Asked<'_>) -> String {
    [request.name(), "-member"].concat()
}

/// Asks whether somebody else has them.
pub(super) fn ask(response: Response, request: &Asked<'_>) -> Response {
    let account = account(request);
    [ChildKind::of::<ServiceAccount>(), ChildKind::of::<Role>(), ChildKind::of::<RoleBinding>()]
        .into_iter()
        .fold(response, |response, kind| response.related(kind, &[&account]))
}

/// Those that nobody else has made.
pub(super) fn grant(mut response: Response, request: &Asked<'_>) -> Result<Response, Failure> {
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
