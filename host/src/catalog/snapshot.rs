//! What the catalog knows at one moment, as it is published to everybody who decides about Providers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Library, Loaded};
use crate::declared::Declared;

/// What the catalog knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct CatalogSnapshot {
    /// The modules by origin.
    pub(crate) library: Library,
    /// Modules that were asked for by digest; `None` if the cache does not hold it.
    pub(crate) recalled: BTreeMap<String, Option<Loaded>>,
    /// The Provider that the folder declares for each of its modules, by file.
    pub(crate) declared: BTreeMap<String, Declared>,
    /// Modules and documents in the folder.
    pub(crate) files: BTreeSet<String>,
}
