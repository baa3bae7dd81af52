//! Writes to Providers: the finalizer, the status, and the approval, which is removed once it was used.

use anyhow::Context as _;
use bartizan_contract::names::{APPROVE_ANNOTATION, PROVIDER_API_VERSION, PROVIDER_FINALIZER, PROVIDER_KIND};
use bartizan_contract::provider::{Provider, ProviderStatus};
use bartizan_engine::provider::event::Target;
use bartizan_engine::provider::removal::has_finalizer;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tracing::{error, info, warn};

use super::object::{MANAGER, api, parse};
use crate::kubernetes::deadline::in_time;

/// Adds the finalizer to a Provider before it serves, and returns its new state.
///
/// # Errors
/// In words, if it could not be put on.
pub(super) async fn add_finalizer(client: &Client, target: &Target) -> Result<Box<Provider>, String> {
    let added = try_add_finalizer(client, target).await.map(Box::new);
    let provider = &target.name;
    added.map_err(|error| format!("{error:#}")).inspect_err(|error| error!(provider, "cannot start yet: {error}"))
}

async fn try_add_finalizer(client: &Client, target: &Target) -> anyhow::Result<Provider> {
    let Target { name, uid } = target;
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

/// Writes a status, and returns it.
///
/// # Errors
/// In words, if it could not be written.
pub(super) async fn write_status(
    client: &Client,
    target: &Target,
    status: Box<ProviderStatus>,
) -> Result<Box<ProviderStatus>, String> {
    let Target { name, uid } = target;
    let document = json!({
        "apiVersion": PROVIDER_API_VERSION,
        "kind": PROVIDER_KIND,
        "metadata": {"name": name, "uid": uid},
        "status": status,
    });
    let params = PatchParams::apply(MANAGER).force();
    match in_time(api(client).patch_status(name, &params, &Patch::Apply(&document))).await {
        Ok(_) => Ok(status),
        Err(error) => {
            let error = format!("{:#}", error.context(format!("the status of Provider {name} could not be written")));
            warn!(provider = name, "{error}");
            Err(error)
        }
    }
}

/// Removes the approval from a Provider whose version took over.
///
/// # Errors
/// In words, if it could not be taken off.
pub(super) async fn remove_approval(client: &Client, target: &Target) -> Result<(), String> {
    let Target { name, uid } = target;
    let patch = json!({"metadata": {"uid": uid, "annotations": {APPROVE_ANNOTATION: Value::Null}}});
    match in_time(api(client).patch_metadata(name, &params(), &Patch::Merge(&patch))).await {
        Ok(_) => {
            info!(provider = name, "the approved version serves");
            Ok(())
        }
        Err(error) => {
            warn!(provider = name, "the approval could not be taken off: {error}");
            Err(error.to_string())
        }
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}
