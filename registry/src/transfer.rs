//! Artefacts from a registry into a file and from a file into another one: everything that a manifest names, with the signatures beside it,
//! byte for byte, so that every digest stays what it was.

use std::collections::BTreeSet;

use bartizan_contract::digest::digest_of;
use bytes::Bytes;
use http::HeaderValue;
use oci_client::{Reference, RegistryOperation};
use serde::Deserialize;

use crate::archive::{ArchiveReader, ArchiveWriter, BLOB_BYTES, Entry};
use crate::client::Registry;
use crate::error::{ManifestError, RegistryError, TransferError};
use crate::manifest::{Layer, MANIFEST};
use crate::signature::{self, Merged};

/// Most manifests of an index: the platforms of an image, and what describes them.
const MOST_MANIFESTS: usize = 64;
/// An index may name images, and be named itself once.
const MOST_LEVELS: usize = 2;

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
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: Option<String>,
    digest: String,
    size: u64,
}

impl Descriptor {
    fn layer(&self) -> Result<Layer, RegistryError> {
        match usize::try_from(self.size) {
            Ok(size) if self.size <= BLOB_BYTES => Ok(Layer { digest: self.digest.clone(), size }),
            _ => {
                Err(RegistryError::Invalid(format!("{} has {} bytes, more than {BLOB_BYTES}", self.digest, self.size)))
            }
        }
    }

    fn entry(&self) -> Entry {
        Entry::part(self.media_type.as_deref().unwrap_or(MANIFEST), &self.digest, self.size)
    }
}

/// What a manifest at this level below the one that was asked for names.
fn named(manifest: &[u8], level: usize) -> Result<Named, RegistryError> {
    let named: Named = serde_json::from_slice(manifest)
        .map_err(|error| RegistryError::from(ManifestError::Unreadable { cause: error.to_string() }))?;
    if named.manifests.len() > MOST_MANIFESTS || (level >= MOST_LEVELS && !named.manifests.is_empty()) {
        let message = format!("it is an index of more than {MOST_MANIFESTS} manifests, or of indexes of indexes");
        return Err(RegistryError::Invalid(message));
    }
    Ok(named)
}

/// What was saved of one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Digest of its manifest.
    pub digest: String,
    /// Number of its signatures.
    pub signatures: usize,
}

/// Copies what a reference resolves to, and its signatures, into an archive.
///
/// # Errors
/// If the registry is unavailable, or the file cannot be written.
pub async fn save(registry: &Registry, archive: &mut ArchiveWriter) -> Result<Saved, TransferError> {
    let from = registry.reference().clone();
    let (manifest, media_type) = registry.manifest(&from).await?;
    let digest = digest_of(&manifest);
    if from.digest().is_some_and(|wanted| wanted != digest) {
        return Err(RegistryError::OtherDigest(digest).into());
    }
    // Before what they are about: who loads them in this order never has a tag that stands for what is not signed yet.
    let signatures = match registry.signatures_of(&digest).await? {
        Some((place, manifest, media_type)) => {
            let signatures = signature::signed(&manifest).len();
            save_all(registry, archive, (manifest, media_type), Some(place.to_string()), 0).await?;
            signatures
        }
        None => 0,
    };
    // Its tag stays, also where the digest says what it must stand for.
    let name = match from.tag() {
        Some(tag) => Reference::with_tag(from.registry().to_owned(), from.repository().to_owned(), tag.to_owned()),
        None => from,
    };
    save_all(registry, archive, (manifest, media_type), Some(name.to_string()), 0).await?;
    Ok(Saved { digest, signatures })
}

async fn save_all(
    registry: &Registry,
    archive: &mut ArchiveWriter,
    (manifest, media_type): (Bytes, String),
    name: Option<String>,
    level: usize,
) -> Result<(), TransferError> {
    let Named { config, layers, manifests } = named(&manifest, level)?;
    for descriptor in &manifests {
        if archive.has(&descriptor.digest) {
            continue;
        }
        let place = registry.reference().clone_with_digest(descriptor.digest.clone());
        let found = registry.manifest(&place).await?;
        if digest_of(&found.0) != descriptor.digest {
            return Err(RegistryError::Invalid(format!("{place} is another manifest than its digest says")).into());
        }
        Box::pin(save_all(registry, archive, found, None, level + 1)).await?;
    }
    for descriptor in config.iter().chain(&layers) {
        if !archive.has(&descriptor.digest) {
            // A token may last a minute only.
            registry.log_in(RegistryOperation::Pull).await?;
            let bytes = registry.download(&descriptor.layer()?).await?;
            archive.add_blob(&descriptor.digest, &bytes)?;
        }
    }
    match name {
        Some(name) => archive.add_manifest(&manifest, &media_type, name)?,
        // It is named by its index.
        None => archive.add_blob(&digest_of(&manifest), &manifest)?,
    }
    Ok(())
}

/// Copies an entry of an archive, and what it names, to a registry. Returns the digest of the manifest there: signatures that the registry
/// has beside those of the archive stay.
///
/// # Errors
/// If the archive lacks some of it, or the registry does not take it.
pub async fn load(registry: &Registry, archive: &ArchiveReader, entry: &Entry) -> Result<String, TransferError> {
    let place = registry.reference().clone();
    if place.tag().is_some_and(signature::is_tag)
        && let Some(held) = registry.held(&place).await?
    {
        let ours = archive.blob(&entry.digest)?;
        load_blobs(registry, archive, &named(&ours, 0)?).await?;
        let Merged { config, manifest } = signature::merged(&held, &ours);
        registry.put_blob(&digest_of(&config), || Ok(config.clone())).await?;
        let digest = digest_of(&manifest);
        registry.put_manifest(&place, manifest, HeaderValue::from_static(MANIFEST)).await?;
        return Ok(digest);
    }
    load_all(registry, archive, entry, &place, 0, &mut BTreeSet::new()).await?;
    Ok(entry.digest.clone())
}

async fn load_all(
    registry: &Registry,
    archive: &ArchiveReader,
    entry: &Entry,
    place: &Reference,
    level: usize,
    pushed: &mut BTreeSet<String>,
) -> Result<(), TransferError> {
    let manifest = archive.blob(&entry.digest)?;
    let named = named(&manifest, level)?;
    for descriptor in &named.manifests {
        if pushed.insert(descriptor.digest.clone()) {
            let place = place.clone_with_digest(descriptor.digest.clone());
            Box::pin(load_all(registry, archive, &descriptor.entry(), &place, level + 1, pushed)).await?;
        }
    }
    load_blobs(registry, archive, &named).await?;
    let media_type = HeaderValue::from_str(&entry.media_type)
        .map_err(|_| RegistryError::Invalid(format!("{}: its media type is none", entry.digest)))?;
    registry.put_manifest(place, manifest, media_type).await?;
    Ok(())
}

async fn load_blobs(registry: &Registry, archive: &ArchiveReader, named: &Named) -> Result<(), TransferError> {
    for descriptor in named.config.iter().chain(&named.layers) {
        registry.put_blob(&descriptor.digest, || archive.blob(&descriptor.digest)).await?;
    }
    Ok(())
}
