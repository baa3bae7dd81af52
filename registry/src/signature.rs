//! Signatures in cosign's scheme: a manifest is signed by signing a small JSON document that names its digest (the "simple signing" payload).
//! Payloads are the layers of another artefact of the repository, tagged `sha256-<digits>.sig`, with the signature as an annotation.
//! Keys are those of `cosign generate-key-pair`: ECDSA on P-256 with SHA-256. No I/O.

use bartizan_contract::digest::{digest_of, digits};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use p256::SecretKey;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{DerSignature, Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePublicKey as _};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::KeyError;
use crate::manifest::{Layer, MANIFEST, Manifest};

/// Media type of a payload.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation of a payload's layer with its signature, in Base64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Media type of the config of the artefact that holds them.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// What a payload says that it is.
const TYPE: &str = "cosign container image signature";
/// PEM label of a private key that cosign has encrypted; the older one, too.
const ENCRYPTED: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];
/// Most work that the file of a key may ask for: what cosign writes takes 2^15 or 2^16 steps.
const MOST_SCRYPT_STEPS: u32 = 1 << 20;

/// Most signatures of one artefact that are looked at.
pub(crate) const MOST_SIGNATURES: usize = 32;
/// Most bytes of a payload.
pub(crate) const PAYLOAD_BYTES: usize = 64 * 1024;

/// A key that a module may be signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a key as `cosign public-key` prints it.
    ///
    /// # Errors
    /// If it is none of ECDSA on P-256.
    pub fn parse(pem: &str) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_pem(pem.trim()).map(Self).map_err(|_| KeyError::NotPublic)
    }

    /// SHA-256 of the key (its SubjectPublicKeyInfo), by which people tell keys apart.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.to_public_key_der().map_or_else(|_| String::new(), |der| digest_of(der.as_bytes()))
    }
}

/// A key to sign modules with.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// Reads a key of `cosign generate-key-pair` with its password, or one without encryption (PKCS#8, `openssl genpkey`).
    ///
    /// # Errors
    /// If it is no such key, or the password is another.
    pub fn parse(pem: &str, password: &[u8]) -> Result<Self, KeyError> {
        let (label, content) =
            p256::pkcs8::der::pem::decode_vec(pem.trim().as_bytes()).map_err(|_| KeyError::NotPrivate)?;
        let der = if ENCRYPTED.contains(&label) { decrypt(&content, password)? } else { content };
        let key = SecretKey::from_pkcs8_der(&der).map_err(|_| KeyError::NotPrivate)?;
        Ok(Self(SigningKey::from(&key)))
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }
}

/// How cosign encrypts a key.
#[derive(Deserialize)]
struct Encrypted {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: ScryptParams,
    salt: String,
}

#[derive(Deserialize)]
struct ScryptParams {
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

fn decrypt(content: &[u8], password: &[u8]) -> Result<Vec<u8>, KeyError> {
    let Encrypted { kdf, cipher, ciphertext } = serde_json::from_slice(content).map_err(|_| KeyError::NotPrivate)?;
    let ScryptParams { n, r, p } = kdf.params;
    if kdf.name != "scrypt" || cipher.name != "nacl/secretbox" || n > MOST_SCRYPT_STEPS || !n.is_power_of_two() {
        return Err(KeyError::NotPrivate);
    }
    let binary = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| KeyError::NotPrivate);
    let log = u8::try_from(n.trailing_zeros()).map_err(|_| KeyError::NotPrivate)?;
    if r > 32 || p > 4 {
        return Err(KeyError::NotPrivate);
    }
    let params = scrypt::Params::new(log, r, p, 32).map_err(|_| KeyError::NotPrivate)?;
    let mut key = [0; 32];
    scrypt::scrypt(password, &binary(&kdf.salt)?, &params, &mut key).map_err(|_| KeyError::NotPrivate)?;
    let nonce: [u8; 24] = binary(&cipher.nonce)?.try_into().map_err(|_| KeyError::NotPrivate)?;
    let cipher = XSalsa20Poly1305::new(&key.into());
    cipher.decrypt(&nonce.into(), binary(&ciphertext)?.as_slice()).map_err(|_| KeyError::OtherPassword)
}

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
    /// The signature, in Base64.
    pub(crate) signature: String,
}

/// The payloads that an artefact with signatures names.
pub(crate) fn signed(artifact: &[u8]) -> Vec<Signed> {
    let layers = Manifest::parse(artifact).map(|manifest| manifest.layers).unwrap_or_default();
    let found = layers.into_iter().filter(|layer| layer.media_type == PAYLOAD && digits(&layer.digest).is_some());
    let found = found.filter_map(|mut layer| {
        let signature = layer.annotations.remove(SIGNATURE)?;
        Some(Signed { payload: layer.layer(PAYLOAD_BYTES)?, signature })
    });
    let mut found: Vec<Signed> = found.collect();
    // Who signs adds theirs at the end.
    found.drain(..found.len().saturating_sub(MOST_SIGNATURES));
    found
}

/// Whether one of these keys has signed a payload that names this manifest.
pub(crate) fn verifies(payload: &[u8], signature: &str, manifest: &str, keys: &[PublicKey]) -> bool {
    let Ok(der) = BASE64_STANDARD.decode(signature) else { return false };
    let Ok(signature) = Signature::from_der(&der) else { return false };
    let is_signed = keys.iter().any(|PublicKey(key)| key.verify(payload, &signature).is_ok());
    // What is not signed is not read.
    is_signed
        && serde_json::from_slice::<Value>(payload).is_ok_and(|said| {
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
    let signature: DerSignature = key.0.sign(&payload);
    let layer = json!({
        "mediaType": PAYLOAD, "digest": digest_of(&payload), "size": payload.len(),
        "annotations": {SIGNATURE: BASE64_STANDARD.encode(signature.as_bytes())},
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

/// As they are: whoever made them may have said more of them than is known here.
fn layers_of(artifact: &[u8]) -> Vec<Value> {
    let mut artifact: Value = serde_json::from_slice(artifact).unwrap_or_default();
    match artifact.get_mut("layers").map(Value::take) {
        Some(Value::Array(layers)) => layers,
        _ => Vec::new(),
    }
}

/// Names the keys, for messages.
pub(crate) fn named(keys: &[PublicKey]) -> String {
    let names: Vec<String> = keys.iter().map(PublicKey::fingerprint).collect();
    match names.as_slice() {
        [one] => format!("the key {one}"),
        several => format!("any of the keys {}", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use p256::pkcs8::{EncodePrivateKey as _, LineEnding};

    use super::*;

    /// As `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` writes it.
    fn plain() -> String {
        let key = SecretKey::from_slice(&[9; 32]).unwrap();
        key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
    }

    fn key() -> PrivateKey {
        PrivateKey::parse(&plain(), b"").unwrap()
    }

    fn manifest(text: &str) -> String {
        digest_of(text.as_bytes())
    }

    #[test]
    fn a_signature_counts_for_its_manifest_and_key_alone() {
        let (key, wanted) = (key(), manifest("a"));
        let (payload, made) = sign("example.com/a", &wanted, &key, None);
        let signed = signed(&made.manifest);
        assert_eq!(signed.len(), 1);
        assert_eq!(signed[0].payload, Layer { digest: digest_of(&payload), size: payload.len() });
        let (keys, signature) = ([key.public()], signed[0].signature.as_str());
        assert!(verifies(&payload, signature, &wanted, &keys));
        assert!(!verifies(&payload, signature, &manifest("b"), &keys), "another manifest");
        assert!(!verifies(&payload, signature, &wanted, &[]), "no key");
        let other = PrivateKey(SigningKey::from_slice(&[7; 32]).unwrap()).public();
        assert!(!verifies(&payload, signature, &wanted, std::slice::from_ref(&other)), "another key");
        assert!(verifies(&payload, signature, &wanted, &[other, key.public()]), "one of several");
        let mut changed = payload.clone();
        changed.push(b' ');
        assert!(!verifies(&changed, signature, &wanted, &keys), "another payload");
        for nonsense in ["", "AAAA", "not base64!"] {
            assert!(!verifies(&payload, nonsense, &wanted, &keys), "{nonsense}");
        }
        // A signed text that is no signature of an image.
        let other_text =
            format!("{{\"critical\":{{\"image\":{{\"docker-manifest-digest\":\"{wanted}\"}},\"type\":\"x\"}}}}");
        let signature: DerSignature = key.0.sign(other_text.as_bytes());
        assert!(!verifies(other_text.as_bytes(), &BASE64_STANDARD.encode(signature.as_bytes()), &wanted, &keys));
    }

    #[test]
    fn signatures_of_others_stay_and_the_own_one_is_added_once() {
        let (key, wanted) = (key(), manifest("a"));
        let (_, first) = sign("example.com/a", &wanted, &key, None);
        let (_, again) = sign("example.com/a", &wanted, &key, Some(&first.manifest));
        assert_eq!(first.manifest, again.manifest);
        let other = PrivateKey(SigningKey::from_slice(&[7; 32]).unwrap());
        let (payload, both) = sign("example.com/a", &wanted, &other, Some(&first.manifest));
        let found = signed(&both.manifest);
        assert_eq!(found.len(), 2);
        let (_, alone) = sign("example.com/a", &wanted, &other, None);
        assert_eq!(merged(&first.manifest, &alone.manifest).manifest, both.manifest);
        assert_eq!(merged(&both.manifest, &alone.manifest).manifest, both.manifest);
        for (key, signed) in [(&key, &found[0]), (&other, &found[1])] {
            assert!(verifies(&payload, &signed.signature, &wanted, &[key.public()]));
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

    /// A key as `cosign generate-key-pair` writes it.
    #[test]
    fn a_key_of_cosign_needs_its_password() {
        let plain = plain();
        let (_, der) = p256::pkcs8::der::pem::decode_vec(plain.trim().as_bytes()).unwrap();
        let (salt, nonce) = ([1; 32], [2; 24]);
        let mut key = [0; 32];
        scrypt::scrypt(b"secret", &salt, &scrypt::Params::new(4, 8, 1, 32).unwrap(), &mut key).unwrap();
        let sealed = XSalsa20Poly1305::new(&key.into()).encrypt(&nonce.into(), der.as_slice()).unwrap();
        let encrypted = |n: u32| {
            let content = json!({
                "kdf": {"name": "scrypt", "params": {"N": n, "r": 8, "p": 1}, "salt": BASE64_STANDARD.encode(salt)},
                "cipher": {"name": "nacl/secretbox", "nonce": BASE64_STANDARD.encode(nonce)},
                "ciphertext": BASE64_STANDARD.encode(&sealed),
            });
            let content = BASE64_STANDARD.encode(content.to_string());
            let lines: Vec<&str> =
                content.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN {0}-----\n{1}\n-----END {0}-----\n", ENCRYPTED[0], lines.join("\n"))
        };
        assert_eq!(PrivateKey::parse(&encrypted(16), b"secret").unwrap().public(), self::key().public());
        assert_eq!(PrivateKey::parse(&encrypted(16), b"other").err(), Some(KeyError::OtherPassword));
        assert_eq!(
            PrivateKey::parse(&encrypted(1 << 30), b"secret").err(),
            Some(KeyError::NotPrivate),
            "too much work"
        );
        assert_eq!(PrivateKey::parse("nonsense", b"").err(), Some(KeyError::NotPrivate));
        assert_eq!(PublicKey::parse(&plain), Err(KeyError::NotPublic));
    }
}
