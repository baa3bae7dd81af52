//! What the life of a Provider depends on of its module: what the manifest says, and which bytes it is. Whoever runs modules keeps
//! the code beside it.

use std::sync::Arc;

use bartizan_contract::field::FieldError;
use bartizan_contract::{GroupKind, Kind, ProviderManifest};
use serde_json::Value;

use crate::settings::SettingsSchema;

/// A module that can serve.
#[derive(Clone, Debug)]
pub struct ModuleInfo {
    /// Its manifest.
    pub manifest: Arc<ProviderManifest>,
    /// Digest of its bytes: `sha256:` and 64 hexadecimal digits.
    pub digest: Arc<str>,
    /// The kinds of its parents, each at the storage version of its CRD.
    pub parents: Vec<Parent>,
    /// Schema of its settings; `None` if it has none.
    pub settings: Option<SettingsSchema>,
}

/// A kind that a provider owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The kind at its storage version.
    pub kind: Kind,
    /// Name of the CRD.
    pub crd: String,
}

impl ModuleInfo {
    /// A module with this manifest and digest.
    ///
    /// # Errors
    /// If the schema of its settings is not usable.
    pub fn new(manifest: ProviderManifest, digest: &str) -> Result<Self, FieldError> {
        let parents = manifest.crds.iter().filter_map(parent).collect();
        let settings = manifest.settings.as_ref().map(SettingsSchema::new).transpose()?;
        Ok(Self { manifest: Arc::new(manifest), digest: digest.into(), parents, settings })
    }

    /// The kinds that it owns.
    #[must_use]
    pub fn owned(&self) -> Vec<GroupKind> {
        self.parents.iter().map(|parent| GroupKind::from(&parent.kind)).collect()
    }

    /// Whether another module can take over between two reconciles, with the same watches and rights: they differ in nothing but
    /// code and version.
    #[must_use]
    pub fn has_shape_of(&self, other: &Self) -> bool {
        let same_version = ProviderManifest { version: other.manifest.version.clone(), ..(*self.manifest).clone() };
        same_version == *other.manifest
    }
}

/// The parent kind of a CRD that has a storage version; `None` if it has none.
fn parent(crd: &Value) -> Option<Parent> {
    let text = |pointer: &str| crd.pointer(pointer).and_then(Value::as_str);
    let versions = crd.pointer("/spec/versions")?.as_array()?;
    let storage = versions.iter().find(|version| version.get("storage").and_then(Value::as_bool) == Some(true))?;
    Some(Parent {
        kind: Kind::new(text("/spec/group")?, storage.get("name")?.as_str()?, text("/spec/names/kind")?),
        crd: text("/metadata/name")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_parent_is_the_storage_version_of_its_crd() {
        let crd = json!({
            "metadata": {"name": "objectstores.minio.rook.io"},
            "spec": {
                "group": "minio.rook.io", "names": {"kind": "ObjectStore"},
                "versions": [{"name": "v1", "storage": false}, {"name": "v1alpha1", "storage": true}]
            }
        });
        let kind = Kind::new("minio.rook.io", "v1alpha1", "ObjectStore");
        assert_eq!(parent(&crd), Some(Parent { kind, crd: "objectstores.minio.rook.io".to_owned() }));
    }
}
