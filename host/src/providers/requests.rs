//! Writes to Providers: the finalizer, the status, and the approval, which is removed once it was used.

use anyhow::Context as _;
use bartizan_contract::names::{APPROVE_ANNOTATION, PROVIDER_API_VERSION, PROVIDER_FINALIZER, PROVIDER_KIND};
use bartizan_contract::provider::{Provider, ProviderStatus};
use bartizan_engine::provider::event::Target;
use bartizan_engine::provider::removal::has_finalizer;
use bartizan_engine::provider::status::left_over;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tracing::{debug, error, info, warn};

use super::object::{MANAGER, api, parse};
use crate::kubernetes::deadline::in_time;
use crate::kubernetes::error::text;

/// Adds the finalizer to a Provider before it serves, and returns its new state.
///
/// # Errors
/// In words, if it could not be put on.
pub(super) async fn add_finalizer(client: &Client, target: &Target) -> Result<Box<Provider>, String> {
    let added = try_add_finalizer(client, target).await.map(Box::new);
    let provider = &target.name;
    added.map_err(|error| text(&error)).inspect_err(|error| error!(provider, "cannot start yet: {error}"))
}

async fn try_add_finalizer(client: &Client, target: &Target) -> anyhow::Result<Provider> {
    let Target { name, uid, .. } = target;
    let title = || format!("Provider {name} could not be given its finalizer");
    // The one that is known may be older than the host's own last write to it.
    let live = parse(in_time(api(client).get(name)).await.with_context(title)?)?;
    if live.metadata.uid == *uid && has_finalizer(&live) {
        return Ok(live);
    }
    let mut finalizers = live.metadata.finalizers.clone();
    finalizers.push(PROVIDER_FINALIZER.to_owned());
    let metadata = json!({"uid": uid, "resourceVersion": live.metadata.resource_version, "finalizers": finalizers});
    let patch = json!({"metadata": metadata});
    let written = in_time(api(client).patch(name, &params(), &Patch::Merge(&patch))).await.with_context(title)?;
    parse(written)
}

/// Writes a status, and returns the Provider as it is since.
///
/// # Errors
/// In words, if it could not be written.
pub(super) async fn write_status(
    client: &Client,
    target: &Target,
    status: Box<ProviderStatus>,
) -> Result<Box<Provider>, String> {
    let Target { name, uid, resource_version } = target;
    let document = json!({
        "apiVersion": PROVIDER_API_VERSION,
        "kind": PROVIDER_KIND,
        "metadata": {"name": name, "uid": uid, "resourceVersion": resource_version},
        "status": status,
    });
    let written = try_write_status(client, name, &document, &status).await;
    written.map(Box::new).map_err(|error| {
        let has_no_place = matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == 404);
        let hint =
            if has_no_place { " (is it gone, or does its CustomResourceDefinition have no status?)" } else { "" };
        let error = error.context(format!("the status of Provider {name} could not be written{hint}"));
        failed(name, &error)
    })
}

async fn try_write_status(
    client: &Client,
    name: &str,
    document: &Value,
    status: &ProviderStatus,
) -> anyhow::Result<Provider> {
    let apply = PatchParams::apply(MANAGER).force();
    let written = parse(in_time(api(client).patch_status(name, &apply, &Patch::Apply(document))).await?)?;
    let Some(mut patch) = left_over(status, &written.status) else { return Ok(written) };
    let (uid, resource_version) = (&written.metadata.uid, &written.metadata.resource_version);
    patch["metadata"] = json!({"uid": uid, "resourceVersion": resource_version});
    parse(in_time(api(client).patch_status(name, &params(), &Patch::Merge(&patch))).await?)
}

/// Removes the approval from a Provider whose version took over.
///
/// # Errors
/// In words, if it could not be taken off.
pub(super) async fn remove_approval(client: &Client, target: &Target) -> Result<Option<String>, String> {
    let Target { name, uid, resource_version } = target;
    let annotations = json!({APPROVE_ANNOTATION: Value::Null});
    let patch = json!({"metadata": {"uid": uid, "resourceVersion": resource_version, "annotations": annotations}});
    match in_time(api(client).patch_metadata(name, &params(), &Patch::Merge(&patch))).await {
        Ok(written) => {
            info!(provider = name, "the approved version serves");
            Ok(written.metadata.resource_version)
        }
        Err(error) => Err(failed(name, &error.context("the approval could not be taken off"))),
    }
}

/// What failed, in words. A lost race is no failure: it is decided anew on what the Provider is now.
fn failed(provider: &str, error: &anyhow::Error) -> String {
    let message = text(error);
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) if status.is_conflict() => debug!(provider, "{message}"),
        _ => warn!(provider, "{message}"),
    }
    message
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}
