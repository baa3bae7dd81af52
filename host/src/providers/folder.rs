//! Providers that the folder declares become objects.

use anyhow::Context as _;
use bartizan_contract::names::{PROVIDER_API_VERSION, PROVIDER_KIND};
use bartizan_contract::provider::Provider;
use bartizan_engine::provider::declaration::{Declaration, DeclaredModule, FolderNote, NoteKind, Verdict};
use bartizan_engine::provider::event::Event;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tracing::{error, info, warn};

use super::object::{MANAGER, api, parse};
use crate::catalog::Origin;
use crate::catalog::documents::Declared;
use crate::catalog::snapshot::CatalogSnapshot;
use crate::kubernetes::deadline::in_time;
use crate::kubernetes::error::text;
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
        DeclaredModule { file: file.clone(), provider, by_manifest_of, note: None }
    };
    let nothing = |file: &String, note: FolderNote| DeclaredModule {
        file: file.clone(),
        provider: None,
        by_manifest_of: None,
        note: Some(note),
    };
    let wrong = catalog.wrong.iter().map(|(file, reason)| {
        let message = format!("{reason}; until that is corrected, it stays as it is");
        nothing(file, FolderNote { provider: None, kind: NoteKind::Wrong, message })
    });
    let copies = catalog.copies.iter().map(|(file, (name, document))| {
        let message = format!(
            "{file} in the host's folder is the module of this Provider, too, and is not used: {document} decides"
        );
        nothing(file, FolderNote { provider: Some(name.clone()), kind: NoteKind::Copy, message })
    });
    catalog.declared.iter().map(module).chain(wrong).chain(copies).collect()
}

/// Writes a Provider that the folder declares, unless it is there already.
pub(super) async fn declare(client: &Client, declaration: Declaration) -> Event {
    let (result, note) = match try_declare(client, &declaration).await {
        Ok((written, note)) => (Ok(written.map(Box::new)), note),
        Err(error) => (Err(text(&error)), None),
    };
    if let Err(error) = &result {
        error!("{error}");
    }
    if let Some(note) = &note {
        warn!(provider = declaration.provider.metadata.name, "{}", note.message);
    }
    Event::Declared { file: declaration.file, result, note }
}

/// The Provider as it was written, or why it was not.
async fn try_declare(
    client: &Client,
    declaration: &Declaration,
) -> anyhow::Result<(Option<Provider>, Option<FolderNote>)> {
    let wanted = &declaration.provider;
    let name = wanted.metadata.name.as_str();
    let title = format!("Provider {name}");
    let existing = in_time(api(client).get_opt(name)).await.with_context(|| format!("{title} could not be read"))?;
    let fence = fence_of(existing.as_ref().map(|existing| &existing.metadata));
    let existing = existing.map(parse).transpose()?;
    let verdict = declaration.verdict(existing.as_ref());
    if verdict == Verdict::InClusterWins {
        info!(provider = name, "the Provider in the cluster was not made from the folder and wins over the file");
    }
    if verdict != Verdict::Write {
        return Ok((None, declaration.note(&verdict, existing.as_ref())));
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
    // Not forced: what somebody else applied stays.
    let written = in_time(api(client).patch(name, &PatchParams::apply(MANAGER), &Patch::Apply(&document))).await;
    match written {
        Ok(written) => {
            let written = parse(written)?;
            // An apply leaves the fields that others set and this document does not.
            let note = declaration.note_of_rest(&written);
            Ok((Some(written), note))
        }
        Err(error) => match owned_by_others(&error) {
            Some(conflict) => Ok((None, Some(declaration.owned_by_others(&conflict)))),
            None => Err(error.context(format!("{title} could not be written"))),
        },
    }
}

/// The fields that other field managers own, if that is why an apply was refused.
fn owned_by_others(error: &anyhow::Error) -> Option<String> {
    let Some(kube::Error::Api(status)) = error.downcast_ref::<kube::Error>() else { return None };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<String> = causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| format!("{} ({})", cause.field, cause.message))
        .collect();
    (status.code == 409 && !fields.is_empty()).then(|| fields.join(", "))
}
