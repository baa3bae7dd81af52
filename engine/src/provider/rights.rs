//! What a version asks for beyond the version before it. Grants may be wider than what a module asked for until now: a version that comes
//! to use more of them waits for an approval.

use bartizan_contract::provider::Grants;
use bartizan_contract::{GroupKind, KindRequest, ProviderManifest, RelatedAccess};

/// What a version asks for, is granted, and the one before it did not ask for; in words.
#[must_use]
pub fn more(before: &ProviderManifest, next: &ProviderManifest, grants: &Grants) -> Vec<String> {
    beyond(&kinds(&before.children), before, next, grants)
}

/// The same where of the version before no more is known than the kinds that it may have written.
#[must_use]
pub fn more_than_written(written: &[GroupKind], next: &ProviderManifest, grants: &Grants) -> Vec<String> {
    beyond(written, &ProviderManifest::new("", ""), next, grants)
}

fn beyond(children: &[GroupKind], before: &ProviderManifest, next: &ProviderManifest, grants: &Grants) -> Vec<String> {
    let mut more = Vec::new();
    let new = next.children.iter().map(|asked| asked.kind()).filter(|kind| grants.covers_child(kind));
    let new = new.map(|kind| GroupKind::from(&kind)).filter(|kind| !children.contains(kind));
    more.extend(new.map(|kind| format!("to write {kind}")));
    let descendants = kinds(&before.descendants);
    let new = next.descendants.iter().map(|asked| asked.kind()).filter(|kind| grants.covers_descendant(kind));
    let new = new.map(|kind| GroupKind::from(&kind)).filter(|kind| !descendants.contains(kind));
    more.extend(new.map(|kind| format!("to read {kind} below its children")));
    for related in &next.related {
        let kind = related.kind();
        // No more than is granted of it.
        let Some(access) = grants.covers_related(&kind).map(|granted| granted.min(related.access)) else { continue };
        let of_kind = before.related.iter().filter(|other| other.kind().same_group_kind(&kind));
        if of_kind.map(|other| other.access).max() < Some(access) {
            let how = if access == RelatedAccess::Plaintext { " with its plain values" } else { "" };
            more.push(format!("to read {}{how}", GroupKind::from(&kind)));
        }
    }
    let dropped = before.sensitive.iter().filter(|pointer| !next.sensitive.contains(pointer));
    more.extend(dropped.map(|pointer| format!("to see {pointer} of its parents as it is")));
    if next.finalizes && !before.finalizes {
        more.push("to finalize its parents".to_owned());
    }
    more
}

fn kinds(asked: &[KindRequest]) -> Vec<GroupKind> {
    asked.iter().map(|asked| (&asked.kind()).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn manifest(more: &Value) -> ProviderManifest {
        let mut manifest = json!({
            "apiVersion": "provider.bartizan.dev/v1alpha1", "kind": "ProviderManifest", "name": "minio", "version": "1.0.0",
            "crds": [],
        });
        manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(manifest).unwrap()
    }

    #[test]
    fn a_version_that_comes_to_use_more_of_what_is_granted_asks_for_more() {
        let before = manifest(&json!({
            "children": [{"apiVersion": "v1", "kind": "Service"}, {"apiVersion": "v1", "kind": "ConfigMap"}],
            "related": [{"apiVersion": "v1", "kind": "Secret"}],
        }));
        let next = manifest(&json!({
            "children": [
                {"apiVersion": "v1", "kind": "Service"}, {"apiVersion": "v1", "kind": "Secret"},
                {"apiVersion": "apps/v1", "kind": "Deployment", "optional": true},
            ],
            "descendants": [{"apiVersion": "v1", "kind": "Pod"}],
            "related": [{"apiVersion": "v1", "kind": "Secret", "access": "Plaintext"}],
            "finalizes": true,
        }));
        let granted = Grants::asked_for(&manifest(&json!({
            "children": [{"apiVersion": "v1", "kind": "Service"}, {"apiVersion": "v1", "kind": "Secret"}],
            "descendants": [{"apiVersion": "v1", "kind": "Pod"}],
            "related": [{"apiVersion": "v1", "kind": "Secret", "access": "Plaintext"}],
        })));
        let all = [
            "to write Secret",
            "to read Pod below its children",
            "to read Secret with its plain values",
            "to finalize its parents",
        ];
        assert_eq!(more(&before, &next, &granted), all);
        assert!(more(&next, &before, &granted).is_empty() && more(&next, &next, &granted).is_empty());
        let opaque = Grants::asked_for(&before);
        assert_eq!(more(&before, &next, &opaque), ["to finalize its parents"], "no more is granted");
        let written = [GroupKind::new("", "Service")];
        assert_eq!(more_than_written(&written, &next, &granted), all, "nothing else is known of it");
        let mut open = before.clone();
        open.sensitive.push("/spec/key".to_owned());
        assert_eq!(more(&open, &before, &granted), ["to see /spec/key of its parents as it is"]);
    }
}
