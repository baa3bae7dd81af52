//! A short hash of configuration, for an annotation on a pod template: what changes outside the template restarts the pods.

use bartizan_contract::digest::{hex, sha256};
use serde::Serialize;
use xxhash_rust::xxh64::xxh64;

/// Bytes of the digest that are kept: enough to tell two configurations of one object apart.
const LENGTH: usize = 8;

/// A hash of a value's JSON, 16 hexadecimal characters. The same value gives the same hash on every machine.
#[must_use]
pub fn config_hash(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).unwrap_or_default();
    hex(&sha256(&json)[..LENGTH])
}

/// Tells two texts apart that one object has one after the other, as two pod templates: 16 hexadecimal characters (XXH64). A
/// fraction of the cost of [`config_hash`], which matters over a whole template; not for secrets.
#[must_use]
pub fn fingerprint(text: &[u8]) -> String {
    format!("{:016x}", xxh64(text, 0))
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    /// They stand in annotations of what runs: another value would restart it.
    #[test]
    fn a_fingerprint_is_xxh64() {
        for (text, known) in [("", "ef46db3751d8e999"), ("a", "d24ec4f1a98c6e5b"), ("abc", "44bc2cf5ad770999")] {
            assert_eq!(fingerprint(text.as_bytes()), known);
        }
    }
}
