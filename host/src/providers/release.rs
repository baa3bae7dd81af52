//! The end of a Provider's work: its parents are counted, or let go, by live reads, so that a host that starts in the middle goes on
//! where the one before ended. The finalizer on the Provider comes off last.

use std::sync::Arc;

use anyhow::Context as _;
use bartizan_contract::GroupKind;
use bartizan_contract::names::{PROVIDER_API_VERSION, PROVIDER_FINALIZER, PROVIDER_KIND, PROVIDER_PLURAL, finalizer};
use bartizan_contract::provider::{OnRemoval, Provider};
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tracing::info;

use crate::controller::startup::Predecessor;
use crate::declared::claims::{Claim, arbitrate};
use crate::kubernetes::deadline::in_time;
use crate::kubernetes::discovery;

/// Parents that are read in one request.
const PAGE: u32 = 500;
/// Field manager of what the host writes for itself.
const MANAGER: &str = bartizan_contract::names::HOST_FIELD_MANAGER;

/// What came of a try to end.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The finalizer is off.
    Gone,
    /// So many parents exist.
    Parents(usize),
    /// It could not be done, and why.
    Failed(String),
}

/// A Provider that was deleted.
pub(crate) struct End {
    /// The API server, as the host.
    pub(crate) client: Client,
    /// The API server, as the Provider's account: its parents are read and let go with its rights.
    pub(crate) account: Client,
    /// The host serves only these; none: all.
    pub(crate) namespaces: Vec<String>,
    /// The Provider.
    pub(crate) provider: Provider,
    /// The kinds of its parents; `None`: nobody knows.
    pub(crate) owned: Option<Vec<GroupKind>>,
    /// What each Provider claims.
    pub(crate) claims: Arc<[Claim]>,
    /// Who serves it, or did last.
    pub(crate) runner: Option<Predecessor>,
}

/// A parent, and where it is.
struct Found {
    kind: GroupKind,
    resource: ApiResource,
    meta: PartialObjectMeta<DynamicObject>,
}

impl End {
    /// Tries to end it.
    pub(crate) async fn run(self) -> Ended {
        self.end().await.unwrap_or_else(|error| Ended::Failed(format!("{error:#}")))
    }

    async fn end(mut self) -> anyhow::Result<Ended> {
        let blocks = self.provider.spec.on_removal == OnRemoval::Block;
        if blocks {
            let parents = self.parents().await?.len();
            if parents > 0 {
                return Ok(Ended::Parents(parents));
            }
        }
        if let Some(runner) = self.runner.take() {
            runner.end().await;
        }
        // Whoever served may have been given a parent meanwhile, and none after it ended.
        if blocks {
            let parents = self.parents().await?.len();
            if parents > 0 {
                return Ok(Ended::Parents(parents));
            }
        } else {
            self.release().await?;
        }
        self.let_go().await?;
        Ok(Ended::Gone)
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
        for kind in owned {
            let served =
                in_time(discovery::preferred(&self.client, kind)).await.with_context(|| format!("kind {kind}"))?;
            // What the cluster does not serve has no objects.
            let Some((_, resource)) = served else { continue };
            for namespace in self.scopes(resource.namespaced) {
                let api: Api<DynamicObject> = match namespace {
                    Some(namespace) => Api::namespaced_with(self.account.clone(), namespace, &resource.api),
                    None => Api::all_with(self.account.clone(), &resource.api),
                };
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

    /// The namespaces that it was served in, and that its account may be limited to; `None`: all at once.
    fn scopes(&self, namespaced: bool) -> Vec<Option<&str>> {
        let own = &self.provider.spec.namespaces;
        let namespaces = if self.namespaces.is_empty() { own } else { &self.namespaces };
        if namespaced && !namespaces.is_empty() {
            namespaces.iter().map(|name| Some(name.as_str())).collect()
        } else {
            vec![None]
        }
    }

    /// Those that it serves.
    async fn parents(&self) -> anyhow::Result<Vec<Found>> {
        let mut found = self.found().await?;
        found.retain(|Found { kind, meta, .. }| {
            let namespace = meta.namespace();
            let in_scope =
                self.namespaces.is_empty() || namespace.as_ref().is_some_and(|n| self.namespaces.contains(n));
            let serves = arbitrate(&self.claims, kind, namespace.as_deref(), meta.labels()).serves;
            in_scope && serves == Some(self.provider.metadata.name.as_str())
        });
        Ok(found)
    }

    /// Takes its finalizer off everything that has it.
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
                .with_context(|| format!("{kind} {name} could not be let go"))?;
            info!(provider = self.provider.metadata.name, %kind, namespace, name, "let go");
        }
        Ok(())
    }

    /// Takes the finalizer off the Provider.
    async fn let_go(&self) -> anyhow::Result<()> {
        let name = self.provider.metadata.name.as_str();
        let (group, version) = PROVIDER_API_VERSION.split_once('/').unwrap_or_default();
        let gvk = GroupVersionKind::gvk(group, version, PROVIDER_KIND);
        let resource = ApiResource::from_gvk_with_plural(&gvk, PROVIDER_PLURAL);
        let title = || format!("Provider {name} could not be let go");
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let live = in_time(api.get_metadata_opt(name)).await.with_context(title)?;
        let Some(live) = live.filter(|live| live.uid() == self.provider.metadata.uid) else { return Ok(()) };
        let others: Vec<&String> = live.finalizers().iter().filter(|name| *name != PROVIDER_FINALIZER).collect();
        let metadata = json!({"uid": live.uid(), "resourceVersion": live.resource_version(), "finalizers": others});
        patch(&self.client, &resource, None, name, &json!({"metadata": metadata})).await.with_context(title)
    }
}

/// A patch of an object; that it is gone is as good.
async fn patch(
    client: &Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    name: &str,
    patch: &serde_json::Value,
) -> anyhow::Result<()> {
    let client = client.clone();
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    };
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    match in_time(api.patch(name, &params, &Patch::Merge(patch))).await {
        Ok(_) => Ok(()),
        Err(error) => match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            _ => Err(error),
        },
    }
}
