//! The catalogue of modules: where they come from, what was loaded, and why something could not be. Modules come and go while the
//! host runs; its actor ([`actor`]) publishes what it knows as a whole, each time that changes.

pub(crate) mod actor;
mod config_maps;
mod fetch;
mod folder;
mod module_store;
mod registries;
mod watch_folder;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bartizan_contract::provider::{ModuleSource, Source};
use bartizan_contract::{GroupKind, Kind, ProviderManifest};
use bartizan_engine::settings::SettingsSchema;
use bartizan_registry::parse_reference;
use bartizan_runtime::{Config, Limits, Module, Runtime};
use serde_json::Value;
use thiserror::Error;

use crate::declared::Declared;

/// A module that can serve.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// What it says about itself.
    pub(crate) manifest: Arc<ProviderManifest>,
    /// Its code.
    pub(crate) module: Module,
    /// The kinds of its parents, each at the storage version of its CRD.
    pub(crate) parents: Vec<Parent>,
    /// What can be set of it; `None` if nothing.
    pub(crate) settings: Option<SettingsSchema>,
}

/// A kind that a provider owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    /// The kind at its storage version.
    pub(crate) kind: Kind,
    /// Name of the CRD.
    pub(crate) crd: String,
}

impl Loaded {
    /// The kinds that it owns.
    pub(crate) fn owned(&self) -> Vec<GroupKind> {
        self.parents.iter().map(|parent| GroupKind::from(&parent.kind)).collect()
    }

    /// Whether another module can take over between two reconciles, with the same watches and rights: they differ in nothing but
    /// code and version.
    pub(crate) fn has_shape_of(&self, other: &Self) -> bool {
        let same_version = ProviderManifest { version: other.manifest.version.clone(), ..(*self.manifest).clone() };
        same_version == *other.manifest
    }
}

/// Where a module comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A file in the host's folder.
    File(String),
    /// A key of a ConfigMap in the host's namespace.
    ConfigMap {
        /// Name of the ConfigMap.
        name: String,
        /// The key.
        key: String,
    },
    /// An OCI registry.
    Oci(OciOrigin),
}

/// A module in an OCI registry. What is pinned is part of it: another pin is a reason to look at the registry anew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OciOrigin {
    /// Where, as the Provider says it.
    pub(crate) reference: String,
    /// Without TLS.
    pub(crate) plain_http: bool,
    /// The Secret with the credentials.
    pub(crate) pull_secret_name: Option<String>,
    /// The bytes that the Provider wants and no others.
    pub(crate) digest: Option<String>,
}

impl OciOrigin {
    /// All of it in one text, as a name in the cache.
    pub(crate) fn key(&self) -> String {
        let Self { reference, plain_http, pull_secret_name, digest } = self;
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        let scheme = if *plain_http { "http" } else { "https" };
        // A space is in none of them.
        format!("{scheme} {reference} {} {}", optional(pull_secret_name), optional(digest))
    }
}

impl Origin {
    /// The origin that a Provider names.
    ///
    /// # Errors
    /// If none is named, or its name is no such name.
    pub(crate) fn of(source: &ModuleSource) -> Result<Self, String> {
        match source.source().map_err(|error| error.to_string())? {
            Source::File(file) => Ok(Self::File(file.to_owned())),
            Source::ConfigMap(source) => Ok(Self::ConfigMap { name: source.name.clone(), key: source.key.clone() }),
            Source::Oci(oci) => {
                parse_reference(&oci.reference).map_err(|reason| format!("spec.module.oci.reference: {reason}"))?;
                Ok(Self::Oci(OciOrigin {
                    reference: oci.reference.clone(),
                    plain_http: oci.plain_http,
                    pull_secret_name: oci.pull_secret_name.clone(),
                    digest: source.digest.clone(),
                }))
            }
        }
    }

    /// One word for metrics.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::ConfigMap { .. } => "configMap",
            Self::Oci(_) => "oci",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.write_str(file),
            Self::ConfigMap { name, key } => write!(f, "{key} in ConfigMap {name}"),
            Self::Oci(origin) => f.write_str(&origin.reference),
        }
    }
}

/// Why an origin has no module that can serve now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is not known yet.
    Loading,
    /// There is nothing.
    Missing(String),
    /// It could not be asked.
    Unavailable(String),
    /// There is something that is no provider.
    Invalid(String),
    /// There is the module with this digest, which is not the one that is pinned.
    OtherDigest(String),
}

/// What each origin holds now: a module, or why not.
pub(crate) type Library = BTreeMap<Origin, Result<Loaded, Trouble>>;

/// What the catalogue knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    /// The modules.
    pub(crate) library: Library,
    /// Modules that were asked for by digest: in the cache, or not.
    pub(crate) recalled: BTreeMap<String, Option<Loaded>>,
    /// What the folder wants of each of its modules, by file.
    pub(crate) declared: BTreeMap<String, Declared>,
    /// Modules and documents that are in the folder.
    pub(crate) files: BTreeSet<String>,
}

/// What Providers ask the catalogue for, beside the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// ConfigMaps by name, with the keys.
    pub(crate) config_maps: BTreeMap<String, BTreeSet<String>>,
    /// Modules in registries.
    pub(crate) oci: BTreeSet<OciOrigin>,
    /// Modules that served before and whose origin has none now.
    pub(crate) digests: BTreeSet<String>,
}

impl Wanted {
    /// All origins beside the folder.
    fn origins(&self) -> BTreeSet<Origin> {
        let of = |(name, keys): (&String, &BTreeSet<String>)| -> Vec<Origin> {
            keys.iter().map(|key| Origin::ConfigMap { name: name.clone(), key: key.clone() }).collect()
        };
        self.config_maps.iter().flat_map(of).chain(self.oci.iter().cloned().map(Origin::Oci)).collect()
    }
}

/// A module that cannot serve.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("module {file}: {reason}")]
pub(crate) struct BadModule {
    /// Name of the file, or the origin in words.
    pub(crate) file: String,
    /// Why, and what to do.
    pub(crate) reason: String,
}

/// Makes a module of bytes, and asks it what it is. Blocking: compiles what is not in the cache.
pub(crate) fn load(runtime: &Runtime, bytes: &[u8]) -> Result<Loaded, String> {
    describe(runtime.load(bytes).map_err(|error| error.to_string())?)
}

/// A module that was loaded before, if it is in the cache. Blocking.
pub(crate) fn recall(runtime: &Runtime, digest: &str) -> Option<Loaded> {
    describe(runtime.recall(digest)?).ok()
}

fn describe(module: Module) -> Result<Loaded, String> {
    let manifest = module.describe(&Limits::default()).map_err(|error| error.to_string())?.manifest;
    let parents = manifest.crds.iter().filter_map(parent).collect();
    let settings =
        manifest.settings.as_ref().map(SettingsSchema::new).transpose().map_err(|error| error.to_string())?;
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

/// What one module says about itself.
///
/// # Errors
/// If the file is no provider module.
pub(crate) fn manifest_of(file: &Path) -> anyhow::Result<Arc<ProviderManifest>> {
    let runtime = Runtime::new(Config::default())?;
    let bytes = std::fs::read(file).map_err(|error| format!("cannot be read: {error}"));
    let provider = bytes.and_then(|bytes| load(&runtime, &bytes));
    let provider = provider.map_err(|reason| anyhow::anyhow!("module {}: {reason}", file.display()))?;
    Ok(provider.manifest)
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
    fn an_origin_is_what_the_source_names_with_all_that_makes_a_difference() {
        let source = |value: serde_json::Value| serde_json::from_value::<ModuleSource>(value).unwrap();
        assert_eq!(Origin::of(&ModuleSource::file("a.wasm")), Ok(Origin::File("a.wasm".to_owned())));
        let config_map = Origin::of(&source(json!({"configMap": {"name": "b", "key": "a.wasm"}}))).unwrap();
        assert_eq!(config_map.to_string(), "a.wasm in ConfigMap b");
        let keys = [
            json!({"oci": {"reference": "example.com/a:1"}}),
            json!({"oci": {"reference": "example.com/a:1", "plainHttp": true}}),
            json!({"oci": {"reference": "example.com/a:1", "pullSecretName": "b"}}),
            json!({"oci": {"reference": "example.com/a:1"}, "digest": "sha256:c"}),
        ]
        .map(|value| match Origin::of(&source(value)) {
            Ok(Origin::Oci(origin)) => origin.key(),
            other => panic!("{other:?}"),
        });
        assert_eq!(
            keys,
            [
                "https example.com/a:1  ",
                "http example.com/a:1  ",
                "https example.com/a:1 b ",
                "https example.com/a:1  sha256:c"
            ]
        );
        let error = Origin::of(&source(json!({"oci": {"reference": "example.com/A"}}))).unwrap_err();
        assert!(error.starts_with("spec.module.oci.reference: \"example.com/A\" is not a reference"), "{error}");
        let none = "spec.module: exactly one of file, oci and configMap must be set".to_owned();
        assert_eq!(Origin::of(&source(json!({}))), Err(none));
    }
}
