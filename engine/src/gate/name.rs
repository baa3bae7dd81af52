//! Names of objects.

use bartizan_contract::Kind;
use bartizan_contract::field::{
    DNS_SUBDOMAIN_LENGTH, is_dns_label, is_dns_subdomain, not_a_dns_label, not_a_dns_subdomain,
};

/// API groups of built-in kinds, all of whose names are DNS subdomains but for those of Namespaces and Services.
const SUBDOMAINS: [&str; 9] = [
    "",
    "apps",
    "autoscaling",
    "batch",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "policy",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Whether an object of this kind can have this name, which becomes a part of URLs. The API server checks what is not known here: names
/// of other kinds may be any path segment, as those of Roles are.
pub(super) fn check(kind: &Kind, name: &str) -> Result<(), String> {
    let is_segment = || {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"/%?#".contains(&byte);
        name.len() <= DNS_SUBDOMAIN_LENGTH && name != "." && name != ".." && name.bytes().all(is_plain)
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace" | "Service") if is_dns_label(name) => Ok(()),
        ("", "Namespace" | "Service") => Err(not_a_dns_label(name)),
        (group, _) if SUBDOMAINS.contains(&group) && is_dns_subdomain(name) => Ok(()),
        (group, _) if SUBDOMAINS.contains(&group) => Err(not_a_dns_subdomain(name)),
        _ if is_segment() => Ok(()),
        _ => Err(format!("{name:?} is not a valid object name")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("rbac.authorization.k8s.io", "Role", "system:reader", true)]
    #[case("rbac.authorization.k8s.io", "Role", "a b", false)]
    #[case("rbac.authorization.k8s.io", "Role", "..", false)]
    #[case("rbac.authorization.k8s.io", "Role", "a%2fb", false)]
    #[case("", "Service", "a.b", false)]
    #[case("", "Service", "1-a", true)]
    #[case("", "ConfigMap", "a.b", true)]
    #[case("", "ConfigMap", "A", false)]
    #[case("", "ConfigMap", "\u{fc}", false)]
    #[case("example.com", "Gizmo", "a\nb", false)]
    fn a_name_must_be_valid_for_its_kind(
        #[case] group: &str,
        #[case] kind: &str,
        #[case] name: &str,
        #[case] is_valid: bool,
    ) {
        assert_eq!(check(&Kind::new(group, "v1", kind), name).is_ok(), is_valid);
    }
}
