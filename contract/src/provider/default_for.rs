//! The default Provider of a module without a document.

use std::collections::{BTreeMap, BTreeSet};

use super::grants::{ChildGrant, DescendantGrant, GrantedNamespaces, Grants, RelatedGrant};
use super::spec::{ModuleSource, Provider, ProviderSpec};
use crate::kind::Kind;
use crate::manifest::{KindRequest, ProviderManifest};
use crate::names::{FILE_ANNOTATION, PROVIDER_GROUP};

impl Provider {
    /// The Provider of a module in the host's folder without a document: it is granted what its manifest requests, including
    /// optional kinds, in the namespaces of its parents, which are all: those of Secrets of the host, too, if it asks for Secrets. For
    /// `--trust-manifests` only.
    #[must_use]
    pub fn default_for(manifest: &ProviderManifest, file: &str) -> Self {
        let mut spec = ProviderSpec::new(ModuleSource::file(file));
        spec.grants = Grants::asked_for(manifest);
        spec.allow_host_secrets = manifest.sees_secrets();
        let mut provider = Self::new(&manifest.name, spec);
        provider.metadata.annotations.insert(FILE_ANNOTATION.to_owned(), file.to_owned());
        provider
    }
}

/// Groups whose kinds confer rights or control the writes of others, so that write access to them amounts to full access. They are
/// never granted by trust: an administrator must name them.
const POWERFUL: [&str; 6] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    PROVIDER_GROUP,
    "certificates.k8s.io",
    "rbac.authorization.k8s.io",
];

impl Grants {
    /// What a manifest requests, except to write kinds that confer rights: roles and bindings, admission policies and webhooks,
    /// CustomResourceDefinitions, Providers. The order of a manifest's lists makes no difference.
    #[must_use]
    pub fn asked_for(manifest: &ProviderManifest) -> Self {
        let plain = |kind: Kind| ((), kind);
        let children = manifest.children.iter().map(KindRequest::kind);
        let children = by_group(children.filter(|kind| !POWERFUL.contains(&kind.group.as_str())).map(plain));
        let descendants = by_group(manifest.descendants.iter().map(|asked| plain(asked.kind())));
        let related = by_group(manifest.related.iter().map(|asked| (asked.access, asked.kind())));
        let namespaces = || GrantedNamespaces::Parent;
        Self {
            children: children
                .map(|((group, ()), kinds)| ChildGrant { group, kinds, namespaces: namespaces() })
                .collect(),
            descendants: descendants.map(|((group, ()), kinds)| DescendantGrant { group, kinds }).collect(),
            related: related
                .map(|((group, access), kinds)| RelatedGrant { group, kinds, namespaces: namespaces(), access })
                .collect(),
            ..Self::default()
        }
    }
}

impl Grants {
    /// The union of two grants.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        fn add<T: Clone + PartialEq>(to: &mut Vec<T>, others: &[T]) {
            let new: Vec<T> = others.iter().filter(|other| !to.contains(other)).cloned().collect();
            to.extend(new);
        }
        add(&mut self.children, &other.children);
        add(&mut self.descendants, &other.descendants);
        add(&mut self.related, &other.related);
        self
    }
}

type Grouped<A> = ((String, A), Vec<String>);

fn by_group<A: Ord>(asked: impl Iterator<Item = (A, Kind)>) -> impl Iterator<Item = Grouped<A>> {
    let mut groups: BTreeMap<(String, A), BTreeSet<String>> = BTreeMap::new();
    for (access, Kind { group, kind, .. }) in asked {
        groups.entry((group, access)).or_default().insert(kind);
    }
    groups.into_iter().map(|(key, kinds)| (key, kinds.into_iter().collect()))
}
