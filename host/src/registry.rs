//! Modules in OCI registries: fetched for Providers and by `bartizan pull`, put there by `bartizan push`. A reference is
//! resolved once, to a manifest whose digest is checked; what that names is fetched by its digest and checked, too.

mod cli;
mod client;
mod credentials;
mod failure;
mod manifest;
mod store;

pub(crate) use cli::{PullArgs, PushArgs, pull, push};
pub(crate) use client::{Authorities, Registry, parse_reference};
pub(crate) use credentials::{Login, Place, login};
pub(crate) use failure::Failure;
pub(crate) use store::{Remembered, Store};

use crate::telemetry::recorder::sha256_hex;

/// Digest of bytes, as `sha256:` and hexadecimal digits.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

/// The hexadecimal digits of a SHA-256 digest, if it is one: only that may become the name of a file.
fn sha256(digest: &str) -> Option<&str> {
    let is_hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(is_hex))
}
