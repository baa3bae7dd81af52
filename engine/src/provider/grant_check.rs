//! What a module's manifest asks for against what its Provider says.

use std::fmt;

use bartizan_contract::field::FieldError;
use bartizan_contract::provider::{Grants, ParentClaim, ProviderSpec};
use bartizan_contract::{GroupKind, ProviderManifest, RelatedAccess};

/// A kind that a manifest asks for and that is not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotGranted {
    /// To write.
    Child(GroupKind),
    /// To see below children.
    Descendant(GroupKind),
    /// To read.
    Related(GroupKind),
    /// To read as it is; granted is to read tokens.
    Plaintext(GroupKind),
}

impl fmt::Display for NotGranted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Child(kind) => write!(f, "{kind} is not in spec.grants.children"),
            Self::Descendant(kind) => write!(f, "{kind} is not in spec.grants.descendants"),
            Self::Related(kind) => write!(f, "{kind} is not in spec.grants.related"),
            Self::Plaintext(kind) => write!(f, "{kind} is in spec.grants.related without access: Plaintext"),
        }
    }
}

/// The kinds that a manifest cannot do without and that are not granted. An optional kind that is not granted is for the
/// provider one that the cluster does not serve.
pub fn not_granted(manifest: &ProviderManifest, grants: &Grants) -> Vec<NotGranted> {
    let children = manifest.children.iter().filter(|asked| !asked.optional).map(|asked| asked.kind());
    let descendants = manifest.descendants.iter().filter(|asked| !asked.optional).map(|asked| asked.kind());
    let children = children.filter(|kind| !grants.covers_child(kind)).map(|kind| NotGranted::Child((&kind).into()));
    let descendants =
        descendants.filter(|kind| !grants.covers_descendant(kind)).map(|kind| NotGranted::Descendant((&kind).into()));
    let related = manifest.related.iter().filter(|asked| !asked.optional).filter_map(|asked| {
        let kind = asked.kind();
        match grants.covers_related(&kind) {
            None => Some(NotGranted::Related((&kind).into())),
            Some(RelatedAccess::Opaque) if asked.access == RelatedAccess::Plaintext => {
                Some(NotGranted::Plaintext((&kind).into()))
            }
            Some(_) => None,
        }
    });
    children.chain(descendants).chain(related).collect()
}

/// What to say in a condition; `None` if everything is granted.
pub fn message(manifest: &ProviderManifest, missing: &[NotGranted]) -> Option<String> {
    if missing.is_empty() {
        return None;
    }
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let (name, version) = (&manifest.name, &manifest.version);
    Some(format!(
        "{name} {version} asks for more than it is granted: {}; grant it, or use a module that does not ask for it",
        missing.join(", ")
    ))
}

/// The parents that a Provider serves: those it names, or all that its module owns.
///
/// # Errors
/// If it names a kind that the module does not own, or a selector that Kubernetes would refuse.
pub fn parents(spec: &ProviderSpec, owned: &[GroupKind]) -> Result<Vec<ParentClaim>, FieldError> {
    if spec.parents.is_empty() {
        return Ok(owned.iter().map(ParentClaim::all).collect());
    }
    for (index, claim) in spec.parents.iter().enumerate() {
        let path = format!("spec.parents[{index}]");
        let kind = claim.group_kind();
        if !owned.contains(&kind) {
            let owned: Vec<String> = owned.iter().map(ToString::to_string).collect();
            let message = format!("the module does not own {kind}; it owns {}", owned.join(", "));
            return Err(FieldError::new(path, message));
        }
        claim.selector.check().map_err(|error| error.below(&format!("{path}.selector")))?;
    }
    Ok(spec.parents.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> ProviderManifest {
        serde_json::from_value(json!({
            "apiVersion": "provider.bartizan.dev/v1alpha1", "kind": "ProviderManifest", "name": "minio", "version": "0.1.0",
            "crds": [],
            "children": [
                {"apiVersion": "apps/v1", "kind": "StatefulSet"},
                {"apiVersion": "v1", "kind": "Secret"},
                {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "optional": true},
            ],
            "descendants": [
                {"apiVersion": "v1", "kind": "Pod"},
                {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "optional": true},
            ],
            "related": [
                {"apiVersion": "v1", "kind": "Secret", "access": "Plaintext"},
                {"apiVersion": "v1", "kind": "ConfigMap"},
                {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "optional": true},
            ],
        }))
        .unwrap()
    }

    fn grants(value: serde_json::Value) -> Grants {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn all_that_is_asked_for_is_enough() {
        assert_eq!(not_granted(&manifest(), &Grants::asked_for(&manifest())), []);
        assert_eq!(message(&manifest(), &[]), None);
    }

    #[test]
    fn what_is_missing_is_named_by_its_role() {
        let nothing = not_granted(&manifest(), &Grants::default());
        let expected = "minio 0.1.0 asks for more than it is granted: StatefulSet.apps is not in spec.grants.children, \
                        Secret is not in spec.grants.children, Pod is not in spec.grants.descendants, Secret is not in \
                        spec.grants.related, ConfigMap is not in spec.grants.related; grant it, or use a module that does \
                        not ask for it";
        assert_eq!(message(&manifest(), &nothing).as_deref(), Some(expected));
    }

    #[test]
    fn a_grant_in_one_role_is_none_in_another_and_tokens_are_not_values() {
        let some = grants(json!({
            "children": [{"group": "apps", "kinds": ["StatefulSet"]}, {"group": "", "kinds": ["Secret", "Pod"]}],
            "descendants": [{"group": "apps", "kinds": ["Pod"]}],
            "related": [{"group": "", "kinds": ["Secret", "ConfigMap"], "namespaces": ["keys"]}],
        }));
        let missing = not_granted(&manifest(), &some);
        assert_eq!(
            missing,
            [NotGranted::Descendant(GroupKind::new("", "Pod")), NotGranted::Plaintext(GroupKind::new("", "Secret"))]
        );
        assert_eq!(missing[1].to_string(), "Secret is in spec.grants.related without access: Plaintext");
    }
}
