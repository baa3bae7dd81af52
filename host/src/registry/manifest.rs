//! The manifest of a module: what is read of one that a registry holds, and what is written for one that is pushed. No I/O.

use bartizan_runtime::LoadError;
use serde::Deserialize;
use serde_json::json;

use super::{digest_of, sha256};

/// Media type of the manifests that are written.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of their config.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media type of a module.
const LAYER: &str = "application/wasm";
/// What tools called it before there was that.
const OLDER_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";

/// What a registry is asked for. Indexes are among it so that they can be named as what they are.
pub(crate) const ACCEPTED: [&str; 4] = [
    MANIFEST,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// A module as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Its digest.
    pub(crate) digest: String,
    /// Its bytes.
    pub(crate) size: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

/// The module that a manifest names, if it has no more bytes than `limit`.
///
/// # Errors
/// If there is none, or more than one, or it is too large: in words.
pub(crate) fn layer_of(manifest: &[u8], limit: usize) -> Result<Layer, String> {
    let manifest: Manifest =
        serde_json::from_slice(manifest).map_err(|error| format!("its manifest cannot be read: {error}"))?;
    if manifest.manifests.is_some() {
        return Err("it is an index of several images; name the one that is the module by its digest".to_owned());
    }
    let mut modules = manifest.layers.iter().filter(|layer| [LAYER, OLDER_LAYER].contains(&layer.media_type.as_str()));
    let layer = match (modules.next(), modules.next()) {
        (Some(layer), None) => layer,
        (Some(_), Some(_)) => return Err("it holds more than one WebAssembly module; push each by itself".to_owned()),
        (None, _) => return Err(no_module(&manifest.layers)),
    };
    if sha256(&layer.digest).is_none() {
        return Err("the digest of its module is not a SHA-256 one; push it with bartizan push".to_owned());
    }
    match usize::try_from(layer.size) {
        Ok(size) if size <= limit => Ok(Layer { digest: layer.digest.clone(), size }),
        size => Err(LoadError::TooLarge { bytes: size.unwrap_or(usize::MAX), limit }.to_string()),
    }
}

fn no_module(layers: &[Descriptor]) -> String {
    let mut types: Vec<&str> = layers.iter().map(|layer| layer.media_type.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let found = match types.as_slice() {
        [] => "it has no layers".to_owned(),
        // A registry may hold anything: no more than what fits a condition.
        types => format!("its layers are {}", types.join(", ").chars().take(200).collect::<String>()),
    };
    format!("it holds no WebAssembly module ({found}, none is {LAYER}); push the module with bartizan push")
}

/// What is pushed for a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The module's own digest.
    pub(crate) module: String,
    /// The config.
    pub(crate) config: Vec<u8>,
    /// The manifest.
    pub(crate) manifest: Vec<u8>,
}

/// The config and manifest of a module. They hold no time: the same module is the same manifest, whoever pushes it.
pub(crate) fn written(module: &[u8], is_component: bool) -> Written {
    let digest = digest_of(module);
    let mut config = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        // The format knows no other words for the two forms of WebAssembly.
        "os": if is_component { "wasip2" } else { "wasip1" },
        "layerDigests": [digest],
    });
    if is_component {
        config["component"] = json!({"exports": ["bartizan:provider/provider@0.1.0"], "imports": []});
    }
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest_of(&config), "size": config.len()},
        "layers": [{"mediaType": LAYER, "digest": digest, "size": module.len()}],
    });
    Written { module: digest, config, manifest: manifest.to_string().into_bytes() }
}

/// Whether a module is a component, by the version in its first bytes; core modules have another.
pub(crate) fn is_component(module: &[u8]) -> bool {
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
        layer_of(manifest.to_string().as_bytes(), 10)
    }

    #[test]
    fn a_module_is_found_under_both_media_types_beside_whatever_else_there_is() {
        let expected = Ok(Layer { digest: digest_of(b"x"), size: 10 });
        for media_type in [LAYER, OLDER_LAYER] {
            let manifest = json!({"schemaVersion": 2, "layers": [layer("text/plain", 999), layer(media_type, 10)]});
            assert_eq!(read(&manifest), expected, "{media_type}");
        }
    }

    #[test]
    fn what_is_no_module_is_said_in_words() {
        let foreign = json!({"mediaType": LAYER, "digest": "sha512:00", "size": 1});
        for (manifest, expected) in [
            (
                json!({"manifests": []}),
                "it is an index of several images; name the one that is the module by its digest",
            ),
            (
                json!({"layers": []}),
                "it holds no WebAssembly module (it has no layers, none is application/wasm); push the module with bartizan push",
            ),
            (
                json!({"layers": [layer("b", 1), layer("a", 1), layer("b", 1)]}),
                "it holds no WebAssembly module (its layers are a, b, none is application/wasm); push the module with bartizan push",
            ),
            (
                json!({"layers": [layer(LAYER, 1), layer(LAYER, 1)]}),
                "it holds more than one WebAssembly module; push each by itself",
            ),
            (
                json!({"layers": [layer(LAYER, 11)]}),
                "the module has 11 bytes, more than the 10 that this host takes; build it optimised and stripped",
            ),
            (json!({"layers": [foreign]}), "the digest of its module is not a SHA-256 one; push it with bartizan push"),
        ] {
            assert_eq!(read(&manifest), Err(expected.to_owned()));
        }
        let error = layer_of(b"<html>", 10).unwrap_err();
        assert!(error.starts_with("its manifest cannot be read: "), "{error}");
    }

    #[test]
    fn what_is_written_is_read_again_and_is_the_same_for_the_same_module() {
        let module = b"\0asm\x01\0\0\0";
        let first = written(module, is_component(module));
        assert_eq!(first, written(module, false));
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
