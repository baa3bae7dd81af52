//! Providers as objects of the API server.

use anyhow::Context as _;
use bartizan_contract::Kind;
use bartizan_contract::names::{APPROVE_ANNOTATION, PROVIDER_API_VERSION, PROVIDER_KIND, PROVIDER_PLURAL};
use bartizan_contract::provider::{Approvers, Provider};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::kubernetes::object::stamp;
use crate::kubernetes::served::api_resource;

/// Field manager of what the host writes for itself.
pub(super) const MANAGER: &str = bartizan_contract::names::HOST_FIELD_MANAGER;

/// The kind `Provider`.
pub(super) fn kind() -> Kind {
    Kind::from_api_version(PROVIDER_API_VERSION, PROVIDER_KIND)
}

/// The kind `Provider`, for requests.
pub(crate) fn resource() -> ApiResource {
    api_resource(&kind(), PROVIDER_PLURAL)
}

/// Requests about Providers.
pub(super) fn api(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &resource())
}

/// Most fields of a Provider that are left out, since this host does not understand them.
const LEFT_OUT: usize = 32;

/// Reads a Provider as the API server holds it. What this host does not understand, as of a newer version, is left out and noted: it might
/// be a restriction, so that such a Provider is not served; what it claims stays its own.
///
/// # Errors
/// If too little of it is understood.
pub(crate) fn parse(mut object: DynamicObject) -> anyhow::Result<Provider> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let approvers = approvers(object.metadata.managed_fields.take().unwrap_or_default());
    stamp(&mut object, &kind());
    let mut value = serde_json::to_value(object).with_context(|| format!("Provider {name}"))?;
    let mut not_understood = None;
    for _ in 0..LEFT_OUT {
        let error = match serde_path_to_error::deserialize::<_, Provider>(&value) {
            Ok(mut provider) => {
                (provider.metadata.not_understood, provider.metadata.approvers) = (not_understood, approvers);
                return Ok(provider);
            }
            Err(error) => error,
        };
        let (path, message) = (error.path().clone(), error.inner().to_string());
        not_understood.get_or_insert_with(|| {
            format!(
                "{path}: {message}: this host may be older than the Provider; it serves nothing for it until that field is gone, or a newer \
                 host runs"
            )
        });
        if !leave_out(&mut value, &path, &message) {
            break;
        }
    }
    let reason = not_understood.unwrap_or_default();
    anyhow::bail!("Provider {name} is not one that this host understands: {reason}")
}

/// Who wrote the approvals.
fn approvers(managed_fields: Vec<ManagedFieldsEntry>) -> Approvers {
    let mut approvers = Approvers::default();
    for ManagedFieldsEntry { manager, fields_v1, .. } in managed_fields {
        let fields = fields_v1.map(|fields| fields.0).unwrap_or_default();
        let owns = |path: &[&str]| path.iter().try_fold(&fields, |fields, name| fields.get(name)).is_some();
        if owns(&["f:metadata", "f:annotations", &format!("f:{APPROVE_ANNOTATION}")]) {
            approvers.annotation.clone_from(&manager);
        }
        if owns(&["f:spec", "f:upgrade", "f:approved"]) {
            approvers.spec = manager;
        }
    }
    approvers
}

/// Removes the value at a path of the spec or status, or the field of it that is unknown.
fn leave_out(value: &mut Value, path: &Path, message: &str) -> bool {
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    let steps: Vec<String> = path
        .iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect();
    let at = |steps: &[String]| steps.iter().map(|step| format!("/{step}")).collect::<String>();
    let mut remove = |holder: &[String], name: &str| match value.pointer_mut(&at(holder)) {
        Some(Value::Object(fields)) => fields.remove(name).is_some(),
        Some(Value::Array(items)) => {
            name.parse().ok().filter(|index| *index < items.len()).map(|index: usize| items.remove(index)).is_some()
        }
        _ => false,
    };
    if let Some(unknown) = unknown
        && remove(&steps, unknown)
    {
        return true;
    }
    steps.split_last().is_some_and(|(last, holder)| !holder.is_empty() && remove(holder, last))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(spec: Value) -> anyhow::Result<Provider> {
        let object = json!({
            "apiVersion": PROVIDER_API_VERSION, "kind": PROVIDER_KIND, "metadata": {"name": "a", "uid": "u"}, "spec": spec,
        });
        parse(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn who_approved_a_version_is_told_by_the_managed_fields() {
        let entry =
            |manager: &str, fields: Value| json!({"manager": manager, "operation": "Apply", "fieldsV1": fields});
        let entries = json!([
            entry("argocd-controller", json!({"f:spec": {"f:upgrade": {".": {}, "f:approved": {}}}})),
            entry("bartizan-cli", json!({"f:metadata": {"f:annotations": {"f:bartizan.dev/approve": {}}}})),
            entry("kubectl", json!({"f:spec": {"f:upgrade": {"f:policy": {}}}})),
        ]);
        let found = approvers(serde_json::from_value(entries).unwrap());
        let expected =
            Approvers { annotation: Some("bartizan-cli".to_owned()), spec: Some("argocd-controller".to_owned()) };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_understood_of_a_provider_is_noted_and_the_rest_is_read() {
        let known = json!({"module": {"file": "a.wasm"}, "suspend": true});
        assert_eq!(parsed(known.clone()).unwrap().metadata.not_understood, None);
        let mut newer = known.clone();
        newer["futureRestriction"] = json!({"a": 1});
        newer["grants"] = json!({"children": [{"group": "", "kinds": ["ConfigMap"], "only": ["x"]}]});
        newer["onRemoval"] = "Ask".into();
        let provider = parsed(newer).unwrap();
        assert!(provider.spec.suspend && provider.spec.grants.children.len() == 1, "{provider:?}");
        let noted = provider.metadata.not_understood.unwrap();
        assert!(noted.contains("unknown field `") && noted.contains("it serves nothing for it"), "{noted}");
        let error = parsed(json!({"suspend": true})).unwrap_err().to_string();
        assert!(error.starts_with("Provider a is not one that this host understands: spec"), "{error}");
    }
}
