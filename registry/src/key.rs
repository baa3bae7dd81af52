//! Keys that sign modules: those of `cosign generate-key-pair`, ECDSA on P-256 with SHA-256. No I/O.

use bartizan_contract::digest::digest_of;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use p256::SecretKey;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{DerSignature, Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePublicKey as _};
use serde::Deserialize;

use crate::error::KeyError;

/// PEM label of a private key that cosign has encrypted; the older one, too.
const ENCRYPTED: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];
/// Most work that the file of a key may ask for: what cosign writes takes 2^15 or 2^16 steps.
const MOST_SCRYPT_STEPS: u32 = 1 << 20;

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

    /// Whether it has made this signature (DER) of these bytes.
    pub(crate) fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        Signature::from_der(signature).is_ok_and(|signature| self.0.verify(bytes, &signature).is_ok())
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

    /// Its signature (DER) of these bytes.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.0.sign(bytes);
        signature.as_bytes().to_vec()
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

#[cfg(test)]
pub(crate) mod tests {
    use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
    use serde_json::json;

    use super::*;

    /// As `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` writes it.
    fn plain(of: u8) -> String {
        let key = SecretKey::from_slice(&[of; 32]).unwrap();
        key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
    }

    /// A key, each time the same of the same number.
    pub(crate) fn key(of: u8) -> PrivateKey {
        PrivateKey::parse(&plain(of), b"").unwrap()
    }

    /// A key as `cosign generate-key-pair` writes it.
    #[test]
    fn a_key_of_cosign_needs_its_password() {
        let plain = plain(9);
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
        assert_eq!(PrivateKey::parse(&encrypted(16), b"secret").unwrap().public(), self::key(9).public());
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
