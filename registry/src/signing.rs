//! Signatures in a registry: looked for, checked, and pushed.

use bytes::Bytes;
use oci_client::Reference;

use crate::client::{LONG, Registry};
use crate::error::RegistryError;
use crate::key::PrivateKey;
use crate::manifest::{Descriptor, Layer, Manifest};
use crate::signature;
use crate::signers::{PREDICATE, Signers};

/// Type of the artefacts that refer to a manifest and hold a bundle with its signature, and media type of the bundle.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Annotation of such an artefact with what its bundle says.
const PREDICATE_ANNOTATION: &str = "dev.sigstore.bundle.predicateType";
/// Most bytes of a bundle.
pub(crate) const BUNDLE_BYTES: usize = 256 * 1024;
/// Most bundles of one manifest that are looked at.
const MOST_BUNDLES: usize = 64;

/// What was found that is no signature by those who may have signed.
#[derive(Default)]
struct Refused {
    count: usize,
    /// Of the last one.
    reason: String,
}

impl Refused {
    fn note(&mut self, reason: String) {
        self.count += 1;
        self.reason = reason;
    }
}

/// A bundle in a registry.
pub(crate) struct Bundle {
    /// The artefact that holds it.
    pub(crate) manifest: Bytes,
    /// Where it is.
    pub(crate) layer: Layer,
    /// What it is.
    pub(crate) bytes: Bytes,
}

impl Registry {
    /// Checks that one of these has signed a manifest.
    ///
    /// # Errors
    /// If none has, or the registry is unavailable.
    pub async fn verify(&self, manifest: &str, signers: &Signers) -> Result<(), RegistryError> {
        self.within(LONG, async {
            let mut refused = Refused::default();
            if self.is_signed(manifest, signers, &mut refused).await?
                || self.is_signed_by_bundle(manifest, signers, &mut refused).await?
            {
                return Ok(());
            }
            let (reference, signers, Refused { count, reason }) = (self.reference(), signers.named(), refused);
            Err(RegistryError::Unverified(match count {
                0 => format!(
                    "{reference}: manifest {manifest} has no signatures; sign it (bartizan push --sign, cosign sign)"
                ),
                count => format!(
                    "{reference}: none of the last {count} signatures of manifest {manifest} is by {signers} \
                     (spec.module.oci.verify); of the last one: {reason}"
                ),
            }))
        })
        .await
    }

    async fn is_signed(&self, manifest: &str, signers: &Signers, refused: &mut Refused) -> Result<bool, RegistryError> {
        let artifact = self.signatures(manifest).await?.map(|(_, artifact)| artifact);
        for signed in artifact.map(|artifact| signature::signed(&artifact)).unwrap_or_default() {
            let payload = there(self.download(&signed.payload).await)?;
            match payload.and_then(|payload| signers.signed(&payload, &signed, manifest)) {
                Ok(()) => return Ok(true),
                Err(reason) => refused.note(reason),
            }
        }
        Ok(false)
    }

    async fn is_signed_by_bundle(
        &self,
        manifest: &str,
        signers: &Signers,
        refused: &mut Refused,
    ) -> Result<bool, RegistryError> {
        let mut places = self.bundles(manifest).await?;
        // A registry lists them in any order.
        places.truncate(MOST_BUNDLES);
        for place in places {
            let bundle = there(self.bundle(&place).await)?;
            match bundle.and_then(|bundle| signers.signed_bundle(&bundle.bytes, manifest)) {
                Ok(()) => return Ok(true),
                Err(reason) => refused.note(reason),
            }
        }
        Ok(false)
    }

    /// Where the signatures of a manifest are in the older form, and the artefact with them; `None`: there is none.
    pub(crate) async fn signatures(&self, manifest: &str) -> Result<Option<(Reference, Bytes)>, RegistryError> {
        let Some(tag) = signature::tag_of(manifest) else { return Ok(None) };
        let place = self.tagged(tag);
        Ok(self.find(&place).await?.map(|artifact| (place, artifact)))
    }

    /// Where the bundles with signatures of a manifest are. Those of other statements about it, as far as they say so, are not among them.
    pub(crate) async fn bundles(&self, manifest: &str) -> Result<Vec<Reference>, RegistryError> {
        let is_signature =
            |entry: &Descriptor| entry.annotations.get(PREDICATE_ANNOTATION).is_none_or(|said| said == PREDICATE);
        let found = self.referrers(manifest, BUNDLE).await?.into_iter().filter(is_signature);
        Ok(found.map(|entry| self.reference().clone_with_digest(entry.digest)).collect())
    }

    /// A bundle, with the artefact that holds it.
    pub(crate) async fn bundle(&self, place: &Reference) -> Result<Bundle, RegistryError> {
        let manifest = self.pull(place).await?;
        let layers = Manifest::parse(&manifest)?.layers;
        let layer =
            layers.iter().filter(|layer| layer.media_type == BUNDLE).find_map(|layer| layer.layer(BUNDLE_BYTES));
        let layer = layer.ok_or_else(|| RegistryError::Invalid(format!("{place} has no bundle")))?;
        let bytes = self.download(&layer).await?;
        Ok(Bundle { manifest, layer, bytes })
    }

    /// Signs a manifest that was pushed, and keeps the signatures of others.
    ///
    /// # Errors
    /// If the registry is unavailable, or rejects it.
    pub async fn sign(&self, manifest: &str, key: &PrivateKey) -> Result<(), RegistryError> {
        self.within(LONG, async {
            let Some(tag) = signature::tag_of(manifest) else { return Ok(()) };
            let place = self.tagged(tag);
            let before = self.find(&place).await?;
            let repository = format!("{}/{}", place.registry(), place.repository());
            let (payload, made) = signature::sign(&repository, manifest, key, before.as_deref());
            self.upload(&place, [payload.into(), made.config.into()], made.manifest).await
        })
        .await
    }
}

/// One that is gone or damaged says nothing of the others.
pub(crate) fn there<T>(found: Result<T, RegistryError>) -> Result<Result<T, String>, RegistryError> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(RegistryError::Missing(reason) | RegistryError::Invalid(reason)) => Ok(Err(reason)),
        Err(other) => Err(other),
    }
}
