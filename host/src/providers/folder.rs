//! What the folder wants becomes Provider objects. One that somebody else made wins over the file, and one that somebody deleted
//! stays away until its file says something new.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bartizan_contract::names::{FILE_ANNOTATION, PROVIDER_API_VERSION, PROVIDER_KIND};
use bartizan_contract::provider::Provider;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tracing::{error, info};

use super::{MANAGER, Providers, parse, uid_of};
use crate::catalog::{Loaded, Origin};
use crate::declared::Declared;
use crate::kubernetes::deadline::in_time;
use crate::version::Version;

impl Providers {
    /// Writes each Provider that the folder wants otherwise than when it was written last.
    ///
    /// # Errors
    /// If one could not be written; the others were.
    pub(super) async fn write_what_the_folder_wants(&mut self) -> anyhow::Result<()> {
        let catalogue = self.catalogue.clone();
        let mut result = Ok(());
        for (file, declared) in &catalogue.declared {
            let wanted = match (declared, catalogue.library.get(&Origin::File(file.clone()))) {
                (Declared::Document(provider), _) => (**provider).clone(),
                (Declared::Manifest, Some(Ok(loaded))) => {
                    let wanted = declared.clone().provider(&loaded.manifest, file);
                    self.for_both_versions(wanted, loaded)
                }
                // Nothing is known of it, and that it is bad was said.
                (Declared::Manifest, _) => continue,
            };
            let name = wanted.metadata.name.clone();
            if self.written.get(&name) == Some(&wanted) {
                continue;
            }
            match self.write(&wanted).await {
                Ok(written) => {
                    // Known at once, so that nothing is judged by what was there before.
                    if let Some(written) = written {
                        self.objects.insert(name.clone(), written);
                    }
                    self.written.insert(name, wanted);
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// As long as the version before serves, it may what it could before, too: what the next one asks for must not take that away.
    fn for_both_versions(&self, mut wanted: Provider, next: &Loaded) -> Provider {
        let existing = self.objects.get(&wanted.metadata.name);
        if let Some(existing) = existing.filter(|existing| existing.metadata.annotations.contains_key(FILE_ANNOTATION))
        {
            let served = self.active.get(&uid_of(existing)).map(Version::digest);
            let said = existing.status.active.as_ref().map(|active| active.digest.as_str());
            if served.or(said).is_some_and(|digest| digest != next.module.digest()) {
                wanted.spec.grants = wanted.spec.grants.or(&existing.spec.grants);
            }
        }
        wanted
    }

    /// Writes a Provider that the folder wants, unless it is there already.
    async fn write(&self, wanted: &Provider) -> anyhow::Result<Option<Provider>> {
        let name = wanted.metadata.name.as_str();
        let title = format!("Provider {name}");
        let existing = in_time(self.api().get_opt(name)).await.with_context(|| format!("{title} could not be read"))?;
        if let Some(existing) = existing.map(parse).transpose()? {
            let Some(from) = existing.metadata.annotations.get(FILE_ANNOTATION) else {
                info!(
                    provider = name,
                    "the Provider in the cluster was not made from the folder and wins over the file"
                );
                return Ok(None);
            };
            let wants = wanted.metadata.annotations.get(FILE_ANNOTATION);
            if wants != Some(from) && self.is_here(from) {
                error!(
                    provider = name,
                    "declared by {from} and by {} in the same folder; rename one",
                    wants.map_or("", String::as_str)
                );
                return Ok(None);
            }
            // After a restart nothing is written that is there. What the file no longer says, it said before in this process.
            let metadata = &existing.metadata;
            let is_there = contains(&metadata.labels, &wanted.metadata.labels)
                && contains(&metadata.annotations, &wanted.metadata.annotations);
            if existing.spec == wanted.spec && is_there && !self.written.contains_key(name) {
                return Ok(None);
            }
        }
        let document = json!({
            "apiVersion": PROVIDER_API_VERSION,
            "kind": PROVIDER_KIND,
            "metadata": {
                "name": name, "labels": wanted.metadata.labels, "annotations": wanted.metadata.annotations,
            },
            "spec": wanted.spec,
        });
        let params = PatchParams::apply(MANAGER).force();
        let written = in_time(self.api().patch(name, &params, &Patch::Apply(&document))).await;
        let written = written.with_context(|| format!("{title} could not be written"))?;
        parse(written).map(Some)
    }

    /// Whether the folder declares anything from this file.
    fn is_here(&self, file: &str) -> bool {
        let stem = |name: &str| name.rsplit_once('.').map_or(name.to_owned(), |(stem, _)| stem.to_owned());
        self.catalogue.declared.keys().any(|module| stem(module) == stem(file))
    }
}

/// Whether all of these labels or annotations are there, among others.
fn contains(there: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| there.get(key) == Some(value))
}
