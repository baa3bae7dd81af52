//! Which manifests refer to another one (distribution-spec, "Listing Referrers"): by the interface for that, page by page, or by the tag that
//! stands in for it where a registry does not have it.

use bartizan_contract::digest::digits;
use oci_client::Reference;

use crate::client::Registry;
use crate::error::RegistryError;
use crate::manifest::{Descriptor, Index};

/// Most pages that are read.
const MOST_PAGES: usize = 16;

/// The tag that stands in for the interface.
pub(crate) fn tag_of(manifest: &str) -> String {
    manifest.replace(':', "-")
}

impl Registry {
    /// The manifests of this type that refer to another one.
    ///
    /// # Errors
    /// If the registry is unavailable, or lists more than is read.
    pub(crate) async fn referrers(
        &self,
        manifest: &str,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let found = match self.listed(manifest).await? {
            Some(found) => found,
            // Registries say in many ways that they do not have it.
            None => match self.find(&self.tagged(tag_of(manifest))).await? {
                Some(index) => serde_json::from_slice::<Index>(&index).map_or_else(|_| Vec::new(), |it| it.manifests),
                None => Vec::new(),
            },
        };
        // Who answers need not look at the type.
        let is_one = |entry: &Descriptor| {
            entry.artifact_type.as_deref() == Some(artifact_type) && digits(&entry.digest).is_some()
        };
        Ok(found.into_iter().filter(is_one).collect())
    }

    /// What the interface lists; `None` if there is none.
    async fn listed(&self, manifest: &str) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        let place: Reference = self.reference().clone_with_digest(manifest.to_owned());
        let session = self.session(&place);
        let (mut next, mut all) = (Some(session.referrers(manifest)), Vec::new());
        for _ in 0..MOST_PAGES {
            let Some(address) = next.take() else { return Ok(Some(all)) };
            let Some(page) = session.page(&address, self.auth()).await? else { return Ok(None) };
            let Ok(Index { manifests }) = serde_json::from_slice(&page.body) else { return Ok(None) };
            all.extend(manifests);
            next = page.next;
        }
        match next {
            None => Ok(Some(all)),
            Some(_) => {
                let message = format!("{place}: more manifests refer to it than fit {MOST_PAGES} pages");
                Err(RegistryError::Unavailable(message))
            }
        }
    }
}
