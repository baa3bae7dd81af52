//! Removal of a Provider: its parents are counted or released by live reads, so that a restarted host continues where the previous
//! one ended. The finalizer of the Provider is removed last.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use bartizan_contract::names::{PROVIDER_FINALIZER, PROVIDER_LABEL, field_manager, finalizer};
use bartizan_contract::provider::Provider;
use bartizan_contract::{GroupKind, Kind};
use bartizan_engine::Observed;
use bartizan_engine::patch::MergePatch;
use bartizan_engine::plan::{self, FinalizerStep};
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
use crate::kubernetes::error::{is_forbidden, text};
use crate::kubernetes::impersonation;
use crate::kubernetes::metadata::{each_metadata, has_marks_of, has_status_of};
use crate::kubernetes::object::{objects, stamp};
use crate::kubernetes::served::Resource;

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
    kind: Kind,
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
    let result = result.unwrap_or_else(|error| RemovalResult::Failed(text(&error)));
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
        let account = impersonation::acting_as(&host.client, &user, &provider.metadata.name)?;
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
        }
        // With `Block`, too: parents that have left its claim may wait for what it did not let go of, as while it was suspended.
        self.release().await?;
        self.remove_finalizer().await?;
        Ok(RemovalResult::Removed)
    }

    /// All objects of its parents' kinds, in all namespaces if its account may list them, otherwise where it is served.
    async fn found(&self) -> anyhow::Result<Vec<Found>> {
        let owned = self.owned.as_ref().with_context(|| {
            format!(
                "its module cannot be loaded, so that nobody knows its parents: bring the module back, or take the finalizer \
                 {PROVIDER_FINALIZER} off"
            )
        })?;
        let mut found = Vec::new();
        for kind in owned {
            let served =
                in_time(discovery::preferred(&self.client, kind)).await.with_context(|| format!("kind {kind}"))?;
            // What the cluster does not serve has no objects.
            let Some((version, resource)) = served else { continue };
            let listed = match self.everywhere(&resource, ListParams::default()).await {
                // An account that never got any rights is no reason to stay.
                Err(error) if is_forbidden(&error) && removal::never_served(&self.provider) => {
                    warn!(provider = self.provider.metadata.name, %kind, "parents cannot be looked for: {}", text(&error));
                    continue;
                }
                listed => listed,
            };
            let listed = listed.with_context(|| {
                format!(
                    "{kind} cannot be listed, so that nobody knows its parents (give its account that right, or take the finalizer \
                     {PROVIDER_FINALIZER} off)"
                )
            })?;
            found.extend(listed.into_iter().map(|meta| Found {
                kind: version.clone(),
                resource: resource.api.clone(),
                meta,
            }));
        }
        Ok(found)
    }

    /// The metadata of all objects of a kind that match, as far as its account may list them.
    async fn everywhere(
        &self,
        resource: &Resource,
        params: ListParams,
    ) -> anyhow::Result<Vec<PartialObjectMeta<DynamicObject>>> {
        let namespaces = namespaces(&self.namespaces, &self.provider.spec.namespaces).unwrap_or_default();
        if self.namespaces.is_empty() || !resource.namespaced {
            let listed = self.list(&resource.api, None, params.clone()).await;
            match listed {
                Err(error) if is_forbidden(&error) && resource.namespaced && !namespaces.is_empty() => {}
                listed => return listed,
            }
        }
        let mut found = Vec::new();
        for namespace in &namespaces {
            found.extend(self.list(&resource.api, Some(namespace), params.clone()).await?);
        }
        Ok(found)
    }

    async fn list(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        params: ListParams,
    ) -> anyhow::Result<Vec<PartialObjectMeta<DynamicObject>>> {
        let api = objects(&self.account, namespace, resource);
        let mut found = Vec::new();
        each_metadata(&api, params, |meta| found.push(meta)).await?;
        Ok(found)
    }

    /// Those that it serves, and those that have its finalizer: without it, nobody takes that off. Of one that never served, as far as its
    /// status says, those that another of its name has left something on: it was made again, or restored.
    async fn parents(&self) -> anyhow::Result<Vec<Found>> {
        let (mut found, name) = (self.found().await?, &self.provider.metadata.name);
        let ours = finalizer(name);
        found.retain(|parent| match removal::never_served(&self.provider) {
            true => has_marks_of(&parent.meta, name),
            false => self.serves(parent) || parent.meta.finalizers().contains(&ours),
        });
        Ok(found)
    }

    fn serves(&self, Found { kind, meta, .. }: &Found) -> bool {
        let kind = GroupKind::from(kind);
        let serves = arbitrate(&self.claims, &kind, meta.namespace().as_deref(), meta.labels()).serves;
        serves == Some(self.provider.metadata.name.as_str())
    }

    /// Lets its parents go: releases their children, so that another Provider may adopt them, removes its finalizer, and takes back what
    /// it said about them. Children of a parent that is being deleted go with that.
    async fn release(&self) -> anyhow::Result<()> {
        let name = self.provider.metadata.name.as_str();
        let ours = finalizer(name);
        let mut parents = self.found().await?;
        parents.retain(|parent| self.serves(parent) || has_marks_of(&parent.meta, name));
        let mut observed = BTreeMap::new();
        for Found { kind, meta, .. } in
            parents.iter().filter(|parent| parent.meta.metadata.deletion_timestamp.is_none())
        {
            let object = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": meta.metadata});
            let object = Observed::project(object, &field_manager(name)).with_context(|| kind.to_string())?;
            observed.insert(object.uid.clone(), object);
        }
        self.release_children(&observed).await?;
        for Found { kind, resource, meta } in &parents {
            let (parent, namespace) = (meta.name_any(), meta.namespace());
            if meta.finalizers().contains(&ours) {
                take_finalizers_off(&self.account, resource, meta, |name| name == ours)
                    .await
                    .with_context(|| format!("{kind} {parent} could not be released"))?;
                info!(provider = name, %kind, namespace, name = parent, "released");
            }
            // A status that cannot be taken back holds nobody.
            if let Err(error) = clear_status(&self.account, name, kind, resource, meta).await {
                warn!(provider = name, %kind, namespace, name = parent, "its status stays: {}", text(&error));
            }
        }
        Ok(())
    }

    /// Releases the children of these parents, of every kind that it ever wrote.
    async fn release_children(&self, parents: &BTreeMap<String, Observed>) -> anyhow::Result<()> {
        if parents.is_empty() {
            return Ok(());
        }
        let name = self.provider.metadata.name.as_str();
        let labelled = ListParams::default().labels(&format!("{PROVIDER_LABEL}={name}"));
        for kind in &self.provider.status.kinds {
            let served =
                in_time(discovery::preferred(&self.client, kind)).await.with_context(|| format!("kind {kind}"))?;
            let Some((version, resource)) = served else { continue };
            let listed = self.everywhere(&resource, labelled.clone()).await;
            let mut children: BTreeMap<String, Vec<Arc<Observed>>> = BTreeMap::new();
            for meta in listed.with_context(|| format!("{kind} cannot be listed"))? {
                let object =
                    json!({"apiVersion": version.api_version(), "kind": version.kind, "metadata": meta.metadata});
                let child = Observed::project(object, &field_manager(name)).with_context(|| kind.to_string())?;
                children.entry(child.owner_uid.clone().unwrap_or_default()).or_default().push(Arc::new(child));
            }
            for (uid, parent) in parents {
                let children = children.remove(uid).unwrap_or_default();
                for release in plan::release_all(name, parent, &children, FinalizerStep::Keep).releases {
                    let MergePatch { key, body, .. } = MergePatch::release(&release);
                    patch(&self.account, &resource.api, key.namespace.as_deref(), &key.name, &body)
                        .await
                        .with_context(|| format!("{key} could not be released"))?;
                }
            }
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
        take_finalizers_off(&self.client, &resource, &live, |name| name == PROVIDER_FINALIZER).await.with_context(title)
    }
}

/// Takes back what a provider said in the status of a parent.
///
/// # Errors
/// If the API server refuses it.
pub(crate) async fn clear_status(
    client: &Client,
    provider: &str,
    kind: &Kind,
    resource: &ApiResource,
    meta: &PartialObjectMeta<DynamicObject>,
) -> anyhow::Result<()> {
    if !has_status_of(meta, provider) {
        return Ok(());
    }
    let manager = field_manager(provider);
    let (name, namespace) = (meta.name_any(), meta.namespace());
    let api = objects(client, namespace.as_deref(), resource);
    // A list, since the account of a provider may list its parents, and needs no other right to read them.
    let listed = in_time(api.list(&ListParams::default().fields(&format!("metadata.name={name}")))).await?;
    let Some(mut live) = listed.items.into_iter().find(|live| live.uid() == meta.uid()) else { return Ok(()) };
    stamp(&mut live, kind);
    let live = Observed::project(serde_json::to_value(live)?, &manager)?;
    let patch = MergePatch::withdraw_status(&live);
    let params = PatchParams { field_manager: Some(manager), ..PatchParams::default() };
    let merge = Patch::Merge(&patch.body);
    unless_gone(match patch.is_of_status {
        true => in_time(api.patch_status(&name, &params, &merge)).await,
        false => in_time(api.patch(&name, &params, &merge)).await,
    })
}

/// Takes these finalizers off an object that is still in this state; success if it is gone.
///
/// # Errors
/// If the API server refuses it.
pub(crate) async fn take_finalizers_off(
    client: &Client,
    resource: &ApiResource,
    meta: &PartialObjectMeta<DynamicObject>,
    is_ours: impl Fn(&str) -> bool,
) -> anyhow::Result<()> {
    let others: Vec<&String> = meta.finalizers().iter().filter(|name| !is_ours(name)).collect();
    let metadata = json!({"uid": meta.uid(), "resourceVersion": meta.resource_version(), "finalizers": others});
    patch(client, resource, meta.namespace().as_deref(), &meta.name_any(), &json!({"metadata": metadata})).await
}

/// Patches an object; success if it is gone.
///
/// # Errors
/// If the API server refuses it.
pub(crate) async fn patch(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    name: &str,
    patch: &serde_json::Value,
) -> anyhow::Result<()> {
    let api = objects(client, namespace, resource);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    unless_gone(in_time(api.patch(name, &params, &Patch::Merge(patch))).await)
}

/// Success, too, if there is nothing of that name.
///
/// # Errors
/// The others.
pub(crate) fn unless_gone<T>(result: anyhow::Result<T>) -> anyhow::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            _ => Err(error),
        },
    }
}
