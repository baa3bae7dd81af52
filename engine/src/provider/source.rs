//! Where modules come from, and what their sources hold now.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bartizan_contract::digest::digest_of;
use bartizan_contract::provider::{ModuleSource, Source, Verification};

use super::module::ModuleInfo;

/// Where a module comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
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
pub struct OciOrigin {
    /// Where, as the Provider says it.
    pub reference: String,
    /// Without TLS.
    pub plain_http: bool,
    /// The Secret with the credentials.
    pub pull_secret_name: Option<String>,
    /// The bytes that the Provider wants and no others.
    pub digest: Option<String>,
    /// Who must have signed it; `None`: nobody need have.
    pub verify: Option<Verification>,
}

impl OciOrigin {
    /// All of it in one text, as a name in the cache.
    #[must_use]
    pub fn key(&self) -> String {
        let Self { reference, plain_http, pull_secret_name, digest, verify } = self;
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        let scheme = if *plain_http { "http" } else { "https" };
        // A space is in none of them. What others have signed is not signed by these.
        let signed = verify
            .as_ref()
            .map(|verify| format!(" {}", digest_of(format!("{verify:?}").as_bytes())))
            .unwrap_or_default();
        format!("{scheme} {reference} {} {}{signed}", optional(pull_secret_name), optional(digest))
    }
}

impl Origin {
    /// The origin that a Provider names.
    ///
    /// # Errors
    /// If none is named, or its name is no such name.
    pub fn of(source: &ModuleSource, check_reference: CheckReference) -> Result<Self, String> {
        match source.source().map_err(|error| error.to_string())? {
            Source::File(file) => Ok(Self::File(file.to_owned())),
            Source::ConfigMap(source) => Ok(Self::ConfigMap { name: source.name.clone(), key: source.key.clone() }),
            Source::Oci(oci) => {
                check_reference(&oci.reference).map_err(|reason| format!("spec.module.oci.reference: {reason}"))?;
                Ok(Self::Oci(OciOrigin {
                    reference: oci.reference.clone(),
                    plain_http: oci.plain_http,
                    pull_secret_name: oci.pull_secret_name.clone(),
                    digest: source.digest.clone(),
                    verify: oci.verify.clone(),
                }))
            }
        }
    }

    /// One word for metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
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
pub enum Trouble {
    /// It is not known yet.
    Loading,
    /// There is nothing.
    Missing(String),
    /// It could not be asked.
    Unavailable(String),
    /// There is something that is no provider.
    Invalid(String),
    /// Nobody who is trusted has signed it.
    Unverified(String),
    /// There is the module with this digest, which is not the one that is pinned.
    OtherDigest(String),
}

/// What each origin holds now: a module, or why not.
pub type Library<M> = BTreeMap<Origin, Result<M, Trouble>>;

/// What is known of all sources at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Whether modules that the folder held at the start are still being loaded: until then it is not known which Providers there are.
    pub is_loading: bool,
    /// The modules.
    pub library: Library<ModuleInfo>,
    /// Modules that were asked for by digest: at hand, or not.
    pub recalled: BTreeMap<String, Option<ModuleInfo>>,
    /// Modules and documents that are in the folder.
    pub files: BTreeSet<String>,
}

/// What Providers ask the catalog for, beside the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// ConfigMaps by name, with the keys.
    pub config_maps: BTreeMap<String, BTreeSet<String>>,
    /// Modules in registries.
    pub oci: BTreeSet<OciOrigin>,
    /// Modules that served before and whose origin has none now.
    pub digests: BTreeSet<String>,
}

impl Wanted {
    /// All origins beside the folder.
    #[must_use]
    pub fn origins(&self) -> BTreeSet<Origin> {
        let of = |(name, keys): (&String, &BTreeSet<String>)| -> Vec<Origin> {
            keys.iter().map(|key| Origin::ConfigMap { name: name.clone(), key: key.clone() }).collect()
        };
        self.config_maps.iter().flat_map(of).chain(self.oci.iter().cloned().map(Origin::Oci)).collect()
    }
}

/// Checks that a text is a reference to something in a registry, and says what is wrong with it. Given from outside: what a
/// reference looks like is known to whoever asks registries.
pub type CheckReference = fn(&str) -> Result<(), String>;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_origin_is_what_the_source_names_with_all_that_makes_a_difference() {
        let check = |text: &str| if text.contains('A') { Err(format!("{text} is none")) } else { Ok(()) };
        let source = |value: serde_json::Value| serde_json::from_value::<ModuleSource>(value).unwrap();
        assert_eq!(Origin::of(&ModuleSource::file("a.wasm"), check), Ok(Origin::File("a.wasm".to_owned())));
        let config_map = Origin::of(&source(json!({"configMap": {"name": "b", "key": "a.wasm"}})), check).unwrap();
        assert_eq!(config_map.to_string(), "a.wasm in ConfigMap b");
        let keys = [
            json!({"oci": {"reference": "example.com/a:1"}}),
            json!({"oci": {"reference": "example.com/a:1", "plainHttp": true}}),
            json!({"oci": {"reference": "example.com/a:1", "pullSecretName": "b"}}),
            json!({"oci": {"reference": "example.com/a:1"}, "digest": "sha256:c"}),
        ]
        .map(|value| match Origin::of(&source(value), check) {
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
        let error = Origin::of(&source(json!({"oci": {"reference": "example.com/A"}})), check).unwrap_err();
        assert_eq!(error, "spec.module.oci.reference: example.com/A is none");
        let none = "spec.module: exactly one of file, oci and configMap must be set".to_owned();
        assert_eq!(Origin::of(&source(json!({})), check), Err(none));
    }
}
