//! What a manifest may ask for by the contract, and this host does not honour yet: refused by name, never ignored. Each
//! line goes when its feature comes.

use bartizan_contract::ProviderManifest;

use crate::describe::ManifestError;

pub(crate) fn refuse(manifest: &ProviderManifest) -> Result<(), ManifestError> {
    let asked = [("settings", manifest.settings.as_ref().map(|_| "a schema".to_owned()).unwrap_or_default())];
    match asked.into_iter().find(|(_, value)| !value.is_empty()) {
        Some((field, value)) => Err(ManifestError::NotSupported { field, value }),
        None => Ok(()),
    }
}
