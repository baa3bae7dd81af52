//! What Providers ask the catalog for beside the modules in the folder.

use std::collections::{BTreeMap, BTreeSet};

use super::{OciOrigin, Origin};

/// What Providers ask the catalog for beside the modules in the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// ConfigMaps by name, with the keys.
    pub(crate) config_maps: BTreeMap<String, BTreeSet<String>>,
    /// Modules in registries.
    pub(crate) oci: BTreeSet<OciOrigin>,
    /// Digests of modules that served before and whose origin has none now.
    pub(crate) digests: BTreeSet<String>,
}

impl Wanted {
    /// All origins outside the folder.
    pub(super) fn origins(&self) -> BTreeSet<Origin> {
        let of = |(name, keys): (&String, &BTreeSet<String>)| -> Vec<Origin> {
            keys.iter().map(|key| Origin::ConfigMap { name: name.clone(), key: key.clone() }).collect()
        };
        self.config_maps.iter().flat_map(of).chain(self.oci.iter().cloned().map(Origin::Oci)).collect()
    }
}
