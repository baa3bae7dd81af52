//! An authority and a log as Sigstore has them: certificates for one signature, which say who signed, and entries that say when.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use bartizan_contract::digest::{digest_of, hex, sha256, sha256_hex};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SigningKey as _,
};
use serde_json::{Value, json};

/// Object identifier of the extension with the OpenID Connect issuer.
const ISSUER: [u64; 9] = [1, 3, 6, 1, 4, 1, 57264, 1, 8];
/// How long a certificate is valid.
const VALID: Duration = Duration::from_secs(600);
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const STATEMENT: &str = "application/vnd.in-toto+json";
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Name of the log in its checkpoints.
const LOG: &str = "log.example.com";

/// Who signs, and when the log says that they did.
#[derive(Clone, Debug)]
pub struct Signer<'a> {
    /// The URI of a workflow.
    pub identity: &'a str,
    /// The issuer that knows it.
    pub issuer: &'a str,
    /// How long after the certificate was issued, which is valid for ten minutes.
    pub after: Duration,
}

/// The authority with its log.
pub struct SigningAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    log: KeyPair,
}

/// A manifest, and the blobs that it names.
pub struct Artifact {
    /// The manifest.
    pub manifest: Value,
    /// The blobs.
    pub blobs: Vec<Vec<u8>>,
}

/// What was signed, with the certificate for it.
struct Made {
    certificate: Certificate,
    signature: Vec<u8>,
    /// Seconds since 1970.
    at: u64,
}

impl SigningAuthority {
    /// With keys of its own.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "signing");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).context("cannot make the certificate of the authority")?;
        Ok(Self { issuer: Issuer::new(params, key), certificate, log: KeyPair::generate()? })
    }

    /// The trusted root that names both.
    #[must_use]
    pub fn trusted_root(&self) -> Value {
        let since = json!({"start": "2020-01-01T00:00:00Z"});
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{
                "baseUrl": format!("https://{LOG}"), "hashAlgorithm": "SHA2_256", "logId": {"keyId": base64(&self.log_id())},
                "publicKey": {
                    "rawBytes": base64(&self.log.subject_public_key_info()), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": since,
                },
            }],
            "certificateAuthorities": [{
                "subject": {"organization": "example.com", "commonName": "signing"}, "uri": "https://ca.example.com",
                "certChain": {"certificates": [{"rawBytes": base64(self.certificate.der())}]}, "validFor": since,
            }],
            "ctlogs": [], "timestampAuthorities": [],
        })
    }

    /// A signature of a manifest as `cosign sign` makes it: a bundle in an artefact that refers to the manifest.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn bundle(&self, signer: &Signer, digest: &str) -> Result<Artifact> {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": digest.trim_start_matches("sha256:")}}],
            "predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {},
        });
        let statement = statement.to_string();
        let encoded = format!("DSSEv1 {} {STATEMENT} {} {statement}", STATEMENT.len(), statement.len());
        let made = self.make(signer, encoded.as_bytes())?;
        let body = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "envelopeHash": {"algorithm": "sha256", "value": sha256_hex(b"")},
            "payloadHash": {"algorithm": "sha256", "value": sha256_hex(statement.as_bytes())},
            "signatures": [{"signature": base64(&made.signature), "verifier": base64(made.certificate.pem().as_bytes())}],
        }});
        let body = body.to_string();
        // The first and only leaf of its tree (RFC 6962, 2.1).
        let root = sha256(&[&[0], body.as_bytes()].concat());
        let checkpoint = format!("{LOG}\n1\n{}\n", base64(&root));
        let mut signed = self.log_id()[..4].to_vec();
        signed.extend(self.log.sign(checkpoint.as_bytes())?);
        let bundle = json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {
                "certificate": {"rawBytes": base64(made.certificate.der())},
                "tlogEntries": [{
                    "logIndex": "0", "logId": {"keyId": base64(&self.log_id())}, "kindVersion": {"kind": "dsse", "version": "0.0.1"},
                    "integratedTime": made.at.to_string(),
                    "inclusionPromise": {"signedEntryTimestamp": base64(&self.promise(&body, made.at)?)},
                    "inclusionProof": {
                        "logIndex": "0", "treeSize": "1", "rootHash": base64(&root), "hashes": [],
                        "checkpoint": {"envelope": format!("{checkpoint}\n\u{2014} {LOG} {}\n", base64(&signed))},
                    },
                    "canonicalizedBody": base64(body.as_bytes()),
                }],
            },
            "dsseEnvelope": {
                "payload": base64(statement.as_bytes()), "payloadType": STATEMENT, "signatures": [{"sig": base64(&made.signature)}],
            },
        });
        let (bundle, empty) = (bundle.to_string().into_bytes(), b"{}".to_vec());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE, "config": descriptor(EMPTY, &empty),
            "layers": [descriptor(BUNDLE, &bundle)], "subject": {"mediaType": MANIFEST, "digest": digest, "size": 1},
        });
        Ok(Artifact { manifest, blobs: vec![bundle, empty] })
    }

    /// The same in cosign's older form: an artefact with all signatures, to be tagged by the manifest's digest.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn older(&self, signer: &Signer, digest: &str) -> Result<Artifact> {
        let payload = json!({"critical": {
            "identity": {"docker-reference": ""}, "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        }, "optional": null});
        let payload = payload.to_string().into_bytes();
        let made = self.make(signer, &payload)?;
        let certificate = made.certificate.pem();
        let body = json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": sha256_hex(&payload)}},
            "signature": {"content": base64(&made.signature), "publicKey": {"content": base64(certificate.as_bytes())}},
        }});
        let body = body.to_string();
        let logged = json!({
            "SignedEntryTimestamp": base64(&self.promise(&body, made.at)?),
            "Payload": {
                "body": base64(body.as_bytes()), "integratedTime": made.at, "logIndex": 0, "logID": hex(&self.log_id()),
            },
        });
        let empty = b"{}".to_vec();
        let mut layer = descriptor(PAYLOAD, &payload);
        layer["annotations"] = json!({
            "dev.cosignproject.cosign/signature": base64(&made.signature), "dev.sigstore.cosign/certificate": certificate,
            "dev.sigstore.cosign/chain": self.certificate.pem(), "dev.sigstore.cosign/bundle": logged.to_string(),
        });
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(EMPTY, &empty), "layers": [layer]});
        Ok(Artifact { manifest, blobs: vec![payload, empty] })
    }

    /// Signs bytes with a key that nobody keeps.
    fn make(&self, signer: &Signer, bytes: &[u8]) -> Result<Made> {
        let issued = SystemTime::now() - Duration::from_secs(60);
        let issued = Duration::from_secs(issued.duration_since(UNIX_EPOCH)?.as_secs());
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + issued;
        params.not_after = params.not_before + VALID;
        params.subject_alt_names = vec![SanType::URI(signer.identity.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        // A UTF8String of DER, whose length fits a byte.
        let mut text = vec![0x0c, u8::try_from(signer.issuer.len())?];
        text.extend(signer.issuer.as_bytes());
        params.custom_extensions = vec![CustomExtension::from_oid_content(&ISSUER, text)];
        let certificate = params.signed_by(&key, &self.issuer).context("cannot make the certificate of a signature")?;
        Ok(Made { certificate, signature: key.sign(bytes)?, at: (issued + signer.after).as_secs() })
    }

    /// What the log promises of an entry: a signature of JSON in its canonical form.
    fn promise(&self, body: &str, at: u64) -> Result<Vec<u8>> {
        let entry = json!({
            "body": base64(body.as_bytes()), "integratedTime": at, "logID": hex(&self.log_id()), "logIndex": 0,
        });
        Ok(self.log.sign(entry.to_string().as_bytes())?)
    }

    fn log_id(&self) -> [u8; 32] {
        sha256(&self.log.subject_public_key_info())
    }
}

/// The index that stands, under the tag of a manifest's digest, for the interface that lists what refers to it.
#[must_use]
pub fn referrers(manifests: &[&Value]) -> Value {
    let entries: Vec<Value> = manifests
        .iter()
        .map(|manifest| {
            let mut entry = descriptor(MANIFEST, manifest.to_string().as_bytes());
            entry["artifactType"] = manifest["artifactType"].clone();
            entry
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()})
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}
