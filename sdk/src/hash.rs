//! Short hashes for annotations on pod templates, so that changes outside of the template restart the pods.

use bartizan_contract::digest::{hex, sha256};
use serde::Serialize;
use xxhash_rust::xxh64::xxh64;

/// How many bytes of the digest are used: enough to tell configurations of one object apart.
const LENGTH: usize = 8;

/// A hash of a value's JSON: 16 hexadecimal digits, the same on every machine.
#[must_use]
pub fn config_hash(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).unwrap_or_default();
    hex(&sha256(&json)[..LENGTH])
}

/// A fingerprint that tells successive texts of one object apart, such as pod templates: 16 hexadecimal digits (XXH64). Much
/// cheaper than [`config_hash`], which matters for a whole template, but not suitable for secrets.
#[must_use]
pub fn fingerprint(text: &[u8]) -> String {
    format!("{:016x}", xxh64(text, 0))
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    /// Fingerprints are stored in annotations of running StatefulSets: with another algorithm they would restart.
    #[test]
    fn a_fingerprint_is_xxh64() {
        for (text, known) in [("", "ef46db3751d8e999"), ("a", "d24ec4f1a98c6e5b"), ("abc", "44bc2cf5ad770999")] {
            assert_eq!(fingerprint(text.as_bytes()), known);
        }
    }
}
