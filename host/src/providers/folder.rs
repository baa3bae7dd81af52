//! Providers that the folder declares become objects.

use anyhow::Context as _;
use bartizan_contract::names::{PROVIDER_API_VERSION, PROVIDER_KIND};
use bartizan_contract::provider::Provider;
use bartizan_engine::provider::declaration::{Declaration, DeclaredModule, Verdict};
use bartizan_engine::provider::event::Event;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tracing::{error, info};

use super::object::{MANAGER, api, parse};
use crate::catalog::Origin;
use crate::catalog::documents::Declared;
use crate::catalog::snapshot::CatalogSnapshot;
use crate::kubernetes::deadline::in_time;
use crate::kubernetes::object::{fence_of, put_fence};

/// What the folder declares of each of its modules.
pub(super) fn modules(catalog: &CatalogSnapshot) -> Vec<DeclaredModule> {
    let module = |(file, declared): (&String, &Declared)| {
        let (provider, by_manifest_of) = match (declared, catalog.library.get(&Origin::File(file.clone()))) {
            (Declared::Document(provider), _) => (Some((**provider).clone()), None),
            (Declared::Manifest, Some(Ok(loaded))) => {
                let provider = declared.clone().provider(&loaded.info.manifest, file);
                (Some(provider), Some(loaded.info.digest.clone()))
            }
            // Nothing is known of it, and that it is bad was logged.
            (Declared::Manifest, _) => (None, None),
        };
        DeclaredModule { file: file.clone(), provider, by_manifest_of }
    };
    catalog.declared.iter().map(module).collect()
}

/// Writes a Provider that the folder declares, unless it is there already.
pub(super) async fn declare(client: &Client, declaration: Declaration) -> Event {
    let result = try_declare(client, &declaration).await;
    let result = result.map(|written| written.map(Box::new)).map_err(|error| format!("{error:#}"));
    if let Err(error) = &result {
        error!("{error}");
    }
    Event::Declared { file: declaration.file, result }
}

async fn try_declare(client: &Client, declaration: &Declaration) -> anyhow::Result<Option<Provider>> {
    let wanted = &declaration.provider;
    let name = wanted.metadata.name.as_str();
    let title = format!("Provider {name}");
    let existing = in_time(api(client).get_opt(name)).await.with_context(|| format!("{title} could not be read"))?;
    let fence = fence_of(existing.as_ref().map(|existing| &existing.metadata));
    match declaration.verdict(existing.map(parse).transpose()?.as_ref()) {
        Verdict::Write => {}
        Verdict::UpToDate => return Ok(None),
        Verdict::InClusterWins => {
            info!(provider = name, "the Provider in the cluster was not made from the folder and wins over the file");
            return Ok(None);
        }
        Verdict::DeclaredTwice { by, and_by } => {
            error!(provider = name, "declared by {by} and by {and_by} in the same folder; rename one");
            return Ok(None);
        }
    }
    let mut document = json!({
        "apiVersion": PROVIDER_API_VERSION,
        "kind": PROVIDER_KIND,
        "metadata": {
            "name": name, "labels": wanted.metadata.labels, "annotations": wanted.metadata.annotations,
        },
        "spec": wanted.spec,
    });
    put_fence(&mut document, &fence);
    let params = PatchParams::apply(MANAGER).force();
    let written = in_time(api(client).patch(name, &params, &Patch::Apply(&document))).await;
    let written = written.with_context(|| format!("{title} could not be written"))?;
    parse(written).map(Some)
}
