//! CustomResourceDefinitions: installs them if the command line says so, and waits until the API server serves them.

use std::fmt::Debug;
use std::sync::Arc;

use anyhow::Context as _;
use bartizan_contract::Kind;
use bartizan_contract::names::HOST_FIELD_MANAGER;
use bartizan_engine::crd_compat::{Incompatibility, incompatibilities, lacking};
use bartizan_engine::provider::module::Parent;
use bartizan_engine::status_shape::StatusShape;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::warn;

use crate::kubernetes::backoff::{self, PROVIDER_START};
use crate::kubernetes::deadline::in_time;
use crate::kubernetes::discovery::{Changes, QUIET};
use crate::kubernetes::error::text;
use crate::kubernetes::object::{fence_of, put_fence};
use crate::kubernetes::served::{Resource, ServedParent, api_resource};

/// Most fields that are named.
const FEW: usize = 5;

/// Name of a CRD.
pub(crate) fn name(crd: &Value) -> &str {
    crd.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// Applies one CRD, forced: the module that serves the kind owns its definition. Only in the state that it is in when this begins: a
/// request that comes late does not bring back an earlier definition.
///
/// # Errors
/// If the API server refuses it, most often for lack of rights.
pub(crate) async fn install(client: &Client, crd: &Value) -> anyhow::Result<()> {
    let name = name(crd);
    let title = || format!("CustomResourceDefinition {name} could not be installed");
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let existing = in_time(api.get_metadata_opt(name)).await.with_context(title)?;
    let mut crd = crd.clone();
    put_fence(&mut crd, &fence_of(existing.as_ref().map(|existing| &existing.metadata)));
    in_time(api.patch(name, &PatchParams::apply(HOST_FIELD_MANAGER).force(), &Patch::Apply(&crd)))
        .await
        .with_context(title)?;
    Ok(())
}

/// What room a version of a custom kind has for a status; `None` if there is no CRD of it.
///
/// # Errors
/// If it cannot be read.
pub(crate) async fn status_shape(
    client: &Client,
    kind: &Kind,
    plural: &str,
) -> anyhow::Result<Option<Arc<StatusShape>>> {
    let found: Option<CustomResourceDefinition> =
        get(&Api::all(client.clone()), &format!("{plural}.{}", kind.group)).await?;
    Ok(found.map(|crd| served(&crd, kind).status))
}

/// Waits until a parent's CRD is Established and serves the parent's version.
///
/// # Errors
/// If the API server cannot be watched.
pub(crate) async fn established(client: &Client, parent: &Parent) -> anyhow::Result<ServedParent> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd = await_condition(api, &parent.crd, serves(parent.kind.version.clone()))
        .await
        .with_context(|| format!("CustomResourceDefinition {} could not be watched", parent.crd))?
        .with_context(|| format!("CustomResourceDefinition {} vanished", parent.crd))?;
    Ok(served(&crd, &parent.kind))
}

/// Returns when the CRD of one of these parents has gone, or serves the parent in another way: its scope, its status. Other columns or
/// validations make no difference.
pub(crate) async fn until_changed(client: Client, parents: Vec<(Parent, ServedParent)>, mut changes: Changes) {
    while changes.changed().await.is_ok() {
        // One is written several times until it is Established.
        tokio::time::sleep(QUIET).await;
        changes.mark_unchanged();
        for (parent, before) in &parents {
            match parent_crd_now(&client, parent).await {
                Some(crd) if serves_version(&crd, &parent.kind.version) => {
                    let now = served(&crd, &parent.kind);
                    if now.status != before.status || now.resource.namespaced != before.resource.namespaced {
                        return;
                    }
                }
                _ => return,
            }
        }
    }
    // The host stops.
    std::future::pending::<()>().await;
}

/// Returns when the CRD of this parent has gone, even if another one has come, or serves the parent's version no longer.
pub(crate) async fn until_gone(client: Client, parent: Parent, mut changes: Changes) {
    let mut first = None;
    while changes.changed().await.is_ok() {
        tokio::time::sleep(QUIET).await;
        changes.mark_unchanged();
        match parent_crd_now(&client, &parent).await {
            Some(crd) if serves_version(&crd, &parent.kind.version) => {
                if *first.get_or_insert(crd.metadata.uid.clone()) != crd.metadata.uid {
                    return;
                }
            }
            _ => return,
        }
    }
    // The host stops.
    std::future::pending::<()>().await;
}

/// A parent's CRD, once it can be read.
async fn parent_crd_now(client: &Client, parent: &Parent) -> Option<CustomResourceDefinition> {
    loop {
        match parent_crd(client, parent).await {
            Ok(found) => return found,
            Err(error) => {
                warn!(crd = parent.crd, "a change may be missed until it can be read: {}", text(&error));
                tokio::time::sleep(backoff::after(PROVIDER_START, &error)).await;
            }
        }
    }
}

/// Whether a parent's CRD exists.
///
/// # Errors
/// If the request fails.
pub(crate) async fn exists(client: &Client, parent: &Parent) -> anyhow::Result<bool> {
    Ok(parent_crd(client, parent).await?.is_some())
}

/// Whether a parent's CRD exists and does not serve the parent's version.
///
/// # Errors
/// If the request fails.
pub(crate) async fn serves_others_only(client: &Client, parent: &Parent) -> anyhow::Result<bool> {
    Ok(parent_crd(client, parent).await?.is_some_and(|crd| !serves_version(&crd, &parent.kind.version)))
}

async fn parent_crd(client: &Client, parent: &Parent) -> anyhow::Result<Option<CustomResourceDefinition>> {
    get(&Api::all(client.clone()), &parent.crd).await
}

/// Where these CRDs are incompatible with those in the cluster.
///
/// # Errors
/// If a request fails.
pub(crate) async fn incompatible_with_cluster(client: &Client, crds: &[Value]) -> anyhow::Result<Vec<Incompatibility>> {
    let mut found = Vec::new();
    // Untyped, since the typed ones lack fields of newer API servers.
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<CustomResourceDefinition>(&()));
    for crd in crds {
        let name = name(crd);
        if let Some(served) = get(&api, name).await? {
            found.extend(incompatibilities(&serde_json::to_value(served)?, crd));
        }
    }
    Ok(found)
}

/// What the CRDs of the cluster lack of a module's own, in words; `None`: nothing.
///
/// # Errors
/// If a request fails.
pub(crate) async fn lacking_in_cluster(client: &Client, crds: &[Value]) -> anyhow::Result<Option<String>> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<CustomResourceDefinition>(&()));
    let mut found = Vec::new();
    for crd in crds {
        let name = name(crd);
        if let Some(served) = get(&api, name).await? {
            let lacks = lacking(&serde_json::to_value(served)?, crd);
            if !lacks.is_empty() {
                found.push(format!("CustomResourceDefinition {name} in the cluster lacks {}", few(&lacks)));
            }
        }
    }
    Ok((!found.is_empty()).then(|| found.join("; ")))
}

/// The first of them, and how many more there are.
fn few(names: &[String]) -> String {
    let (shown, more) = names.split_at(names.len().min(FEW));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("{}{more}", shown.join(", "))
}

async fn get<K>(api: &Api<K>, name: &str) -> anyhow::Result<Option<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let found = in_time(api.get_opt(name)).await;
    found.with_context(|| format!("CustomResourceDefinition {name} could not be read"))
}

fn serves_version(crd: &CustomResourceDefinition, version: &str) -> bool {
    crd.spec.versions.iter().any(|served| served.name == version && served.served)
}

fn serves(version: String) -> impl Condition<CustomResourceDefinition> {
    move |crd: Option<&CustomResourceDefinition>| {
        crd.is_some_and(|crd| {
            let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
            let established = conditions.into_iter().flatten().any(|c| c.type_ == "Established" && c.status == "True");
            established && serves_version(crd, &version)
        })
    }
}

fn served(crd: &CustomResourceDefinition, kind: &Kind) -> ServedParent {
    let version = crd.spec.versions.iter().find(|version| version.name == kind.version);
    let version = version.and_then(|version| serde_json::to_value(version).ok()).unwrap_or_default();
    ServedParent {
        resource: Resource {
            api: api_resource(kind, &crd.spec.names.plural),
            namespaced: crd.spec.scope == "Namespaced",
        },
        status: Arc::new(StatusShape::of(&version)),
    }
}
