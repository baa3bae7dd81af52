//! Providers as objects of the API server.

use anyhow::Context as _;
use bartizan_contract::Kind;
use bartizan_contract::names::{PROVIDER_API_VERSION, PROVIDER_KIND, PROVIDER_PLURAL};
use bartizan_contract::provider::Provider;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};

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

/// Reads a Provider as the API server holds it.
///
/// # Errors
/// If it has fields that this host does not know: it might grant more than was meant.
pub(super) fn parse(mut object: DynamicObject) -> anyhow::Result<Provider> {
    let name = object.metadata.name.clone().unwrap_or_default();
    object.metadata.managed_fields = None;
    stamp(&mut object, &kind());
    let value = serde_json::to_value(object).with_context(|| format!("Provider {name}"))?;
    serde_json::from_value(value).with_context(|| format!("Provider {name} is not one that this host understands"))
}
