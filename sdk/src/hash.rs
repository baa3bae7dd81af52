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
