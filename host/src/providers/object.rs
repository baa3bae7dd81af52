//! Providers as objects of the API server.

use anyhow::Context as _;
use bartizan_contract::names::{PROVIDER_API_VERSION, PROVIDER_KIND, PROVIDER_PLURAL};
use bartizan_contract::provider::Provider;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};

/// Field manager of what the host writes for itself.
pub(super) const MANAGER: &str = bartizan_contract::names::HOST_FIELD_MANAGER;

/// The kind `Provider`, for requests.
pub(crate) fn resource() -> ApiResource {
    let (group, version) = PROVIDER_API_VERSION.split_once('/').unwrap_or_default();
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: PROVIDER_API_VERSION.to_owned(),
        kind: PROVIDER_KIND.to_owned(),
        plural: PROVIDER_PLURAL.to_owned(),
    }
}

/// Requests about Providers.
pub(super) fn api(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &resource())
}

/// Reads a Provider as the API server holds it.
///
/// # Errors
/// If it has fields that this host does not know: it might grant more than was meant.
pub(super) fn parse(mut object: DynamicObject) -> anyhow::Result<Provider> {
    let name = object.metadata.name.clone().unwrap_or_default();
    object.metadata.managed_fields = None;
    // Items of a list have no type of their own.
    object.types =
        Some(kube::core::TypeMeta { api_version: PROVIDER_API_VERSION.to_owned(), kind: PROVIDER_KIND.to_owned() });
    let value = serde_json::to_value(object).with_context(|| format!("Provider {name}"))?;
    serde_json::from_value(value).with_context(|| format!("Provider {name} is not one that this host understands"))
}
