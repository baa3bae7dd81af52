//! Comparable versions of the software that providers run.

use std::fmt;

/// A version such as `4.1.3`; a missing patch number is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
    /// The patch number.
    pub patch: u32,
}

impl Version {
    /// Parses two or three numbers; nothing if the text is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse::<u32>().ok()).flatten()
        });
        let (major, minor) = (parts.next()??, parts.next()??);
        let patch = parts.next().unwrap_or(Some(0))?;
        parts.next().is_none().then_some(Self { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("3.11.1", Some((3, 11, 1)))]
    #[case("4.1", Some((4, 1, 0)))]
    #[case("4", None)]
    #[case("4.1.2.3", None)]
    #[case("4.x", None)]
    #[case("", None)]
    #[case("4.+1", None)]
    #[case("4.1.99999999999", None)]
    fn a_version_has_two_or_three_numbers(#[case] text: &str, #[case] expected: Option<(u32, u32, u32)>) {
        let expected = expected.map(|(major, minor, patch)| Version { major, minor, patch });
        assert_eq!(Version::parse(text), expected);
    }
}
