//! The catalog of modules: their origins, what was loaded from each, and why something was not. Modules come and go while the
//! host runs. The catalog's actor ([`actor`]) follows them, and publishes a [`snapshot`] whenever one changes.

pub(crate) mod actor;
mod config_maps;
mod fetch;
mod folder;
pub(crate) mod module;
mod module_store;
mod registries;
pub(crate) mod snapshot;
pub(crate) mod wanted;
mod watch_folder;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bartizan_contract::provider::{ModuleSource, Source};
use bartizan_contract::{GroupKind, Kind, ProviderManifest};
use bartizan_engine::settings::SettingsSchema;
use bartizan_runtime::Module;

use bartizan_registry::parse_reference;

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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
