//! Manifests of modules: reading those of a registry, and making those of modules to push. No I/O.

use std::collections::BTreeMap;

use bartizan_contract::digest::{digest_of, digits};
use bartizan_contract::names::PROVIDER_INTERFACE;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::ManifestError;

/// Media type of the manifests that we push.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an index of manifests.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of their config.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media type of a module's layer.
const LAYER: &str = "application/wasm";
/// The media type that tools used before.
const OLDER_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";

/// Media types to accept. Indexes are accepted so that the error can name them.
pub(crate) const ACCEPTED: [&str; 4] = [
    MANIFEST,
    "application/vnd.docker.distribution.manifest.v2+json",
    INDEX,
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// The layer of a manifest that holds the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the module.
    pub digest: String,
    /// Size of the module in bytes.
    pub size: usize,
}

/// What names a blob or a manifest, and says what it is (image-spec, "Content Descriptors").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// Of a manifest, what it is that it describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// For a download, if it has no more bytes than that.
    pub(crate) fn layer(&self, limit: usize) -> Option<Layer> {
        let size = usize::try_from(self.size).ok().filter(|size| *size <= limit)?;
        Some(Layer { digest: self.digest.clone(), size })
    }
}

/// An index of manifests. What else might be in it is of no interest.
#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    /// The manifests.
    pub(crate) manifests: Vec<Descriptor>,
}

/// The items of a list in JSON, as they are: whoever made them may have said more of them than is known here.
pub(crate) fn items(bytes: &[u8], field: &str) -> Option<Vec<Value>> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    match value.get_mut(field).map(Value::take) {
        Some(Value::Array(items)) => Some(items),
        _ => None,
    }
}

/// A manifest, or an index of some.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    /// What it says that it is.
    media_type: Option<String>,
    /// What it says that it describes.
    pub(crate) artifact_type: Option<String>,
    /// The manifest that it refers to.
    pub(crate) subject: Option<Descriptor>,
    /// What is said of it.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Its config.
    pub(crate) config: Option<Descriptor>,
    /// What it consists of.
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
    /// The manifests of an index.
    pub(crate) manifests: Option<Vec<Descriptor>>,
}

impl Manifest {
    /// Reads one.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        serde_json::from_slice(bytes).map_err(|error| ManifestError::Unreadable { cause: error.to_string() })
    }

    /// What it is. Older ones do not say it, and are told by what is in them.
    pub(crate) fn media_type(&self) -> &str {
        let told = if self.manifests.is_some() { INDEX } else { MANIFEST };
        self.media_type.as_deref().unwrap_or(told)
    }
}

/// The layer that holds the module, which may have up to `limit` bytes.
pub(crate) fn layer_of(manifest: &[u8], limit: usize) -> Result<Layer, ManifestError> {
    let manifest = Manifest::parse(manifest)?;
    if manifest.manifests.is_some() {
        return Err(ManifestError::Index);
    }
    let mut modules = manifest.layers.iter().filter(|layer| [LAYER, OLDER_LAYER].contains(&layer.media_type.as_str()));
    let layer = match (modules.next(), modules.next()) {
        (Some(layer), None) => layer,
        (Some(_), Some(_)) => return Err(ManifestError::SeveralModules),
        (None, _) => return Err(no_module(&manifest.layers)),
    };
    if digits(&layer.digest).is_none() {
        return Err(ManifestError::NotSha256);
    }
    let bytes = usize::try_from(layer.size).unwrap_or(usize::MAX);
    layer.layer(limit).ok_or(ManifestError::ModuleTooLarge { bytes, limit })
}

fn no_module(layers: &[Descriptor]) -> ManifestError {
    let mut types: Vec<&str> = layers.iter().map(|layer| layer.media_type.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let found = match types.as_slice() {
        [] => "it has no layers".to_owned(),
        // A registry may hold anything: keep no more than fits a condition.
        types => format!("its layers are {}", types.join(", ").chars().take(200).collect::<String>()),
    };
    ManifestError::NoModule { found, expected: LAYER }
}

/// What is pushed for a module. It holds no time: the same module gives the same manifest, whoever pushes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// The module's own digest.
    pub(crate) module: String,
    /// The config.
    pub(crate) config: Vec<u8>,
    /// The manifest.
    pub(crate) manifest: Vec<u8>,
}

impl Artifact {
    /// Makes the config and the manifest of a module.
    pub(crate) fn new(module: &[u8]) -> Self {
        let (digest, is_component) = (digest_of(module), is_component(module));
        let mut config = json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": "wasm",
            // The format has no other values for the two binary formats of WebAssembly.
            "os": if is_component { "wasip2" } else { "wasip1" },
            "layerDigests": [digest],
        });
        if is_component {
            config["component"] = json!({"exports": [PROVIDER_INTERFACE], "imports": []});
        }
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(&config), "size": config.len()},
            "layers": [{"mediaType": LAYER, "digest": digest, "size": module.len()}],
        });
        Self { module: digest, config, manifest: manifest.to_string().into_bytes() }
    }
}

/// Whether a module is a component, by the version in its header; core modules have another.
fn is_component(module: &[u8]) -> bool {
    module.get(4..8) == Some(&[0x0d, 0x00, 0x01, 0x00])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn layer(media_type: &str, size: u64) -> Value {
        json!({"mediaType": media_type, "digest": digest_of(b"x"), "size": size})
    }

    fn read(manifest: &Value) -> Result<Layer, String> {
        layer_of(manifest.to_string().as_bytes(), 10).map_err(|error| error.to_string())
    }

    #[test]
    fn a_module_is_found_under_both_media_types_among_other_layers() {
        let expected = Ok(Layer { digest: digest_of(b"x"), size: 10 });
        for media_type in [LAYER, OLDER_LAYER] {
            let manifest = json!({"schemaVersion": 2, "layers": [layer("text/plain", 999), layer(media_type, 10)]});
            assert_eq!(read(&manifest), expected, "{media_type}");
        }
    }

    #[test]
    fn a_manifest_without_a_module_is_refused_with_a_reason() {
        let foreign = json!({"mediaType": LAYER, "digest": "sha512:00", "size": 1});
        for (manifest, expected) in [
            (json!({"manifests": []}), "it is an image index; name the manifest of the module by its digest"),
            (
                json!({"layers": []}),
                "it has no WebAssembly layer (it has no layers, none is application/wasm); push the module with bartizan push",
            ),
            (
                json!({"layers": [layer("b", 1), layer("a", 1), layer("b", 1)]}),
                "it has no WebAssembly layer (its layers are a, b, none is application/wasm); push the module with bartizan push",
            ),
            (
                json!({"layers": [layer(LAYER, 1), layer(LAYER, 1)]}),
                "it has more than one WebAssembly layer; push each module separately",
            ),
            (
                json!({"layers": [layer(LAYER, 11)]}),
                "the module has 11 bytes, more than the limit of 10; build it optimised and stripped",
            ),
            (json!({"layers": [foreign]}), "the digest of its module is not SHA-256; push it with bartizan push"),
        ] {
            assert_eq!(read(&manifest), Err(expected.to_owned()));
        }
        let error = layer_of(b"<html>", 10).unwrap_err().to_string();
        assert!(error.starts_with("its manifest cannot be read: "), "{error}");
    }

    #[test]
    fn a_pushed_manifest_is_reproducible_and_can_be_read_again() {
        let module = b"\0asm\x01\0\0\0";
        let first = Artifact::new(module);
        assert_eq!(first, Artifact::new(module));
        let expected = Layer { digest: digest_of(module), size: module.len() };
        assert_eq!(layer_of(&first.manifest, 10), Ok(expected));
        let config: Value = serde_json::from_slice(&first.config).unwrap();
        assert_eq!((&config["os"], &config["layerDigests"][0]), (&json!("wasip1"), &json!(digest_of(module))));
        let manifest: Value = serde_json::from_slice(&first.manifest).unwrap();
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
        assert_eq!(manifest["config"]["digest"], json!(digest_of(&first.config)));
        assert!(is_component(b"\0asm\x0d\0\x01\0rest"));
        assert!(!is_component(b"\0asm"));
    }
}
