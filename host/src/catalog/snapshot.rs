//! What the catalog knows at one moment, as it is published to everybody who decides about Providers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bartizan_engine::provider::source::Snapshot;
use bartizan_runtime::Module;

use super::documents::Declared;
use super::{Library, Loaded};

/// What the catalog knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct CatalogSnapshot {
    /// Whether modules that the folder held at the start are still being loaded.
    pub(crate) is_loading: bool,
    /// The modules by origin.
    pub(crate) library: Library,
    /// Modules that were asked for by digest; `None` if the cache does not hold it.
    pub(crate) recalled: BTreeMap<String, Option<Loaded>>,
    /// The Provider that the folder declares for each of its modules, by file.
    pub(crate) declared: BTreeMap<String, Declared>,
    /// Modules whose documents are wrong, and why.
    pub(crate) wrong: BTreeMap<String, String>,
    /// Modules without documents whose manifests name the Provider of a document: that name, and the document.
    pub(crate) copies: BTreeMap<String, (String, String)>,
    /// Modules and documents in the folder.
    pub(crate) files: BTreeSet<String>,
}

impl CatalogSnapshot {
    /// What decides about Providers must know of it.
    pub(crate) fn facts(&self) -> Snapshot {
        let info = |loaded: &Loaded| loaded.info.clone();
        let library = self.library.iter();
        let library = library.map(|(origin, state)| (origin.clone(), state.as_ref().map(info).map_err(Clone::clone)));
        let recalled = self.recalled.iter().map(|(digest, loaded)| (digest.clone(), loaded.as_ref().map(info)));
        Snapshot {
            is_loading: self.is_loading,
            library: library.collect(),
            recalled: recalled.collect(),
            files: self.files.clone(),
        }
    }

    /// The code of all its modules, by digest.
    pub(crate) fn modules(&self) -> impl Iterator<Item = (Arc<str>, &Module)> {
        let library = self.library.values().filter_map(|state| state.as_ref().ok());
        let loaded = library.chain(self.recalled.values().flatten());
        loaded.map(|loaded| (loaded.info.digest.clone(), &loaded.module))
    }
}
