//! What members may do: their ServiceAccount, for the sidecar. Whoever made them beforehand, as Rook's example does, keeps
//! them.

use bartizan_sdk::k8s_openapi::Resource;
use bartizan_sdk::k8s_openapi::api::core::v1::ServiceAccount;
use bartizan_sdk::k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use bartizan_sdk::observed::ObjectView;
use bartizan_sdk::{ChildKind, Failure, Response, object};

use super::{Asked, labels};

/// Name of the members' ServiceAccount, Role and RoleBinding.
pub(super) fn account(request: &Asked<'_>) -> String {
    format!("{}-member", request.name())
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
    let account = account(request);
    let (name, namespace) = (account.as_str(), request.namespace());
    if is_ours::<ServiceAccount>(request, name)? {
        response = response.child_json(object!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace, "labels": labels(request)},
        }));
    }
    if is_ours::<Role>(request, name)? {
        response = response.child_json(object!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name, "namespace": namespace, "labels": labels(request)},
            "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
                {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch", "patch"]},
                {"apiGroups": ["cassandra.rook.io"], "resources": ["clusters"], "verbs": ["get"]},
            ],
        }));
    }
    if is_ours::<RoleBinding>(request, name)? {
        response = response.child_json(object!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": namespace, "labels": labels(request)},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }));
    }
    Ok(response)
}

/// Whether an object is this cluster's, or nobody's yet.
fn is_ours<R: Resource>(request: &Asked<'_>, name: &str) -> Result<bool, Failure> {
    let Some(found) = request.related::<ObjectView<'_, R>>(name)? else { return Ok(true) };
    Ok(found.metadata.is_owned_by("uid", &request.metadata.uid) || request.child::<ObjectView<'_, R>>(name)?.is_some())
}
