//! From bytes to a module that can serve: compiled, and described by its own manifest.

use std::path::Path;
use std::sync::Arc;

use bartizan_contract::field::FieldError;
use bartizan_contract::{Kind, ProviderManifest};
use bartizan_engine::settings::SettingsSchema;
use bartizan_runtime::{CallError, Config, Limits, LoadError, Module, Runtime};
use serde_json::Value;
use thiserror::Error;

use super::{Loaded, Parent};

/// Why bytes are no module that can serve.
#[derive(Debug, Error)]
pub(crate) enum ModuleError {
    /// The runtime does not accept them.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The module does not describe itself.
    #[error(transparent)]
    Describe(#[from] CallError),
    /// The schema of its settings is none.
    #[error(transparent)]
    Settings(#[from] FieldError),
}

/// Makes a module of bytes, and reads its manifest. Blocking: compiles what is not in the cache.
///
/// # Errors
/// If the bytes are no provider module.
pub(crate) fn load(runtime: &Runtime, bytes: &[u8]) -> Result<Loaded, ModuleError> {
    describe(runtime.load(bytes)?)
}

/// A module that was loaded before, if its code is still in the cache. Blocking.
pub(super) fn recall(runtime: &Runtime, digest: &str) -> Option<Loaded> {
    describe(runtime.recall(digest)?).ok()
}

/// The manifest of the module in a file.
///
/// # Errors
/// If the file is no provider module.
pub(crate) fn manifest_of(file: &Path) -> anyhow::Result<Arc<ProviderManifest>> {
    let runtime = Runtime::new(Config::default())?;
    let bytes = std::fs::read(file);
    let file = file.display();
    let bytes = bytes.map_err(|error| anyhow::anyhow!("module {file}: cannot be read: {error}"))?;
    let loaded = load(&runtime, &bytes).map_err(|error| anyhow::anyhow!("module {file}: {error}"))?;
    Ok(loaded.manifest)
}

fn describe(module: Module) -> Result<Loaded, ModuleError> {
    let manifest = module.describe(&Limits::default())?.manifest;
    let parents = manifest.crds.iter().filter_map(parent).collect();
    let settings = manifest.settings.as_ref().map(SettingsSchema::new).transpose()?;
    Ok(Loaded { manifest: Arc::new(manifest), module, parents, settings })
}

/// The parent kind of a CRD, which the runtime has checked to have a storage version.
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
    use serde_json::json;

    use super::*;

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
