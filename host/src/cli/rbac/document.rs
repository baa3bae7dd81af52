//! What a Provider says about where the rights of its module are needed: in which namespaces, and for which account.

use std::collections::BTreeSet;

use anyhow::Context as _;
use bartizan_contract::names::PROVIDER_KIND;
use bartizan_contract::provider::{GrantedNamespaces, Grants, Provider, ProviderSpec};
use bartizan_contract::{Kind, ProviderManifest};
use serde::Deserialize as _;
use serde_json::Value;

/// Groups and kinds that Kubernetes serves outside of namespaces: a Role gives no right to them.
const CLUSTER_SCOPED: [(&str, &str); 17] = [
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "IPAddress"),
    ("node.k8s.io", "RuntimeClass"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "StorageClass"),
];

/// Where rights are needed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scope {
    /// The namespace of a Role; `None`: a ClusterRole.
    pub(super) namespace: Option<String>,
    /// What of the manifest is needed there.
    pub(super) manifest: ProviderManifest,
}

/// The Provider of a file, which may hold other objects, too.
///
/// # Errors
/// If it holds none or several, or its spec cannot be read.
pub(super) fn provider(text: &str) -> anyhow::Result<Provider> {
    let mut found = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let value = Value::deserialize(document).context("it is not YAML")?;
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("kind") == PROVIDER_KIND && text("apiVersion").starts_with("bartizan.dev/") {
            found.push(value);
        }
    }
    let [document] = found.as_mut_slice() else {
        anyhow::bail!("it holds {} Providers, must be one", found.len());
    };
    let name = document.pointer("/metadata/name").and_then(Value::as_str).context("metadata.name: is missing")?;
    let name = name.to_owned();
    let spec = document.get_mut("spec").map(Value::take).context("spec: is missing")?;
    let spec: ProviderSpec = serde_path_to_error::deserialize(spec)
        .map_err(|error| anyhow::anyhow!("spec.{}: {}", error.path(), error.inner()))?;
    let errors: Vec<String> = spec.check().iter().map(ToString::to_string).collect();
    anyhow::ensure!(errors.is_empty(), "{}", errors.join("; "));
    Ok(Provider::new(&name, spec))
}

/// Where a module needs what it asks for and is granted: a Role in each of the Provider's namespaces and in each that a grant names, and a
/// ClusterRole for all that is granted everywhere, or lies outside of namespaces.
pub(super) fn scopes(manifest: &ProviderManifest, spec: &ProviderSpec) -> Vec<Scope> {
    let Grants { children, related, .. } = &spec.grants;
    let granted = children.iter().map(|grant| &grant.namespaces).chain(related.iter().map(|grant| &grant.namespaces));
    let named = granted.filter_map(|namespaces| match namespaces {
        GrantedNamespaces::Named(names) => Some(names),
        GrantedNamespaces::Parent | GrantedNamespaces::All => None,
    });
    let mut namespaces: BTreeSet<Option<&String>> = spec.namespaces.iter().chain(named.flatten()).map(Some).collect();
    namespaces.insert(None);
    let scope = |namespace: Option<&String>| Scope {
        namespace: namespace.cloned(),
        manifest: within(manifest, spec, namespace.map(String::as_str)),
    };
    namespaces.into_iter().map(scope).collect()
}

/// What of a manifest is needed in a namespace, or for all of the cluster.
fn within(manifest: &ProviderManifest, spec: &ProviderSpec, namespace: Option<&str>) -> ProviderManifest {
    let serves_everywhere = spec.namespaces.is_empty();
    let has_parents = match namespace {
        None => serves_everywhere,
        Some(namespace) => spec.namespaces.iter().any(|served| served == namespace),
    };
    let reaches = |kind: &Kind, granted: &GrantedNamespaces| match (granted, namespace) {
        _ if is_cluster_scoped(manifest, kind) => namespace.is_none(),
        (GrantedNamespaces::All, namespace) => namespace.is_none(),
        // The host watches all kinds wherever it serves parents.
        _ if has_parents => true,
        (GrantedNamespaces::Named(names), Some(namespace)) => names.iter().any(|name| name == namespace),
        (GrantedNamespaces::Parent | GrantedNamespaces::Named(_), _) => false,
    };
    let mut within = manifest.clone();
    let Grants { children, descendants, related, .. } = &spec.grants;
    within.children.retain(|asked| {
        let kind = asked.kind();
        children.iter().any(|grant| grant.covers(&kind) && reaches(&kind, &grant.namespaces))
    });
    within.related.retain(|asked| {
        let kind = asked.kind();
        related.iter().any(|grant| grant.covers(&kind) && reaches(&kind, &grant.namespaces))
    });
    // They are where children are.
    let has_children = has_parents || (namespace.is_some() && !within.children.is_empty());
    within.descendants.retain(|asked| {
        let kind = asked.kind();
        let is_here = if is_cluster_scoped(manifest, &kind) { namespace.is_none() } else { has_children };
        is_here && descendants.iter().any(|grant| grant.covers(&kind))
    });
    if !has_parents {
        within.crds.clear();
        within.finalizes = false;
    }
    within
}

fn is_cluster_scoped(manifest: &ProviderManifest, kind: &Kind) -> bool {
    let text = |crd: &Value, pointer: &str| crd.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let crd = manifest
        .crds
        .iter()
        .find(|crd| text(crd, "/spec/group") == kind.group && text(crd, "/spec/names/kind") == kind.kind);
    match crd {
        Some(crd) => text(crd, "/spec/scope") == "Cluster",
        None => CLUSTER_SCOPED.contains(&(kind.group.as_str(), kind.kind.as_str())),
    }
}
