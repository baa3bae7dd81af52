//! Namespaces in which a Provider has served parents and does so no longer, since its `spec.namespaces` has changed: they are watched,
//! too, until its parents there are let go of.

use std::collections::BTreeSet;

use bartizan_contract::provider::Provider;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Client, ResourceExt as _};
use tracing::debug;

use crate::kubernetes::error::text;
use crate::kubernetes::metadata::{each_metadata, has_marks_of};
use crate::kubernetes::object::objects;
use crate::kubernetes::served::Served;

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
            Err(error) => debug!(provider = name, "parents in other namespaces cannot be listed: {}", text(&error)),
        }
    }
    former.retain(|name| !namespaces.contains(name) && (host.is_empty() || host.contains(name)));
    former
}

/// The namespaces of parents that have something of a provider.
async fn held(client: &Client, resource: &ApiResource, provider: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut namespaces = BTreeSet::new();
    let collect = |parent: PartialObjectMeta<DynamicObject>| {
        if has_marks_of(&parent, provider) {
            namespaces.extend(parent.namespace());
        }
    };
    each_metadata(&objects(client, None, resource), ListParams::default(), collect).await?;
    Ok(namespaces)
}
