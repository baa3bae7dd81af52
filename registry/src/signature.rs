//! Signatures in cosign's older form: a manifest is signed by signing a small JSON document that names its digest (the "simple signing"
//! payload). Payloads are the layers of another artefact of the repository, tagged `sha256-<digits>.sig`, with the signature as an
//! annotation, and with the certificate and what the log said of it where it was made without a key. No I/O.

use bartizan_contract::digest::{digest_of, digits};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::key::PrivateKey;
use crate::manifest::{Descriptor, Layer, MANIFEST, Manifest, items};

/// Media type of a payload.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation of a payload's layer with its signature, in Base64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Annotations with the certificate (PEM), those between it and the root, what the log promised, and a time stamp.
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const LOGGED: &str = "dev.sigstore.cosign/bundle";
const STAMPED: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// Media type of the config of the artefact that holds them.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// What a payload says that it is.
const TYPE: &str = "cosign container image signature";

/// Most signatures of one artefact that are looked at.
pub(crate) const MOST_SIGNATURES: usize = 32;
/// Most bytes of a payload.
pub(crate) const PAYLOAD_BYTES: usize = 64 * 1024;

/// The tag of the signatures of a manifest.
pub(crate) fn tag_of(manifest: &str) -> Option<String> {
    Some(format!("sha256-{}.sig", digits(manifest)?))
}

/// Whether a tag is that of signatures.
pub(crate) fn is_tag(tag: &str) -> bool {
    let digits = tag.strip_prefix("sha256-").and_then(|rest| rest.strip_suffix(".sig"));
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// A payload that is to be fetched, and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    /// The payload.
    pub(crate) payload: Layer,
    /// The signature (DER).
    pub(crate) signature: Vec<u8>,
    /// What was made without a key.
    pub(crate) keyless: Option<Certified>,
}

/// What stands beside a signature that was made without a key, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certified {
    /// The certificate (PEM).
    pub(crate) certificate: String,
    /// Those between it and the root (PEM).
    pub(crate) chain: Option<String>,
    /// What the log promised (JSON).
    pub(crate) logged: Option<String>,
    /// A time stamp (JSON).
    pub(crate) stamped: Option<String>,
}

/// The payloads that an artefact with signatures names.
pub(crate) fn signed(artifact: &[u8]) -> Vec<Signed> {
    let layers = Manifest::parse(artifact).map(|manifest| manifest.layers).unwrap_or_default();
    let found = layers.into_iter().filter(|layer| layer.media_type == PAYLOAD && digits(&layer.digest).is_some());
    let found = found.filter_map(|layer| signed_layer(&layer));
    let mut found: Vec<Signed> = found.collect();
    // Who signs adds theirs at the end.
    found.drain(..found.len().saturating_sub(MOST_SIGNATURES));
    found
}

fn signed_layer(layer: &Descriptor) -> Option<Signed> {
    let annotation = |name: &str| layer.annotations.get(name).cloned();
    let certified = |certificate| Certified {
        certificate,
        chain: annotation(CHAIN),
        logged: annotation(LOGGED),
        stamped: annotation(STAMPED),
    };
    Some(Signed {
        payload: layer.layer(PAYLOAD_BYTES)?,
        signature: BASE64_STANDARD.decode(annotation(SIGNATURE)?).ok()?,
        keyless: annotation(CERTIFICATE).map(certified),
    })
}

/// Whether a payload names this manifest. What is not signed is not to be read.
pub(crate) fn names(payload: &[u8], manifest: &str) -> bool {
    serde_json::from_slice::<Value>(payload).is_ok_and(|said| {
        said.pointer("/critical/image/docker-manifest-digest") == Some(&manifest.into())
            && said.pointer("/critical/type") == Some(&TYPE.into())
    })
}

/// The artefact of all signatures of a manifest.
pub(crate) struct Signatures {
    /// The config.
    pub(crate) config: Vec<u8>,
    /// The manifest.
    pub(crate) manifest: Vec<u8>,
}

/// Signs a manifest: the payload, and the artefact that has it beside the signatures that there are.
pub(crate) fn sign(repository: &str, manifest: &str, key: &PrivateKey, before: Option<&[u8]>) -> (Vec<u8>, Signatures) {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": manifest},
            "type": TYPE,
        },
        "optional": null,
    });
    let payload = payload.to_string().into_bytes();
    let layer = json!({
        "mediaType": PAYLOAD, "digest": digest_of(&payload), "size": payload.len(),
        "annotations": {SIGNATURE: BASE64_STANDARD.encode(key.sign(&payload))},
    });
    // The same key signs the same payload in the same way.
    (payload, Signatures::of(before.map(layers_of).unwrap_or_default(), vec![layer]))
}

/// The signatures of both artefacts.
pub(crate) fn merged(held: &[u8], others: &[u8]) -> Signatures {
    Signatures::of(layers_of(held), layers_of(others))
}

impl Signatures {
    /// Of these layers, and those of the others that are not among them.
    fn of(mut layers: Vec<Value>, others: Vec<Value>) -> Self {
        for layer in others {
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        let ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        let config = json!({
            "architecture": "", "created": "0001-01-01T00:00:00Z", "os": "", "config": {},
            "rootfs": {"type": "layers", "diff_ids": ids}, "history": [],
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(&config), "size": config.len()},
            "layers": layers,
        });
        Self { config, manifest: manifest.to_string().into_bytes() }
    }
}

fn layers_of(artifact: &[u8]) -> Vec<Value> {
    items(artifact, "layers").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::key;

    fn manifest(text: &str) -> String {
        digest_of(text.as_bytes())
    }

    #[test]
    fn signatures_of_others_stay_and_the_own_one_is_added_once() {
        let (key, other, wanted) = (key(9), key(7), manifest("a"));
        let (_, first) = sign("example.com/a", &wanted, &key, None);
        let (_, again) = sign("example.com/a", &wanted, &key, Some(&first.manifest));
        assert_eq!(first.manifest, again.manifest);
        let (payload, both) = sign("example.com/a", &wanted, &other, Some(&first.manifest));
        let found = signed(&both.manifest);
        assert_eq!(found.len(), 2);
        let (_, alone) = sign("example.com/a", &wanted, &other, None);
        assert_eq!(merged(&first.manifest, &alone.manifest).manifest, both.manifest);
        assert_eq!(merged(&both.manifest, &alone.manifest).manifest, both.manifest);
        for (key, signed) in [(&key, &found[0]), (&other, &found[1])] {
            assert!(key.public().has_signed(&payload, &signed.signature) && names(&payload, &wanted));
        }
    }

    #[test]
    fn what_a_registry_names_is_bounded() {
        let layer = |size: usize| json!({"mediaType": PAYLOAD, "digest": manifest("p"), "size": size, "annotations": {SIGNATURE: "AA=="}});
        let artifact = |layers: Vec<Value>| json!({"layers": layers}).to_string().into_bytes();
        assert_eq!(signed(&artifact(vec![layer(PAYLOAD_BYTES + 1)])), []);
        assert_eq!(signed(&artifact(vec![layer(9); 99])).len(), MOST_SIGNATURES);
        for nonsense in ["nonsense", "[]", "{\"layers\": 1}"] {
            assert_eq!(signed(nonsense.as_bytes()), []);
            assert!(layers_of(nonsense.as_bytes()).is_empty());
        }
        assert_eq!(tag_of("sha512:00"), None);
        assert!(is_tag(&tag_of(&manifest("a")).unwrap()) && !is_tag("sha256-0a.sig") && !is_tag("1.0.0"));
        assert_eq!(tag_of(&manifest("a")).unwrap().len(), "sha256-.sig".len() + 64);
    }
}
