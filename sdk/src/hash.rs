//! A short hash of configuration, for an annotation on a pod template: what changes outside the template restarts the pods.

use std::fmt::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Bytes of the digest that are kept: enough to tell two configurations of one object apart.
const LENGTH: usize = 8;

/// A hash of a value's JSON, 16 hexadecimal characters. The same value gives the same hash on every machine.
#[must_use]
pub fn config_hash(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).unwrap_or_default();
    Sha256::digest(&json).iter().take(LENGTH).fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Tells two texts apart that one object has one after the other, as two pod templates: 16 hexadecimal characters (FNV-1a). A
/// tenth of the cost of [`config_hash`], which matters over a whole template; not for secrets.
#[must_use]
pub fn fingerprint(text: &[u8]) -> String {
    hexadecimal(fnv(FNV_BASIS, text))
}

/// The [`fingerprint`] of each of several texts, two of them in the time of one.
#[must_use]
pub fn fingerprints(texts: &[Vec<u8>]) -> Vec<String> {
    let mut hashes = Vec::with_capacity(texts.len());
    for pair in texts.chunks(2) {
        match pair {
            [one, other] => hashes.extend(fnv_of_two(one, other).map(hexadecimal)),
            rest => hashes.extend(rest.iter().map(|text| fingerprint(text))),
        }
    }
    hashes
}

fn hexadecimal(hash: u64) -> String {
    format!("{hash:016x}")
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// Each step waits for the one before, but not for those of the other text.
fn fnv_of_two(one: &[u8], other: &[u8]) -> [u64; 2] {
    let both = one.len().min(other.len());
    let ((one, one_rest), (other, other_rest)) = (one.split_at(both), other.split_at(both));
    let (mut first, mut second) = (FNV_BASIS, FNV_BASIS);
    for (one, other) in one.iter().zip(other) {
        first = fnv_step(first, *one);
        second = fnv_step(second, *other);
    }
    [fnv(first, one_rest), fnv(second, other_rest)]
}

fn fnv(hash: u64, text: &[u8]) -> u64 {
    text.iter().fold(hash, |hash, byte| fnv_step(hash, *byte))
}

fn fnv_step(hash: u64, byte: u8) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    (hash ^ u64::from(byte)).wrapping_mul(PRIME)
}

#[cfg(test)]
mod tests {
    use super::{fingerprint, fingerprints};

    /// They stand in annotations of what runs: another value would restart it.
    #[test]
    fn a_fingerprint_is_fnv_1a_whatever_is_beside_it() {
        let texts = ["", "a", "foobar"].map(|text| text.as_bytes().to_vec());
        let known = ["cbf29ce484222325", "af63dc4c8601ec8c", "85944171f73967e8"];
        for (index, text) in texts.iter().enumerate() {
            assert_eq!(fingerprint(text), known[index]);
            for (other, beside) in texts.iter().enumerate() {
                assert_eq!(fingerprints(&[text.clone(), beside.clone()]), [known[index], known[other]]);
            }
        }
        assert_eq!(fingerprints(&texts), known);
    }
}
