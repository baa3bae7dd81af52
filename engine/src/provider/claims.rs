//! Who serves a parent that several Providers claim: the older one, then the one whose name comes first.

use std::collections::BTreeMap;

use bartizan_contract::GroupKind;
use bartizan_contract::field::FieldError;
use bartizan_contract::provider::{ParentClaim, Provider};
use jiff::Timestamp;

use super::grant_check;
use crate::object::Observed;

/// What one Provider claims. It holds also while the Provider is suspended, or another would take its parents over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Name of the Provider.
    provider: String,
    /// When it was made; one that is not in the cluster yet is the youngest.
    created: Option<Timestamp>,
    /// Namespaces of its parents; empty: all.
    namespaces: Vec<String>,
    /// Kinds, each with a selector that was checked.
    parents: Vec<ParentClaim>,
}

/// Who serves a parent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arbitration<'a> {
    /// The Provider that serves it; `None` if none claims it.
    pub serves: Option<&'a str>,
    /// The Providers that claim it too, and say so with a condition.
    pub conflicts: Vec<&'a str>,
}

impl Claim {
    /// What a Provider claims of the kinds that its module owns.
    ///
    /// # Errors
    /// If it claims a kind that the module does not own, or with a selector that Kubernetes would refuse.
    pub fn new(provider: &Provider, owned: &[GroupKind]) -> Result<Self, FieldError> {
        Ok(Self {
            provider: provider.metadata.name.clone(),
            created: provider.metadata.creation_timestamp.as_ref().and_then(|time| time.parse().ok()),
            namespaces: provider.spec.namespaces.clone(),
            parents: grant_check::parents(&provider.spec, owned)?,
        })
    }

    /// Name of the Provider.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The kinds that it claims.
    pub fn kinds(&self) -> impl Iterator<Item = GroupKind> {
        self.parents.iter().map(ParentClaim::group_kind)
    }

    /// Whether it claims every object of a kind.
    pub fn claims_all(&self, kind: &GroupKind) -> bool {
        self.namespaces.is_empty()
            && self.parents.iter().any(|claim| claim.group_kind() == *kind && claim.selector.is_empty())
    }

    /// Whether it goes before another.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.rank() < other.rank()
    }

    fn covers(&self, kind: &GroupKind, namespace: Option<&str>, labels: &BTreeMap<String, String>) -> bool {
        let is_here = |name: &String| namespace == Some(name);
        (self.namespaces.is_empty() || self.namespaces.iter().any(is_here))
            && self.parents.iter().any(|claim| claim.group_kind() == *kind && claim.selector.matches(labels))
    }

    /// The smaller, the stronger.
    fn rank(&self) -> (bool, Option<Timestamp>, &str) {
        (self.created.is_none(), self.created, &self.provider)
    }
}

/// The namespaces in which a Provider is served by a host that serves only some, too; for both, none means all. `None`: they have
/// none in common, and nothing is served.
pub fn namespaces(host: &[String], own: &[String]) -> Option<Vec<String>> {
    match (host, own) {
        ([], all_or_some) | (all_or_some, []) => Some(all_or_some.to_vec()),
        (host, own) => {
            let both: Vec<String> = own.iter().filter(|name| host.contains(name)).cloned().collect();
            (!both.is_empty()).then_some(both)
        }
    }
}

/// Who serves a parent of a kind, in a namespace (or none), with these labels.
pub fn arbitrate<'a>(
    claims: &'a [Claim],
    kind: &GroupKind,
    namespace: Option<&str>,
    labels: &BTreeMap<String, String>,
) -> Arbitration<'a> {
    let mut claiming: Vec<&Claim> = claims.iter().filter(|claim| claim.covers(kind, namespace, labels)).collect();
    claiming.sort_by_key(|claim| claim.rank());
    let mut names = claiming.into_iter().map(|claim| claim.provider.as_str());
    Arbitration { serves: names.next(), conflicts: names.collect() }
}

/// Whether a Provider serves every parent of a kind, since it claims all, and nobody else claims any.
pub fn claims_alone(claims: &[Claim], provider: &str, kind: &GroupKind) -> bool {
    let is_of_kind = |claim: &&Claim| claim.kinds().any(|claimed| claimed == *kind);
    let mut claiming = claims.iter().filter(is_of_kind);
    let first = claiming.next().is_some_and(|claim| claim.provider == provider && claim.claims_all(kind));
    first && claiming.next().is_none()
}

/// The Provider that serves a parent, among all that claim it.
pub fn serves<'a>(claims: &'a [Claim], parent: &Observed) -> Option<&'a str> {
    let kind = GroupKind::new(&parent.key.group, &parent.key.kind);
    let labels = parent.labels.iter().cloned().collect();
    arbitrate(claims, &kind, parent.key.namespace.as_deref(), &labels).serves
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OLD: &str = "2026-01-01T00:00:00Z";
    const NEW: &str = "2026-01-02T00:00:00Z";

    fn store() -> GroupKind {
        GroupKind::new("minio.rook.io", "ObjectStore")
    }

    fn provider(name: &str, created: Option<&str>, parents: Value, namespaces: Value) -> Provider {
        serde_json::from_value(json!({
            "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider",
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"module": {"file": "minio.wasm"}, "parents": parents, "namespaces": namespaces},
        }))
        .unwrap()
    }

    fn claim(name: &str, created: Option<&str>, parents: Value, namespaces: Value) -> Claim {
        Claim::new(&provider(name, created, parents, namespaces), &[store()]).unwrap()
    }

    /// A Provider that claims all stores.
    fn all(name: &str, created: Option<&str>) -> Claim {
        claim(name, created, json!([]), json!([]))
    }

    /// A Provider that claims stores by a requirement on the label `tier`.
    fn some(name: &str, created: &str, operator: &str, values: Value) -> Claim {
        let expression = json!({"key": "tier", "operator": operator, "values": values});
        let parents =
            json!([{"group": "minio.rook.io", "kind": "ObjectStore", "selector": {"matchExpressions": [expression]}}]);
        claim(name, Some(created), parents, json!([]))
    }

    fn decide(claims: &[Claim], namespace: Option<&str>, labels: Value) -> (Option<String>, Vec<String>) {
        let labels = serde_json::from_value(labels).unwrap();
        let decided = arbitrate(claims, &store(), namespace, &labels);
        // Whatever the order of the claims.
        let reversed: Vec<Claim> = claims.iter().rev().cloned().collect();
        assert_eq!(arbitrate(&reversed, &store(), namespace, &labels), decided);
        (decided.serves.map(str::to_owned), decided.conflicts.into_iter().map(str::to_owned).collect())
    }

    fn verdict(serves: Option<&str>, conflicts: &[&str]) -> (Option<String>, Vec<String>) {
        (serves.map(str::to_owned), conflicts.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn the_older_serves_and_then_the_first_by_name() {
        for (claims, serves, conflicts) in [
            (vec![], None, vec![]),
            (vec![all("a", None)], Some("a"), vec![]),
            (vec![all("a", Some(NEW)), all("b", Some(OLD))], Some("b"), vec!["a"]),
            (vec![all("b", Some(OLD)), all("a", Some(OLD))], Some("a"), vec!["b"]),
            (vec![all("a", None), all("b", Some(NEW))], Some("b"), vec!["a"]),
            (vec![all("c", None), all("a", None), all("b", Some(OLD))], Some("b"), vec!["a", "c"]),
        ] {
            assert_eq!(decide(&claims, Some("x"), json!({})), verdict(serves, &conflicts), "{claims:?}");
        }
    }

    #[test]
    fn a_provider_is_alone_if_it_claims_all_and_nobody_else_claims_any() {
        let (mine, here) = (all("a", Some(OLD)), claim("a", Some(OLD), json!([]), json!(["x"])));
        for (claims, alone) in [
            (vec![mine.clone()], true),
            (vec![], false),
            (vec![all("b", Some(OLD))], false),
            (vec![here], false),
            (vec![mine.clone(), some("b", NEW, "In", json!(["gold"]))], false),
            (vec![some("a", OLD, "In", json!(["gold"]))], false),
        ] {
            assert_eq!(claims_alone(&claims, "a", &store()), alone, "{claims:?}");
        }
    }

    #[test]
    fn providers_share_a_kind_by_selector() {
        let claims = [
            some("gold", OLD, "In", json!(["gold"])),
            some("rest", NEW, "NotIn", json!(["gold", "none"])),
            some("any-tier", NEW, "Exists", json!([])),
        ];
        for (labels, serves, conflicts) in [
            (json!({"tier": "gold"}), Some("gold"), vec!["any-tier"]),
            (json!({"tier": "tin"}), Some("any-tier"), vec!["rest"]),
            (json!({}), Some("rest"), vec![]),
            (json!({"tier": "none"}), Some("any-tier"), vec![]),
        ] {
            assert_eq!(decide(&claims, Some("x"), labels.clone()), verdict(serves, &conflicts), "{labels}");
        }
    }

    #[test]
    fn providers_share_a_kind_by_namespace() {
        let claims = [claim("here", Some(OLD), json!([]), json!(["x"])), all("everywhere", Some(NEW))];
        assert_eq!(decide(&claims, Some("x"), json!({})), verdict(Some("here"), &["everywhere"]));
        assert_eq!(decide(&claims, Some("y"), json!({})), verdict(Some("everywhere"), &[]));
        assert_eq!(decide(&claims, None, json!({})), verdict(Some("everywhere"), &[]));
    }

    #[test]
    fn a_provider_is_served_where_both_the_host_and_its_spec_allow_it() {
        let namespaces = |host: &[&str], own: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            namespaces(&owned(host), &owned(own))
        };
        let some = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        for (host, own, both) in [
            (&[][..], &[][..], some(&[])),
            (&["a", "b"], &[], some(&["a", "b"])),
            (&[], &["b"], some(&["b"])),
            (&["a", "b"], &["b", "c"], some(&["b"])),
            (&["a"], &["c"], None),
        ] {
            assert_eq!(namespaces(host, own), both, "{host:?} {own:?}");
        }
    }

    #[test]
    fn another_kind_is_nobodys() {
        let claims = [all("a", Some(OLD))];
        let other = GroupKind::new("minio.rook.io", "Tenant");
        assert_eq!(arbitrate(&claims, &other, Some("x"), &BTreeMap::new()), Arbitration::default());
    }

    #[test]
    fn a_claim_that_cannot_hold_is_refused() {
        let parents = |kind: &str, operator: &str| {
            let selector = json!({"matchExpressions": [{"key": "tier", "operator": operator}]});
            json!([{"group": "minio.rook.io", "kind": kind, "selector": selector}])
        };
        for (parents, expected) in [
            (
                parents("Tenant", "Exists"),
                "spec.parents[0]: the module does not own Tenant.minio.rook.io; it owns ObjectStore.minio.rook.io",
            ),
            (
                parents("ObjectStore", "In"),
                "spec.parents[0].selector.matchExpressions[0].values: In needs at least one value",
            ),
        ] {
            let refused = Claim::new(&provider("a", None, parents, json!([])), &[store()]).unwrap_err();
            assert_eq!(refused.to_string(), expected);
        }
    }
}
