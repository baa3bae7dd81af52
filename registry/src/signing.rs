//! Signatures in a registry: looked for, checked, and pushed.

use bytes::Bytes;
use oci_client::Reference;

use crate::client::{LONG, Registry, SHORT};
use crate::error::RegistryError;
use crate::signature::{self, PrivateKey, PublicKey, Signed};

impl Registry {
    /// Checks that one of these keys has signed a manifest.
    ///
    /// # Errors
    /// If none has, or the registry is unavailable.
    pub async fn verify(&self, manifest: &str, keys: &[PublicKey]) -> Result<(), RegistryError> {
        self.within(SHORT, async {
            let artifact = self.signatures(manifest).await?.map(|(_, artifact)| artifact);
            let found = artifact.map(|artifact| signature::signed(&artifact)).unwrap_or_default();
            for Signed { payload, signature } in &found {
                match self.download(payload).await {
                    Ok(payload) if signature::verifies(&payload, signature, manifest, keys) => return Ok(()),
                    // One that is gone or damaged says nothing of the others.
                    Ok(_) | Err(RegistryError::Missing(_) | RegistryError::Invalid(_)) => {}
                    Err(other) => return Err(other),
                }
            }
            let (reference, keys) = (self.reference(), signature::named(keys));
            Err(RegistryError::Unverified(match found.len() {
                0 => format!("{reference}: manifest {manifest} has no signatures; sign it (bartizan push --sign, cosign sign)"),
                signatures => format!(
                    "{reference}: none of the last {signatures} signatures of manifest {manifest} is by {keys} (spec.module.oci.verify)"
                ),
            }))
        })
        .await
    }

    /// Where the signatures of a manifest are, and the artefact with them; `None`: there is none.
    pub(crate) async fn signatures(&self, manifest: &str) -> Result<Option<(Reference, Bytes)>, RegistryError> {
        let Some(tag) = signature::tag_of(manifest) else { return Ok(None) };
        let place = self.tagged(tag);
        Ok(self.find(&place).await?.map(|artifact| (place, artifact)))
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
