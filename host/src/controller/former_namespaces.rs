//! Namespaces in which a Provider has served parents and does so no longer, since its `spec.namespaces` has changed: they are watched,
//! too, until its parents there are let go of.

use std::collections::BTreeSet;

use bartizan_contract::names::{field_manager, finalizer};
use bartizan_contract::provider::Provider;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Client, ResourceExt as _};
use tracing::debug;

use crate::kubernetes::deadline::in_time;
use crate::kubernetes::object::objects;
use crate::kubernetes::served::Served;

/// Parents that are read in one request.
const PAGE: u32 = 500;

/// The namespaces, beside those that it serves, with parents that have its finalizer or its status. Those that its account may not
/// see, or that the host does not serve, are not among them.
pub(super) async fn find(
    client: &Client,
    provider: &Provider,
    served: &Served,
    namespaces: &[String],
    host: &[String],
) -> BTreeSet<String> {
    let mut former = BTreeSet::new();
    // Without namespaces of its own, it serves all that there are.
    if provider.spec.namespaces.is_empty() {
        return former;
    }
    let name = &provider.metadata.name;
    for parent in served.parents.values().filter(|parent| parent.resource.namespaced) {
        match held(client, &parent.resource.api, name).await {
            Ok(found) => former.extend(found),
            Err(error) => debug!(provider = name, "parents in other namespaces cannot be listed: {error:#}"),
        }
    }
    former.retain(|name| !namespaces.contains(name) && (host.is_empty() || host.contains(name)));
    former
}

/// The namespaces of parents that have something of a provider.
async fn held(client: &Client, resource: &ApiResource, provider: &str) -> anyhow::Result<BTreeSet<String>> {
    let (finalizer, manager) = (finalizer(provider), field_manager(provider));
    let is_held = |parent: &PartialObjectMeta<DynamicObject>| {
        let mut managers = parent.managed_fields().iter();
        parent.finalizers().contains(&finalizer)
            || managers.any(|entry| {
                entry.manager.as_deref() == Some(&manager) && entry.subresource.as_deref() == Some("status")
            })
    };
    let api = objects(client, None, resource);
    let mut params = ListParams::default().limit(PAGE);
    let mut namespaces = BTreeSet::new();
    loop {
        let page = in_time(api.list_metadata(&params)).await?;
        namespaces.extend(page.items.iter().filter(|parent| is_held(parent)).filter_map(kube::ResourceExt::namespace));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(namespaces),
        }
    }
}
