//! Grants of a provider, resolved against the kinds that the cluster serves.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_contract::Kind;
use bartizan_contract::provider::{self, GrantedNamespaces, PodLevel};

use crate::object::{ObjectKey, Observed};

/// The kinds that a provider may write and read, and the bounds of its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Granted kinds of children.
    pub children: BTreeMap<Kind, Grant>,
    /// Where children may be whose kinds only an earlier version wrote.
    pub former: BTreeMap<Kind, Grant>,
    /// Granted kinds of related objects.
    pub related: BTreeMap<Kind, Grant>,
    /// Bounds of its pods.
    pub pods: PodBounds,
}

impl Grants {
    /// The namespaces that a kind of children is granted in by name.
    #[must_use]
    pub fn named(&self, kind: &Kind) -> BTreeSet<&str> {
        let granted = self.children.get(kind).or_else(|| self.former.get(kind));
        let named = granted.into_iter().flat_map(|grant| &grant.namespaces).filter_map(|namespaces| match namespaces {
            GrantedNamespaces::Named(names) => Some(names),
            GrantedNamespaces::Parent | GrantedNamespaces::All => None,
        });
        named.flatten().map(String::as_str).collect()
    }

    /// Whether a child of this parent may be where this object is: in the parent's namespace, in a granted one, or in none.
    #[must_use]
    pub fn reach(&self, child: &ObjectKey, parent: &Observed) -> bool {
        let Some(namespace) = child.namespace.as_deref() else { return true };
        let mut granted = self.children.iter().chain(&self.former).filter(|(kind, _)| child.is_of(kind));
        // Where it is not known any more where a cluster-scoped parent had its children, they are not left behind.
        let mut ungranted = self.former.iter().filter(|(kind, grant)| child.is_of(kind) && grant.namespaces.is_empty());
        parent.key.namespace.as_deref() == Some(namespace)
            || granted.any(|(_, grant)| grant.covers(namespace, parent))
            || parent.key.namespace.is_none() && ungranted.next().is_some()
    }
}

/// Bounds of the pods that a provider may create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodBounds {
    /// The Pod Security Standard that they must meet.
    pub level: PodLevel,
    /// ServiceAccounts that they may run as, beside `default` and those in the same response.
    pub service_accounts: Vec<String>,
    /// The namespaces in which they may use any Secret.
    pub secrets: Grant,
}

impl PodBounds {
    /// The granted bounds. A provider that may read Secrets may let pods use them: it could copy them anyway.
    #[must_use]
    pub fn of(granted: &provider::Grants) -> Self {
        let secret = Kind::new("", "v1", "Secret");
        let related = granted.related.iter().filter(|grant| grant.covers(&secret));
        Self {
            level: granted.pods.level,
            service_accounts: granted.pods.service_account_names.clone(),
            secrets: Grant { namespaced: true, namespaces: related.map(|grant| grant.namespaces.clone()).collect() },
        }
    }
}

impl Default for PodBounds {
    fn default() -> Self {
        Self::of(&provider::Grants::default())
    }
}

/// Where a granted kind may be written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whether the kind is namespaced.
    pub namespaced: bool,
    /// The namespaces, if it is: any of these.
    pub namespaces: Vec<GrantedNamespaces>,
}

impl Grant {
    /// A grant in the parent's namespace only, or of a cluster-scoped kind.
    #[must_use]
    pub fn of_parent(namespaced: bool) -> Self {
        Self { namespaced, namespaces: vec![GrantedNamespaces::Parent] }
    }

    /// Whether it covers an object in this namespace, for this parent.
    pub(crate) fn covers(&self, namespace: &str, parent: &Observed) -> bool {
        self.namespaces.iter().any(|granted| granted.cover(Some(namespace), parent.key.namespace.as_deref()))
    }
}
