//! Errors of single fields in documents that users write, and the syntax that Kubernetes requires of names. The patterns are for
//! the API server, the functions for the host; both accept the same texts.

use std::fmt;

/// A field with an invalid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path of the field, such as `spec.grants.children[0].group`.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl FieldError {
    /// An error at a path.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// The error with its path below another one: `key` below `spec.selector` is `spec.selector.key`.
    #[must_use]
    pub fn below(self, path: &str) -> Self {
        Self { path: format!("{path}.{}", self.path), ..self }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for FieldError {}

/// The maximum length of a DNS label.
pub const DNS_LABEL_LENGTH: usize = 63;
/// The maximum length of a DNS subdomain.
pub const DNS_SUBDOMAIN_LENGTH: usize = 253;
/// A DNS label, such as the name of a namespace.
pub const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A DNS subdomain, such as the name of a ServiceAccount.
pub(crate) const DNS_SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// An API group; empty for the core group. No wildcards.
pub(crate) const GROUP: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$";
/// A kind. No wildcards.
pub(crate) const KIND: &str = "^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?$";

/// Whether a text is a DNS label: up to 63 lower-case letters, digits and '-', a letter or digit at both ends.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= DNS_LABEL_LENGTH && has_form_of_dns_label(text)
}

/// Whether a text is a DNS label but for its length, as the pattern [`DNS_LABEL`] has it.
#[must_use]
pub fn has_form_of_dns_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether a text is a DNS subdomain: labels of lower-case letters, digits and '-', separated by dots, up to 253 characters in
/// total.
#[must_use]
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= DNS_SUBDOMAIN_LENGTH && text.split('.').all(has_form_of_dns_label)
}

/// The message for a text that is not a DNS label.
#[must_use]
pub fn not_a_dns_label(text: &str) -> String {
    format!(
        "\"{text}\" is not a DNS label: up to {DNS_LABEL_LENGTH} lower-case letters, digits and '-', a letter or digit at \
         both ends"
    )
}

/// The message for a text that is not a DNS subdomain.
#[must_use]
pub fn not_a_dns_subdomain(text: &str) -> String {
    format!(
        "\"{text}\" is not a DNS subdomain: up to {DNS_SUBDOMAIN_LENGTH} lower-case letters, digits, '-' and '.', a letter \
         or digit at both ends of each part"
    )
}

pub(crate) fn is_group(text: &str) -> bool {
    text.is_empty() || is_dns_subdomain(text)
}

pub(crate) fn is_kind(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    text.len() <= DNS_LABEL_LENGTH
        && text.bytes().all(inner)
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("minio", true)]
    #[case("0-a", true)]
    #[case("", false)]
    #[case("-a", false)]
    #[case("a-", false)]
    #[case("a.b", false)]
    #[case("A", false)]
    #[case("a123456789a123456789a123456789a123456789a123456789a123456789abc", true)]
    #[case("a123456789a123456789a123456789a123456789a123456789a123456789abcd", false)]
    fn dns_labels_are_recognized(#[case] text: &str, #[case] is: bool) {
        assert_eq!(is_dns_label(text), is);
    }

    #[rstest]
    #[case("minio.rook.io", true)]
    #[case("a", true)]
    #[case("", false)]
    #[case("a..b", false)]
    #[case("a.-b", false)]
    #[case("*", false)]
    fn dns_subdomains_are_recognized(#[case] text: &str, #[case] is: bool) {
        assert_eq!(is_dns_subdomain(text), is);
        assert_eq!(is_group(text), is || text.is_empty());
    }

    #[rstest]
    #[case("StatefulSet", true)]
    #[case("", false)]
    #[case("*", false)]
    #[case("Secret.v1", false)]
    #[case("1Kind", false)]
    #[case("Kind-", false)]
    fn kinds_are_recognized(#[case] text: &str, #[case] is: bool) {
        assert_eq!(is_kind(text), is);
    }
}
