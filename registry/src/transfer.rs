//! Artefacts from a registry into a file and from a file into another one: everything that a manifest names, with the signatures beside it,
//! byte for byte, so that every digest stays what it was.

use bartizan_contract::digest::digest_of;
use bytes::Bytes;
use http::HeaderValue;
use oci_client::{Reference, RegistryOperation};
use serde::Deserialize;

use crate::archive::{ArchiveReader, ArchiveWriter, Entry};
use crate::client::Registry;
use crate::error::{ManifestError, RegistryError, TransferError};
use crate::manifest::Layer;

/// Most manifests of an index: the platforms of an image, and what describes them.
const MOST_MANIFESTS: usize = 64;
/// Largest blob. What is copied is in memory, one at a time.
const BLOB_BYTES: usize = 1 << 30;

/// What a manifest names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    /// Of an index.
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
}

impl Descriptor {
    fn layer(&self) -> Result<Layer, RegistryError> {
        match usize::try_from(self.size) {
            Ok(size) if size <= BLOB_BYTES => Ok(Layer { digest: self.digest.clone(), size }),
            _ => {
                Err(RegistryError::Invalid(format!("{} has {} bytes, more than {BLOB_BYTES}", self.digest, self.size)))
            }
        }
    }
}

fn named(manifest: &[u8]) -> Result<Named, RegistryError> {
    let named: Named = serde_json::from_slice(manifest)
        .map_err(|error| RegistryError::from(ManifestError::Unreadable { cause: error.to_string() }))?;
    if named.manifests.len() > MOST_MANIFESTS {
        return Err(RegistryError::Invalid(format!("it is an index of more than {MOST_MANIFESTS} manifests")));
    }
    Ok(named)
}

/// Copies what a reference resolves to, and its signatures, into an archive. Returns the digest of its manifest.
///
/// # Errors
/// If the registry is unavailable, or the file cannot be written.
pub async fn save(registry: &Registry, archive: &mut ArchiveWriter) -> Result<String, TransferError> {
    let name = registry.reference().clone();
    let (manifest, media_type) = registry.manifest(&name).await?;
    let digest = digest_of(&manifest);
    save_all(registry, archive, manifest, media_type, Some(name.to_string())).await?;
    if let Some((place, manifest, media_type)) = registry.signatures_of(&digest).await? {
        save_all(registry, archive, manifest, media_type, Some(place.to_string())).await?;
    }
    Ok(digest)
}

async fn save_all(
    registry: &Registry,
    archive: &mut ArchiveWriter,
    manifest: Bytes,
    media_type: String,
    name: Option<String>,
) -> Result<(), TransferError> {
    let Named { config, layers, manifests } = named(&manifest)?;
    for descriptor in &manifests {
        let place = registry.reference().clone_with_digest(descriptor.digest.clone());
        let (manifest, media_type) = registry.manifest(&place).await?;
        if digest_of(&manifest) != descriptor.digest {
            return Err(RegistryError::Invalid(format!("{place} is another manifest than its digest says")).into());
        }
        Box::pin(save_all(registry, archive, manifest, media_type, None)).await?;
    }
    for descriptor in config.iter().chain(&layers) {
        if !archive.has(&descriptor.digest) {
            let bytes = registry.download(&descriptor.layer()?).await?;
            archive.add_blob(&descriptor.digest, &bytes)?;
        }
    }
    archive.add_manifest(&manifest, &media_type, name)?;
    Ok(())
}

/// Copies an entry of an archive, and what it names, to a registry.
///
/// # Errors
/// If the archive lacks some of it, or the registry does not take it.
pub async fn load(registry: &Registry, archive: &ArchiveReader, entry: &Entry) -> Result<(), TransferError> {
    registry.log_in(RegistryOperation::Push).await?;
    load_all(registry, archive, entry, registry.reference()).await
}

async fn load_all(
    registry: &Registry,
    archive: &ArchiveReader,
    entry: &Entry,
    place: &Reference,
) -> Result<(), TransferError> {
    let manifest = archive.blob(&entry.digest)?;
    let Named { config, layers, manifests } = named(&manifest)?;
    for descriptor in &manifests {
        let place = place.clone_with_digest(descriptor.digest.clone());
        let entry = archive.entry(&descriptor.digest)?;
        Box::pin(load_all(registry, archive, &entry, &place)).await?;
    }
    for descriptor in config.iter().chain(&layers) {
        registry.put_blob(&descriptor.digest, || archive.blob(&descriptor.digest)).await?;
    }
    let media_type = HeaderValue::from_str(&entry.media_type)
        .map_err(|_| RegistryError::Invalid(format!("{}: its media type is none", entry.digest)))?;
    registry.put_manifest(place, manifest, media_type).await?;
    Ok(())
}
