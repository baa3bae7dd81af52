//! Who may have signed a module, and whether a signature is theirs: by a key, or by a certificate that an authority gave for it. What the
//! certificate, the log and the time say is checked by Sigstore's own library. No I/O.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bartizan_contract::digest::{digits, sha256};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use p256::pkcs8::der::pem::decode_vec;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::{Bundle, DsseEnvelope, MediaType, Sha256Hash, SignatureContent, Statement};
use sigstore_verify::{CertificatePolicy, VerificationPolicy, Verifier};

use crate::error::TrustedRootError;
use crate::key::PublicKey;
use crate::signature::{self, Certified, Signed};

/// What a bundle with the signature of an image says of it.
pub(crate) const PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
/// The form of a statement in a bundle.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// The form of a bundle into which an older signature is brought.
const OLDER_BUNDLE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.1";
/// The same for one that is in no log: that form need not have been promised anything by one.
const UNLOGGED_BUNDLE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.2";
/// What a trusted root says that it is.
const TRUSTED_ROOT: &str = "application/vnd.dev.sigstore.trustedroot";
/// Most certificates between that of a signature and the root.
const MOST_CERTIFICATES: usize = 8;

/// Who may have signed a module: one of them must have.
pub enum Signers {
    /// Whoever has one of these keys.
    Keys(Vec<PublicKey>),
    /// Somebody without a key of their own.
    Keyless(Box<Keyless>),
}

/// Somebody to whom an authority gives a certificate for one signature, when an issuer of OpenID Connect tells it who they are.
pub struct Keyless {
    issuer: String,
    identity: String,
    policy: VerificationPolicy,
    verifier: Verifier,
}

impl Keyless {
    /// With the authorities and logs of a trusted root (JSON). What it lists is insisted on: a log, that the signature was entered; a
    /// certificate log, that the certificate was.
    ///
    /// # Errors
    /// If it is no trusted root, or names no authority.
    pub fn new(issuer: &str, identity: &str, trusted_root: &str) -> Result<Self, TrustedRootError> {
        let unreadable = |error: &dyn std::fmt::Display| TrustedRootError::Unreadable(error.to_string());
        check_fields(trusted_root).map_err(|error| unreadable(&error))?;
        let root = TrustedRoot::from_json(trusted_root).map_err(|error| unreadable(&error))?;
        if root.certificate_authorities.is_empty() {
            return Err(TrustedRootError::NoAuthority);
        }
        if root.tlogs.is_empty() && root.timestamp_authorities.is_empty() {
            return Err(TrustedRootError::NoTime);
        }
        let verifier = Verifier::new(&root).map_err(|error| unreadable(&error))?;
        let mut policy = VerificationPolicy::new(identity, issuer);
        if root.tlogs.is_empty() {
            // Then a time stamp must say when it was signed.
            policy = policy.skip_tlog_unsafe();
        }
        if root.ctlogs.is_empty() {
            policy = policy.skip_sct();
        }
        Ok(Self { issuer: issuer.to_owned(), identity: identity.to_owned(), policy, verifier })
    }

    /// What is not checked, since the trusted root lists nobody who could say it; for people.
    #[must_use]
    pub fn unchecked(&self) -> Vec<&'static str> {
        let without_log = (!self.policy.verifies_tlog()).then_some("that the signature is in a log");
        let without_sct = matches!(self.policy.certificate(), CertificatePolicy::Verify { verify_sct: false, .. })
            .then_some("that the certificate is in a log");
        without_log.into_iter().chain(without_sct).collect()
    }

    fn verify(&self, bundle: &Bundle, digest: Sha256Hash) -> Result<(), String> {
        let verified = self.verifier.verify(digest, bundle, &self.policy);
        verified.map(drop).map_err(|error| error.to_string())
    }
}

impl Signers {
    /// Whether they have made a signature of the older form, of this manifest. If not, why.
    pub(crate) fn signed(&self, payload: &[u8], signed: &Signed, manifest: &str) -> Result<(), String> {
        match self {
            Self::Keys(keys) => by_one_of(keys, payload, &signed.signature)?,
            Self::Keyless(keyless) => {
                let certified = signed.keyless.as_ref().ok_or("it was made with a key")?;
                let is_logged = keyless.policy.verifies_tlog();
                let bundle = bundle_of(payload, &signed.signature, certified, is_logged).ok_or("it cannot be read")?;
                guarded(|| {
                    let bundle = Bundle::from_json(&bundle.to_string()).map_err(|error| error.to_string())?;
                    keyless.verify(&bundle, Sha256Hash::new(sha256(payload)))
                })?;
            }
        }
        let said = "it is one of another manifest".to_owned();
        if signature::names(payload, manifest) { Ok(()) } else { Err(said) }
    }

    /// The same of a bundle.
    pub(crate) fn signed_bundle(&self, bundle: &[u8], manifest: &str) -> Result<(), String> {
        guarded(|| {
            let bundle: Bundle = serde_json::from_slice(bundle).map_err(|error| error.to_string())?;
            if bundle.media_type != MediaType::Bundle0_3 {
                return Err(format!("it is a bundle of an older form ({})", bundle.media_type.as_str()));
            }
            let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
                return Err("it has no statement".to_owned());
            };
            let digest = digits(manifest).and_then(|digits| Sha256Hash::from_hex(digits).ok());
            let digest = digest.ok_or("the manifest's digest is not SHA-256")?;
            match self {
                Self::Keys(keys) => by_one_of(keys, &envelope.pae(), envelope.signature.sig.as_bytes())?,
                Self::Keyless(keyless) => keyless.verify(&bundle, digest)?,
            }
            states(envelope, &digest)
        })
    }

    /// Names them, for messages.
    pub(crate) fn named(&self) -> String {
        match self {
            Self::Keys(keys) => {
                let names: Vec<String> = keys.iter().map(PublicKey::fingerprint).collect();
                match names.as_slice() {
                    [one] => format!("the key {one}"),
                    several => format!("any of the keys {}", several.join(", ")),
                }
            }
            Self::Keyless(keyless) => format!("{} of {}", keyless.identity, keyless.issuer),
        }
    }
}

fn by_one_of(keys: &[PublicKey], bytes: &[u8], signature: &[u8]) -> Result<(), String> {
    let is_signed = keys.iter().any(|key| key.has_signed(bytes, signature));
    if is_signed { Ok(()) } else { Err("it is by another key".to_owned()) }
}

/// The fields of a trusted root, all of which are known here: one that is spelt in another way would go unseen, and what it lists unchecked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    media_type: String,
    #[serde(default, rename = "tlogs")]
    _tlogs: IgnoredAny,
    #[serde(default, rename = "certificateAuthorities")]
    _certificate_authorities: IgnoredAny,
    #[serde(default, rename = "ctlogs")]
    _ctlogs: IgnoredAny,
    #[serde(default, rename = "timestampAuthorities")]
    _timestamp_authorities: IgnoredAny,
}

fn check_fields(trusted_root: &str) -> Result<(), String> {
    let Fields { media_type, .. } = serde_json::from_str(trusted_root).map_err(|error| error.to_string())?;
    if media_type.starts_with(TRUSTED_ROOT) { Ok(()) } else { Err(format!("mediaType is {media_type}")) }
}

/// Whether a statement, whose signature was checked, is a signature of this manifest and no other statement about it.
fn states(envelope: &DsseEnvelope, digest: &Sha256Hash) -> Result<(), String> {
    if envelope.payload_type != STATEMENT {
        return Err(format!("it is {}, not {STATEMENT}", envelope.payload_type));
    }
    let statement: Statement =
        serde_json::from_slice(envelope.payload.as_bytes()).map_err(|error| error.to_string())?;
    if statement.predicate_type != PREDICATE {
        return Err(format!("it is a statement {}, not {PREDICATE}", statement.predicate_type));
    }
    if statement.matches_sha256(digest) { Ok(()) } else { Err("it is one of another manifest".to_owned()) }
}

/// What strangers wrote is read by parsers of others: one that panics says no more than that.
fn guarded(check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| Err("it cannot be read".to_owned()))
}

/// What a log promised when the signature was entered.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Logged {
    signed_entry_timestamp: String,
    payload: LoggedPayload,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoggedPayload {
    body: String,
    integrated_time: i64,
    log_index: i64,
    #[serde(rename = "logID")]
    log_id: String,
}

#[derive(Deserialize)]
struct Stamped {
    #[serde(rename = "SignedRFC3161Timestamp")]
    timestamp: String,
}

/// What kind of entry a log has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    kind: String,
    api_version: String,
}

/// An older signature as a bundle. What a log says is left out where none is trusted.
fn bundle_of(payload: &[u8], signature: &[u8], certified: &Certified, is_logged: bool) -> Option<Value> {
    let mut certificates = certificates(&certified.certificate)?;
    if let Some(chain) = &certified.chain {
        certificates.extend(self::certificates(chain)?);
    }
    let mut entries = Vec::new();
    if let Some(logged) = certified.logged.as_ref().filter(|_| is_logged) {
        let Logged { signed_entry_timestamp, payload } = serde_json::from_str(logged).ok()?;
        let Body { kind, api_version } = serde_json::from_slice(&BASE64_STANDARD.decode(&payload.body).ok()?).ok()?;
        let log_id = Sha256Hash::from_hex(&payload.log_id).ok()?;
        entries.push(json!({
            "logIndex": payload.log_index.to_string(), "logId": {"keyId": BASE64_STANDARD.encode(log_id.as_bytes())},
            "kindVersion": {"kind": kind, "version": api_version}, "integratedTime": payload.integrated_time.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": signed_entry_timestamp}, "canonicalizedBody": payload.body,
        }));
    }
    let mut stamps = Vec::new();
    if let Some(stamped) = &certified.stamped {
        let Stamped { timestamp } = serde_json::from_str(stamped).ok()?;
        stamps.push(json!({"signedTimestamp": timestamp}));
    }
    Some(json!({
        "mediaType": if entries.is_empty() { UNLOGGED_BUNDLE } else { OLDER_BUNDLE },
        "verificationMaterial": {
            "x509CertificateChain": {"certificates": certificates}, "tlogEntries": entries,
            "timestampVerificationData": {"rfc3161Timestamps": stamps},
        },
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": BASE64_STANDARD.encode(sha256(payload))},
            "signature": BASE64_STANDARD.encode(signature),
        },
    }))
}

/// The certificates of a PEM file.
fn certificates(pem: &str) -> Option<Vec<Value>> {
    const END: &str = "-----END CERTIFICATE-----";
    let all = pem.split_inclusive(END).map(str::trim).filter(|one| !one.is_empty());
    let all = all.take(MOST_CERTIFICATES).map(|one| {
        let (_, der) = decode_vec(one.as_bytes()).ok()?;
        Some(json!({"rawBytes": BASE64_STANDARD.encode(der)}))
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use bartizan_contract::digest::digest_of;

    use super::*;
    use crate::key::tests::key;
    use crate::signature::{sign, signed};

    fn keys(of: &[u8]) -> Signers {
        Signers::Keys(of.iter().map(|of| key(*of).public()).collect())
    }

    fn manifest(text: &str) -> String {
        digest_of(text.as_bytes())
    }

    #[test]
    fn a_signature_counts_for_its_manifest_and_key_alone() {
        let wanted = manifest("a");
        let (payload, made) = sign("example.com/a", &wanted, &key(9), None);
        let signed = signed(&made.manifest).remove(0);
        let verifies = |payload: &[u8], signed: &Signed, of: &str, keys: &Signers| keys.signed(payload, signed, of);
        assert_eq!(verifies(&payload, &signed, &wanted, &keys(&[9])), Ok(()));
        assert_eq!(verifies(&payload, &signed, &wanted, &keys(&[7, 9])), Ok(()), "one of several");
        assert!(verifies(&payload, &signed, &manifest("b"), &keys(&[9])).is_err(), "another manifest");
        assert!(verifies(&payload, &signed, &wanted, &keys(&[])).is_err(), "no key");
        assert!(verifies(&payload, &signed, &wanted, &keys(&[7])).is_err(), "another key");
        let mut changed = payload.clone();
        changed.push(b' ');
        assert!(verifies(&changed, &signed, &wanted, &keys(&[9])).is_err(), "another payload");
        for nonsense in [&b""[..], b"AAAA"] {
            let signed = Signed { signature: nonsense.to_vec(), ..signed.clone() };
            assert!(verifies(&payload, &signed, &wanted, &keys(&[9])).is_err());
        }
        // A signed text that is no signature of an image.
        let other =
            format!("{{\"critical\":{{\"image\":{{\"docker-manifest-digest\":\"{wanted}\"}},\"type\":\"x\"}}}}");
        let signed = Signed { signature: key(9).sign(other.as_bytes()), ..signed };
        assert!(verifies(other.as_bytes(), &signed, &wanted, &keys(&[9])).is_err());
    }

    /// A bundle as `cosign sign --key` writes it, with what it says of this manifest.
    fn bundle(predicate: &str, of: &str, payload_type: &str) -> Vec<u8> {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": digits(of)}}],
            "predicateType": predicate, "predicate": {},
        });
        let statement = statement.to_string();
        let pae = format!("DSSEv1 {} {payload_type} {} {statement}", payload_type.len(), statement.len());
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "a"}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": BASE64_STANDARD.encode(&statement), "payloadType": payload_type,
                "signatures": [{"sig": BASE64_STANDARD.encode(key(9).sign(pae.as_bytes()))}],
            },
        });
        bundle.to_string().into_bytes()
    }

    #[test]
    fn a_bundle_counts_for_its_manifest_and_key_alone_and_if_it_is_a_signature() {
        let wanted = manifest("a");
        let ours = bundle(PREDICATE, &wanted, STATEMENT);
        assert_eq!(keys(&[9]).signed_bundle(&ours, &wanted), Ok(()));
        let refused = |signers: &Signers, bundle: &[u8], of: &str| signers.signed_bundle(bundle, of).unwrap_err();
        assert_eq!(refused(&keys(&[7]), &ours, &wanted), "it is by another key");
        assert_eq!(refused(&keys(&[9]), &ours, &manifest("b")), "it is one of another manifest");
        let provenance = bundle("https://slsa.dev/provenance/v1", &wanted, STATEMENT);
        assert!(refused(&keys(&[9]), &provenance, &wanted).starts_with("it is a statement https://slsa.dev/"));
        assert!(refused(&keys(&[9]), &bundle(PREDICATE, &wanted, "text/plain"), &wanted).contains("text/plain"));
        for nonsense in ["", "{}", "[]", "nonsense"] {
            assert!(keys(&[9]).signed_bundle(nonsense.as_bytes(), &wanted).is_err());
        }
    }

    #[test]
    fn a_trusted_root_names_an_authority() {
        let refused = |root: &str| Keyless::new("i", "a", root).err().map(|error| error.to_string());
        let empty = json!({"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}).to_string();
        assert_eq!(refused(&empty).as_deref(), Some("it names no certificate authority"));
        for other in [empty.replace("trustedroot", "bundle"), empty.replace('{', "{\"ctLogs\": [],")] {
            assert!(refused(&other).is_some_and(|error| error.starts_with("it is no trusted root of Sigstore: ")));
        }
        assert!(refused("nonsense").is_some_and(|error| error.starts_with("it is no trusted root of Sigstore: ")));
    }
}
