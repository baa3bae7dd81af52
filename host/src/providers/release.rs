//! Removal of a Provider: its parents are counted or released by live reads, so that a restarted host continues where the previous
//! one ended. The finalizer of the Provider is removed last.

use std::sync::Arc;

use anyhow::Context as _;
use bartizan_contract::GroupKind;
use bartizan_contract::names::{PROVIDER_FINALIZER, finalizer};
use bartizan_contract::provider::Provider;
use bartizan_engine::provider::claims::{Claim, arbitrate, namespaces};
use bartizan_engine::provider::event::{RemovalAttempt, RemovalResult, Remove};
use bartizan_engine::provider::removal;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tracing::{info, warn};

use super::object::{MANAGER, api, resource};
use crate::controller::startup::{Host, Predecessor};
use crate::kubernetes::deadline::in_time;
use crate::kubernetes::discovery;
use crate::kubernetes::impersonation;
use crate::kubernetes::object::objects;

/// Parents that are read in one request.
const PAGE: u32 = 500;

/// A Provider that was deleted.
struct Removal {
    /// The API server, as the host.
    client: Client,
    /// The API server, as the Provider's account: its parents are read and released with its rights.
    account: Client,
    /// The host serves only these; none: all.
    namespaces: Vec<String>,
    /// The Provider.
    provider: Provider,
    /// The kinds of its parents; `None` if unknown.
    owned: Option<Vec<GroupKind>>,
    /// What each Provider claims.
    claims: Arc<[Claim]>,
}

/// A parent, and where it is.
struct Found {
    kind: GroupKind,
    resource: ApiResource,
    meta: PartialObjectMeta<DynamicObject>,
}

/// Tries to remove a Provider, once whoever serves it was stopped.
pub(super) async fn remove(host: &Host, remove: Remove, mut run: Option<Predecessor>) -> RemovalAttempt {
    let name = remove.provider.metadata.name.clone();
    let had_run = run.is_some();
    let result = match Removal::new(host, remove) {
        Ok(removal) => removal.run(&mut run).await,
        Err(error) => Err(error),
    };
    let result = result.unwrap_or_else(|error| RemovalResult::Failed(format!("{error:#}")));
    match &result {
        RemovalResult::Removed => info!(provider = name, "removed"),
        RemovalResult::Parents(_) => {}
        RemovalResult::Failed(reason) => warn!(provider = name, "it was deleted and cannot go yet: {reason}"),
    }
    RemovalAttempt { stopped: had_run && run.is_none(), result }
}

impl Removal {
    fn new(host: &Host, remove: Remove) -> anyhow::Result<Self> {
        let Remove { provider, owned, claims, run: _ } = remove;
        let user = impersonation::user(&host.provider_namespace, &provider.service_account_name());
        let account = impersonation::acting_as(&host.client, &user)?;
        let (client, namespaces) = (host.client.clone(), host.namespaces.clone());
        Ok(Self { client, account, namespaces, provider, owned, claims })
    }

    async fn run(&self, run: &mut Option<Predecessor>) -> anyhow::Result<RemovalResult> {
        let blocks = removal::blocks(&self.provider);
        if blocks {
            let parents = self.parents().await?.len();
            if parents > 0 {
                return Ok(RemovalResult::Parents(parents));
            }
        }
        if let Some(run) = run.take() {
            run.end().await;
        }
        // A parent may have been created while the controller ran, and none is served after its end.
        if blocks {
            let parents = self.parents().await?.len();
            if parents > 0 {
                return Ok(RemovalResult::Parents(parents));
            }
        } else {
            self.release().await?;
        }
        self.remove_finalizer().await?;
        Ok(RemovalResult::Removed)
    }

    /// All objects of its parents' kinds.
    async fn found(&self) -> anyhow::Result<Vec<Found>> {
        let owned = self.owned.as_ref().with_context(|| {
            format!(
                "its module cannot be loaded, so that nobody knows its parents: bring the module back, or take the finalizer \
                 {PROVIDER_FINALIZER} off"
            )
        })?;
        let mut found = Vec::new();
        // Where it is not served, it has no parents; and its account may be limited to where it is.
        let Some(namespaces) = namespaces(&self.namespaces, &self.provider.spec.namespaces) else { return Ok(found) };
        let namespaces: Vec<Option<&str>> = namespaces.iter().map(|name| Some(name.as_str())).collect();
        for kind in owned {
            let served =
                in_time(discovery::preferred(&self.client, kind)).await.with_context(|| format!("kind {kind}"))?;
            // What the cluster does not serve has no objects.
            let Some((_, resource)) = served else { continue };
            let everywhere = [None];
            let scopes = if resource.namespaced && !namespaces.is_empty() { &namespaces[..] } else { &everywhere };
            for namespace in scopes {
                let api = objects(&self.account, *namespace, &resource.api);
                let mut params = ListParams::default().limit(PAGE);
                loop {
                    let page = in_time(api.list_metadata(&params)).await;
                    let page = page.with_context(|| format!("{kind} cannot be listed"))?;
                    let resource = &resource.api;
                    found.extend(page.items.into_iter().map(|meta| Found {
                        kind: kind.clone(),
                        resource: resource.clone(),
                        meta,
                    }));
                    match page.metadata.continue_.filter(|token| !token.is_empty()) {
                        Some(token) => params = params.continue_token(&token),
                        None => break,
                    }
                }
            }
        }
        Ok(found)
    }

    /// Those that it serves.
    async fn parents(&self) -> anyhow::Result<Vec<Found>> {
        let mut found = self.found().await?;
        found.retain(|Found { kind, meta, .. }| {
            let serves = arbitrate(&self.claims, kind, meta.namespace().as_deref(), meta.labels()).serves;
            serves == Some(self.provider.metadata.name.as_str())
        });
        Ok(found)
    }

    /// Removes its finalizer from every object that has it.
    async fn release(&self) -> anyhow::Result<()> {
        let ours = finalizer(&self.provider.metadata.name);
        for Found { kind, resource, meta } in self.found().await? {
            if !meta.finalizers().contains(&ours) {
                continue;
            }
            let others: Vec<&String> = meta.finalizers().iter().filter(|name| **name != ours).collect();
            let metadata = json!({"uid": meta.uid(), "resourceVersion": meta.resource_version(), "finalizers": others});
            let name = meta.name_any();
            let namespace = meta.namespace();
            patch(&self.account, &resource, namespace.as_deref(), &name, &json!({"metadata": metadata}))
                .await
                .with_context(|| format!("{kind} {name} could not be released"))?;
            info!(provider = self.provider.metadata.name, %kind, namespace, name, "released");
        }
        Ok(())
    }

    /// Removes the finalizer of the Provider.
    async fn remove_finalizer(&self) -> anyhow::Result<()> {
        let name = self.provider.metadata.name.as_str();
        let resource = resource();
        let title = || format!("Provider {name} could not be released");
        let live = in_time(api(&self.client).get_metadata_opt(name)).await.with_context(title)?;
        let Some(live) = live.filter(|live| live.uid() == self.provider.metadata.uid) else { return Ok(()) };
        let others: Vec<&String> = live.finalizers().iter().filter(|name| *name != PROVIDER_FINALIZER).collect();
        let metadata = json!({"uid": live.uid(), "resourceVersion": live.resource_version(), "finalizers": others});
        patch(&self.client, &resource, None, name, &json!({"metadata": metadata})).await.with_context(title)
    }
}

/// Patches an object; success if it is gone.
async fn patch(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    name: &str,
    patch: &serde_json::Value,
) -> anyhow::Result<()> {
    let api = objects(client, namespace, resource);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match in_time(api.patch(name, &params, &Patch::Merge(patch))).await {
        Ok(_) => Ok(()),
        Err(error) => match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            _ => Err(error),
        },
    }
}
