//! What a provider may write and read, resolved against what the cluster serves.

use std::collections::BTreeMap;

use bartizan_contract::Kind;
use bartizan_contract::provider::{self, GrantedNamespaces, PodLevel};

use crate::object::Observed;

/// What a provider may write and read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Granted kinds of children.
    pub children: BTreeMap<Kind, Grant>,
    /// Granted kinds of related objects.
    pub related: BTreeMap<Kind, Grant>,
    /// What its pods may hold.
    pub pods: PodBounds,
}

/// What the pods of a provider may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodBounds {
    /// The Pod Security Standard that they must meet.
    pub level: PodLevel,
    /// ServiceAccounts that they may run as, beside `default` and the answer's own.
    pub service_accounts: Vec<String>,
    /// Where they may use every Secret.
    pub secrets: Grant,
}

impl PodBounds {
    /// What was granted. Who may read Secrets may let pods use them: it could copy them into one of its own anyway.
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
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// In which, if they do: any of these.
    pub namespaces: Vec<GrantedNamespaces>,
}

impl Grant {
    /// In the parent's namespace only, or a cluster-scoped kind.
    #[must_use]
    pub fn of_parent(namespaced: bool) -> Self {
        Self { namespaced, namespaces: vec![GrantedNamespaces::Parent] }
    }

    /// Whether an object in a namespace is within it, for a parent.
    pub(crate) fn covers(&self, namespace: &str, parent: &Observed) -> bool {
        self.namespaces.iter().any(|granted| granted.cover(Some(namespace), parent.key.namespace.as_deref()))
    }
}
