//! Artefacts from a registry into a file and from a file into another one: everything that a manifest names, with the signatures beside it,
//! byte for byte, so that every digest stays what it was.

use std::collections::BTreeSet;
use std::time::Duration;

use bartizan_contract::digest::digest_of;
use bytes::Bytes;
use http::HeaderValue;
use oci_client::{Reference, RegistryOperation};
use serde_json::json;

use crate::archive::{ArchiveReader, ArchiveWriter, BLOB_BYTES};
use crate::client::{LONG, Registry, SHORT};
use crate::error::{RegistryError, TransferError};
use crate::manifest::{Descriptor, INDEX, MANIFEST, Manifest, items};
use crate::referrers;
use crate::signature::{self, Signatures};
use crate::signers::Signers;
use crate::signing::{BUNDLE_BYTES, Bundle, there};

/// Bytes a second of the slowest connection over which a large blob is still uploaded.
const SLOWEST: u64 = 64 << 10;
/// Most manifests of an index: the platforms of an image, and what describes them.
const MOST_MANIFESTS: usize = 64;
/// An index may name images, and be named itself once.
const MOST_LEVELS: usize = 2;

/// Reads a manifest at this level below the one that was asked for.
fn read(manifest: &[u8], level: usize) -> Result<Manifest, RegistryError> {
    let read = Manifest::parse(manifest)?;
    let below = read.manifests.as_ref().map_or(0, Vec::len);
    if below > MOST_MANIFESTS || (level >= MOST_LEVELS && below > 0) {
        let message = format!("it is an index of more than {MOST_MANIFESTS} manifests, or of indexes of indexes");
        return Err(RegistryError::Invalid(message));
    }
    Ok(read)
}

/// The blobs that a manifest names.
fn blobs(manifest: &Manifest) -> impl Iterator<Item = &Descriptor> {
    manifest.config.iter().chain(&manifest.layers)
}

/// Where a manifest is among those that are saved with it, and how large its blobs may be.
#[derive(Clone, Copy)]
struct Level {
    depth: usize,
    limit: usize,
}

impl Level {
    const TOP: Self = Self { depth: 0, limit: BLOB_BYTES };
    /// Anybody who may push may have made it.
    const SIGNATURE: Self = Self { depth: 0, limit: BUNDLE_BYTES };
}

/// What was saved of one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Digest of its manifest.
    pub digest: String,
    /// Number of its signatures.
    pub signatures: usize,
    /// Signatures that are damaged or not there, and why.
    pub left_out: Vec<String>,
}

/// Copies what a reference resolves to, and its signatures, into an archive, if one of these has signed it.
///
/// # Errors
/// If nobody of them has, the registry is unavailable, or the file cannot be written.
pub async fn save(
    registry: &Registry,
    signers: Option<&Signers>,
    archive: &mut ArchiveWriter,
) -> Result<Saved, TransferError> {
    let from = registry.reference().clone();
    let manifest = pull(registry, &from).await?;
    let digest = digest_of(&manifest);
    if from.digest().is_some_and(|wanted| wanted != digest) {
        return Err(RegistryError::OtherDigest(digest).into());
    }
    if let Some(signers) = signers {
        registry.verify(&digest, signers).await?;
    }
    // Before what they are about: who loads them in this order never has a tag that stands for what is not signed yet.
    registry.log_in(RegistryOperation::Pull).await?;
    let (mut signatures, mut left_out) = (0, Vec::new());
    if let Some((place, artifact)) = registry.within(SHORT, registry.signatures(&digest)).await? {
        save_all(registry, archive, &artifact, Some(place.to_string()), Level::SIGNATURE).await?;
        signatures += signature::signed(&artifact).len();
    }
    registry.log_in(RegistryOperation::Pull).await?;
    for place in registry.within(SHORT, registry.bundles(&digest)).await? {
        registry.log_in(RegistryOperation::Pull).await?;
        match there(registry.within(SHORT, registry.bundle(&place)).await)? {
            Ok(Bundle { manifest, layer, bytes }) => {
                archive.add_blob(&layer.digest, &bytes)?;
                save_all(registry, archive, &manifest, Some(place.to_string()), Level::SIGNATURE).await?;
                signatures += 1;
            }
            // Whoever may push may list anything.
            Err(reason) => left_out.push(reason),
        }
    }
    // Its tag stays, also where the digest says what it must stand for.
    let name = from.tag().map_or_else(|| from.clone(), |tag| registry.tagged(tag.to_owned()));
    save_all(registry, archive, &manifest, Some(name.to_string()), Level::TOP).await?;
    Ok(Saved { digest, signatures, left_out })
}

/// A manifest, with a token of its own: one may last a minute only.
async fn pull(registry: &Registry, place: &Reference) -> Result<Bytes, RegistryError> {
    registry.log_in(RegistryOperation::Pull).await?;
    registry.within(SHORT, registry.pull(place)).await
}

async fn save_all(
    registry: &Registry,
    archive: &mut ArchiveWriter,
    bytes: &[u8],
    name: Option<String>,
    level: Level,
) -> Result<(), TransferError> {
    let manifest = read(bytes, level.depth)?;
    for descriptor in manifest.manifests.iter().flatten() {
        if archive.has(&descriptor.digest) {
            continue;
        }
        let place = registry.reference().clone_with_digest(descriptor.digest.clone());
        let found = pull(registry, &place).await?;
        if digest_of(&found) != descriptor.digest {
            return Err(RegistryError::Invalid(format!("{place} is another manifest than its digest says")).into());
        }
        Box::pin(save_all(registry, archive, &found, None, Level { depth: level.depth + 1, ..level })).await?;
    }
    for descriptor in blobs(&manifest) {
        if !archive.has(&descriptor.digest) {
            let (digest, size) = (&descriptor.digest, descriptor.size);
            let limit = level.limit;
            let layer = descriptor.layer(limit);
            let layer =
                layer.ok_or_else(|| RegistryError::Invalid(format!("{digest} has {size} bytes, more than {limit}")))?;
            registry.log_in(RegistryOperation::Pull).await?;
            archive.add_blob(digest, &registry.download(&layer).await?)?;
        }
    }
    match name {
        Some(name) => archive.add_manifest(bytes, manifest.media_type(), name)?,
        // It is named by its index.
        None => archive.add_blob(&digest_of(bytes), bytes)?,
    }
    Ok(())
}

/// Copies an entry of an archive, and what it names, to a registry. Returns the digest of the manifest there: signatures that the registry
/// has beside those of the archive stay.
///
/// # Errors
/// If the archive lacks some of it, or the registry does not take it.
pub async fn load(registry: &Registry, archive: &ArchiveReader, entry: &Descriptor) -> Result<String, TransferError> {
    let place = registry.reference();
    if place.tag().is_some_and(signature::is_tag) {
        registry.log_in(RegistryOperation::Pull).await?;
        if let Some(held) = registry.within(SHORT, registry.find(place)).await? {
            let ours = archive.blob(&entry.digest)?;
            load_blobs(registry, archive, &read(&ours, 0)?).await?;
            let Signatures { config, manifest } = signature::merged(&held, &ours);
            load_blob(registry, &digest_of(&config), || Ok(config.clone())).await?;
            let digest = digest_of(&manifest);
            load_manifest(registry, place, manifest, MANIFEST).await?;
            return Ok(digest);
        }
    }
    let manifest = load_all(registry, archive, entry, place, 0, &mut BTreeSet::new()).await?;
    if let Some(subject) = &manifest.subject {
        refer(registry, entry, &manifest, &subject.digest).await?;
    }
    Ok(entry.digest.clone())
}

/// Has a manifest that was pushed found from the one that it refers to. Registries do that themselves, but for those that leave it to a tag
/// (distribution-spec, "Pushing Manifests with Subject").
async fn refer(
    registry: &Registry,
    entry: &Descriptor,
    manifest: &Manifest,
    subject: &str,
) -> Result<(), TransferError> {
    // One without a type has that of its config.
    let artifact_type = manifest.artifact_type.clone().or_else(|| Some(manifest.config.as_ref()?.media_type.clone()));
    let Some(artifact_type) = artifact_type else { return Ok(()) };
    registry.log_in(RegistryOperation::Pull).await?;
    let known = registry.within(SHORT, registry.referrers(subject, &artifact_type)).await?;
    if known.iter().any(|known| known.digest == entry.digest) {
        return Ok(());
    }
    let place = registry.tagged(referrers::tag_of(subject));
    let mut entries = match registry.within(SHORT, registry.find(&place)).await? {
        Some(held) => items(&held, "manifests")
            .ok_or_else(|| RegistryError::Invalid(format!("{place} is no index of what refers to a manifest")))?,
        None => Vec::new(),
    };
    let annotations = manifest.annotations.clone();
    let entry = Descriptor { artifact_type: Some(artifact_type), annotations, ..entry.clone() };
    entries.push(json!(entry));
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    load_manifest(registry, &place, index.to_string().into_bytes(), INDEX).await
}

async fn load_all(
    registry: &Registry,
    archive: &ArchiveReader,
    entry: &Descriptor,
    place: &Reference,
    level: usize,
    pushed: &mut BTreeSet<String>,
) -> Result<Manifest, TransferError> {
    let bytes = archive.blob(&entry.digest)?;
    let manifest = read(&bytes, level)?;
    for descriptor in manifest.manifests.iter().flatten() {
        if pushed.insert(descriptor.digest.clone()) {
            let place = place.clone_with_digest(descriptor.digest.clone());
            Box::pin(load_all(registry, archive, descriptor, &place, level + 1, pushed)).await?;
        }
    }
    load_blobs(registry, archive, &manifest).await?;
    load_manifest(registry, place, bytes, &entry.media_type).await?;
    Ok(manifest)
}

async fn load_blobs(registry: &Registry, archive: &ArchiveReader, manifest: &Manifest) -> Result<(), TransferError> {
    for Descriptor { digest, .. } in blobs(manifest) {
        load_blob(registry, digest, || archive.blob(digest)).await?;
    }
    Ok(())
}

/// Uploads a blob, unless it is there. A token may last a minute only, and is for one of both.
async fn load_blob(
    registry: &Registry,
    digest: &str,
    bytes: impl FnOnce() -> std::io::Result<Vec<u8>>,
) -> Result<(), TransferError> {
    registry.log_in(RegistryOperation::Pull).await?;
    if registry.within(SHORT, registry.has(digest)).await? {
        return Ok(());
    }
    let bytes = Bytes::from(bytes()?);
    registry.log_in(RegistryOperation::Push).await?;
    let seconds = u64::try_from(bytes.len()).unwrap_or(u64::MAX) / SLOWEST;
    Ok(registry.within(LONG + Duration::from_secs(seconds), registry.put(digest, bytes)).await?)
}

async fn load_manifest(
    registry: &Registry,
    place: &Reference,
    bytes: Vec<u8>,
    media_type: &str,
) -> Result<(), TransferError> {
    let media_type = HeaderValue::from_str(media_type)
        .map_err(|_| RegistryError::Invalid(format!("{place}: its media type is none")))?;
    registry.log_in(RegistryOperation::Push).await?;
    Ok(registry.within(SHORT, registry.put_manifest(place, bytes, media_type)).await?)
}
