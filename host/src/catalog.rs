//! The modules of a folder: every one is loaded and described; a bad one is reported and the others serve.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bartizan_contract::{Kind, ProviderManifest};
use bartizan_runtime::{Config, Limits, Module, Runtime};
use serde_json::Value;
use thiserror::Error;

use crate::declared::{Document, FolderModule, document_names};

/// A module that can serve.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// What it says about itself.
    pub(crate) manifest: ProviderManifest,
    /// Its code.
    pub(crate) module: Module,
    /// The kinds of its parents, each at the storage version of its CRD.
    pub(crate) parents: Vec<Parent>,
}

/// A kind that a provider owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    /// The kind at its storage version.
    pub(crate) kind: Kind,
    /// Name of the CRD.
    pub(crate) crd: String,
}

/// What a folder holds: each module by its file, or why it cannot serve.
pub(crate) type Library = BTreeMap<String, Result<Loaded, String>>;

/// A module that cannot serve.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("module {file}: {reason}")]
pub(crate) struct BadModule {
    /// Name of the file.
    pub(crate) file: String,
    /// Why, and what to do.
    pub(crate) reason: String,
}

/// The modules of a folder, sorted by name. `None` if the folder does not exist.
///
/// # Errors
/// If it is no folder, or cannot be read.
pub(crate) fn list(folder: &Path) -> anyhow::Result<Option<Vec<PathBuf>>> {
    match std::fs::metadata(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("--providers {}", folder.display())),
        Ok(metadata) if !metadata.is_dir() => {
            anyhow::bail!("--providers {}: is not a folder; name the folder that holds the modules", folder.display())
        }
        Ok(_) => {}
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("--providers {}", folder.display()))?;
    let mut modules = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("--providers {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            modules.push(path);
        }
    }
    modules.sort();
    Ok(Some(modules))
}

/// Loads every module. Blocking: compiles what is not in the cache.
pub(crate) fn load(runtime: &Runtime, files: &[PathBuf]) -> Library {
    files.iter().map(|path| (file_name(path), load_one(runtime, path))).collect()
}

/// The modules with the documents beside them.
pub(crate) fn documents(files: &[PathBuf]) -> Vec<FolderModule> {
    let read = |path: &Path, name: String| {
        let text = match std::fs::read_to_string(path.with_file_name(&name)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            // It is reported as a document that is no Provider, with this as the reason.
            Err(error) => format!("# cannot be read: {error}"),
        };
        Some(Document { file: name, text })
    };
    let module = |path: &PathBuf| {
        let file = file_name(path);
        let documents = document_names(&file).into_iter().filter_map(|name| read(path, name)).collect();
        FolderModule { file, documents }
    };
    files.iter().map(module).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn load_one(runtime: &Runtime, path: &Path) -> Result<Loaded, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let module = runtime.load(&bytes).map_err(|error| error.to_string())?;
    let description = module.describe(&Limits::default()).map_err(|error| error.to_string())?;
    let parents = description.manifest.crds.iter().filter_map(parent).collect();
    Ok(Loaded { manifest: description.manifest, module, parents })
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

/// What one module says about itself.
///
/// # Errors
/// If the file is no provider module.
pub(crate) fn manifest_of(file: &Path) -> anyhow::Result<ProviderManifest> {
    let runtime = Runtime::new(Config::default())?;
    let provider = load_one(&runtime, file).map_err(|reason| anyhow::anyhow!("module {}: {reason}", file.display()))?;
    Ok(provider.manifest)
}

/// `bartizan crds`: the CRDs of one module as a YAML stream.
///
/// # Errors
/// If the file is no provider module.
pub(crate) fn print_crds(file: &Path) -> anyhow::Result<()> {
    for crd in &manifest_of(file)?.crds {
        print!("---\n{}", serde_yaml_ng::to_string(crd)?);
    }
    Ok(())
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

    #[test]
    fn a_missing_folder_is_none_and_a_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(list(&folder.path().join("missing")).unwrap(), None);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message =
            format!("--providers {}: is not a folder; name the folder that holds the modules", file.display());
        assert_eq!(list(&file).unwrap_err().to_string(), message);
    }

    #[test]
    fn only_modules_count_and_they_are_sorted() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.wasm", "a.wasm", "README.md"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let modules = list(folder.path()).unwrap().unwrap();
        assert_eq!(modules, [folder.path().join("a.wasm"), folder.path().join("b.wasm")]);
    }
}
