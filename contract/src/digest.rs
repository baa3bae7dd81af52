//! SHA-256 digests, written as OCI registries write them: `sha256:` and 64 hexadecimal digits in lower case.

use sha2::{Digest as _, Sha256};

/// What every digest begins with.
const PREFIX: &str = "sha256:";

/// Regular expression of a digest, for JSON schemas.
pub const PATTERN: &str = "^sha256:[0-9a-f]{64}$";

/// SHA-256 of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 of some bytes as 64 hexadecimal digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// Digest of some bytes, as `sha256:` and 64 hexadecimal digits.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    format_digest(&sha256(bytes))
}

/// Digest whose SHA-256 is known already.
#[must_use]
pub fn format_digest(sha256: &[u8; 32]) -> String {
    format!("{PREFIX}{}", hex(sha256))
}

/// The 64 hexadecimal digits of a digest, which are safe as the name of a file; `None` if it is not a digest.
#[must_use]
pub fn digits(digest: &str) -> Option<&str> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digest.strip_prefix(PREFIX).filter(|digits| digits.len() == 64 && digits.bytes().all(is_hex))
}

/// The SHA-256 that a digest stands for; `None` if it is not a digest.
#[must_use]
pub fn parse_digest(digest: &str) -> Option<[u8; 32]> {
    let digits = digits(digest)?;
    let mut sha256 = [0; 32];
    for (index, byte) in sha256.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(sha256)
}

/// Bytes as hexadecimal digits in lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibble = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [nibble(byte >> 4), nibble(byte & 0xf)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sha256_and_64_digits() {
        let digest = format!("sha256:{}ff", "0a".repeat(31));
        let bytes = parse_digest(&digest).unwrap();
        assert_eq!((bytes[0], bytes[31]), (10, 255));
        assert_eq!(format_digest(&bytes), digest);
        for wrong in [
            "",
            "sha256:",
            "sha256:../../etc/passwd",
            &digest[7..],
            &digest[..70],
            &digest.replace("ff", "fg"),
            &digest.replace("ff", "FF"),
            &format!("{digest}0"),
        ] {
            assert_eq!(parse_digest(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_digest_is_the_sha256_of_the_bytes() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), known);
        assert_eq!(digest_of(b"abc"), format!("sha256:{known}"));
        assert_eq!(digits(&digest_of(b"abc")), Some(known));
    }
}
