//! What a provider may write and read, resolved against what the cluster serves.

use std::collections::BTreeMap;

use bartizan_contract::Kind;
use bartizan_contract::provider::GrantedNamespaces;

use crate::object::Observed;

/// What a provider may write and read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Granted kinds of children.
    pub children: BTreeMap<Kind, Grant>,
    /// Granted kinds of related objects.
    pub related: BTreeMap<Kind, Grant>,
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
