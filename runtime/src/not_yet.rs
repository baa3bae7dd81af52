//! What a manifest may ask for by the contract, and this host does not honour yet: refused by name, never ignored. Each
//! line goes when its feature comes.

use bartizan_contract::ProviderManifest;

use crate::describe::ManifestError;

pub(crate) fn refuse(manifest: &ProviderManifest) -> Result<(), ManifestError> {
    let kinds = |kinds: Vec<String>| kinds.join(", ");
    let asked = [
        ("descendants", kinds(manifest.descendants.iter().map(|kind| kind.kind().to_string()).collect())),
        (
            "related",
            kinds(
                manifest
                    .related
                    .iter()
                    .map(|kind| bartizan_contract::Kind::from_api_version(&kind.api_version, &kind.kind).to_string())
                    .collect(),
            ),
        ),
        ("sensitive", manifest.sensitive.join(", ")),
        ("settings", manifest.settings.as_ref().map(|_| "a schema".to_owned()).unwrap_or_default()),
        ("finalizes", if manifest.finalizes { "true".to_owned() } else { String::new() }),
    ];
    match asked.into_iter().find(|(_, value)| !value.is_empty()) {
        Some((field, value)) => Err(ManifestError::NotSupported { field, value }),
        None => Ok(()),
    }
}
