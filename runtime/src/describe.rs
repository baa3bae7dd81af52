//! Parsing and validation of the manifest that `describe` returns.

use std::collections::BTreeSet;

use bartizan_contract::field::{is_dns_label, not_a_dns_label};
use bartizan_contract::names::{API_VERSION, MANIFEST_KIND};
use bartizan_contract::{GroupKind, ProviderManifest};
use serde_json::Value;

use crate::logs::LogLine;

/// The validated manifest of a provider, with the logs of the call.
#[derive(Clone, Debug)]
pub struct Description {
    /// The manifest: a DNS label as its name, at least one CRD, each with a storage version.
    pub manifest: ProviderManifest,
    /// What the guest logged during the call.
    pub logs: Vec<LogLine>,
}

/// A manifest that the host cannot serve. Paths begin at `manifest`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not JSON, not UTF-8, or not a manifest.
    #[error("{path}: {cause}; build the provider with the SDK of {API_VERSION}")]
    Json {
        /// The field, as `manifest.crds[0]`.
        path: String,
        /// The parser's message.
        cause: String,
    },
    /// A field has a value that the contract does not allow.
    #[error("{path}: {message}")]
    Field {
        /// The field, as `manifest.crds[0].spec.versions`.
        path: String,
        /// What is wrong, and what is allowed.
        message: String,
    },
}

/// Parses and checks a manifest.
pub(crate) fn parse(bytes: &[u8]) -> Result<ProviderManifest, ManifestError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let manifest: ProviderManifest = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => "manifest".to_owned(),
            path => format!("manifest.{path}"),
        };
        ManifestError::Json { path, cause: error.into_inner().to_string() }
    })?;
    json.end().map_err(|error| ManifestError::Json { path: "manifest".to_owned(), cause: error.to_string() })?;

    must_be("manifest.apiVersion", &manifest.api_version, API_VERSION)?;
    must_be("manifest.kind", &manifest.kind, MANIFEST_KIND)?;
    if !is_dns_label(&manifest.name) {
        return Err(field("manifest.name", not_a_dns_label(&manifest.name)));
    }
    if manifest.version.is_empty() {
        return Err(field("manifest.version", "must not be empty".to_owned()));
    }
    if manifest.crds.is_empty() {
        return Err(field("manifest.crds", "must hold at least one CustomResourceDefinition".to_owned()));
    }
    for (index, crd) in manifest.crds.iter().enumerate() {
        check_crd(&format!("manifest.crds[{index}]"), crd)?;
    }
    check_children(&manifest)?;
    for (index, pointer) in manifest.sensitive.iter().enumerate() {
        if !pointer.starts_with("/spec/") {
            let message =
                format!("\"{pointer}\" must be a JSON pointer to a field of the spec, as /spec/credentials/key");
            return Err(field(&format!("manifest.sensitive[{index}]"), message));
        }
    }
    Ok(manifest)
}

/// A kind has one role and one version in a provider, since the identity of an object does not include its version.
fn check_children(manifest: &ProviderManifest) -> Result<(), ManifestError> {
    let mut seen = BTreeSet::new();
    for (index, crd) in manifest.crds.iter().enumerate() {
        let part = |pointer| crd.pointer(pointer).and_then(Value::as_str);
        let Some((group, kind)) = part("/spec/group").zip(part("/spec/names/kind")) else { continue };
        if !seen.insert(GroupKind::new(group, kind)) {
            let message = format!("{kind}.{group} is owned twice");
            return Err(field(&format!("manifest.crds[{index}]"), message));
        }
    }
    for (index, child) in manifest.children.iter().enumerate() {
        let kind = child.kind();
        if !seen.insert(GroupKind::from(&kind)) {
            let message = format!("{kind} is declared twice, or is one of the provider's own parents");
            return Err(field(&format!("manifest.children[{index}]"), message));
        }
    }
    Ok(())
}

/// Checks what the host itself reads from a CRD; the API server checks the rest.
fn check_crd(path: &str, crd: &Value) -> Result<(), ManifestError> {
    must_be(&format!("{path}.apiVersion"), text(path, crd, "/apiVersion")?, "apiextensions.k8s.io/v1")?;
    must_be(&format!("{path}.kind"), text(path, crd, "/kind")?, "CustomResourceDefinition")?;
    let name = text(path, crd, "/metadata/name")?;
    let (plural, group) = (text(path, crd, "/spec/names/plural")?, text(path, crd, "/spec/group")?);
    must_be(&format!("{path}.metadata.name"), name, &format!("{plural}.{group}"))?;
    text(path, crd, "/spec/names/kind")?;
    let scope = text(path, crd, "/spec/scope")?;
    if scope != "Namespaced" && scope != "Cluster" {
        return Err(field(&format!("{path}.spec.scope"), format!("is \"{scope}\", must be Namespaced or Cluster")));
    }
    let versions = crd.pointer("/spec/versions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is = |version: &Value, flag: &str| version.get(flag).and_then(Value::as_bool) == Some(true);
    let storage: Vec<&Value> = versions.iter().filter(|version| is(version, "storage")).collect();
    let path = format!("{path}.spec.versions");
    match storage.as_slice() {
        [version] if is(version, "served") && version.get("name").is_some_and(Value::is_string) => Ok(()),
        [_] => Err(field(&path, "the version with storage: true must have a name and served: true".to_owned())),
        _ => Err(field(&path, format!("{} versions have storage: true, must be one", storage.len()))),
    }
}

fn text<'a>(path: &str, crd: &'a Value, pointer: &str) -> Result<&'a str, ManifestError> {
    let value = crd.pointer(pointer).and_then(Value::as_str).filter(|value| !value.is_empty());
    value.ok_or_else(|| field(&format!("{path}{}", pointer.replace('/', ".")), "must be a non-empty string".to_owned()))
}

fn must_be(path: &str, found: &str, expected: &str) -> Result<(), ManifestError> {
    if found == expected { Ok(()) } else { Err(field(path, format!("is \"{found}\", must be \"{expected}\""))) }
}

fn field(path: &str, message: String) -> ManifestError {
    ManifestError::Field { path: path.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn manifest() -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": MANIFEST_KIND, "name": "minio", "version": "0.1.0",
            "crds": [{
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "objectstores.minio.rook.io"},
                "spec": {
                    "group": "minio.rook.io", "scope": "Namespaced",
                    "names": {"kind": "ObjectStore", "plural": "objectstores"},
                    "versions": [{"name": "v1alpha1", "served": true, "storage": true}],
                },
            }],
            "children": [{"apiVersion": "v1", "kind": "Secret"}],
        })
    }

    fn message(value: &Value) -> String {
        parse(value.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_valid_manifest_is_accepted() {
        assert_eq!(parse(manifest().to_string().as_bytes()).unwrap().name, "minio");
    }

    #[rstest]
    #[case("/apiVersion", json!("v2"), "manifest.apiVersion: is \"v2\", must be \"provider.bartizan.dev/v1alpha1\"")]
    #[case("/kind", json!("Manifest"), "manifest.kind: is \"Manifest\", must be \"ProviderManifest\"")]
    #[case("/name", json!("MinIO"), "manifest.name: \"MinIO\" is not a DNS label: up to 63 lower-case letters, digits and '-', a letter or digit at both ends")]
    #[case("/name", json!("-a"), "manifest.name: \"-a\" is not a DNS label: up to 63 lower-case letters, digits and '-', a letter or digit at both ends")]
    #[case("/version", json!(""), "manifest.version: must not be empty")]
    #[case("/crds", json!([]), "manifest.crds: must hold at least one CustomResourceDefinition")]
    #[case("/crds/0/apiVersion", json!("apiextensions.k8s.io/v1beta1"), "manifest.crds[0].apiVersion: is \"apiextensions.k8s.io/v1beta1\", must be \"apiextensions.k8s.io/v1\"")]
    #[case("/crds/0/kind", json!(3), "manifest.crds[0].kind: must be a non-empty string")]
    #[case("/crds/0/metadata/name", json!("stores"), "manifest.crds[0].metadata.name: is \"stores\", must be \"objectstores.minio.rook.io\"")]
    #[case("/crds/0/spec/scope", json!("Global"), "manifest.crds[0].spec.scope: is \"Global\", must be Namespaced or Cluster")]
    #[case("/crds/0/spec/versions/0/storage", json!(false), "manifest.crds[0].spec.versions: 0 versions have storage: true, must be one")]
    #[case("/crds/0/spec/versions/0/served", json!(false), "manifest.crds[0].spec.versions: the version with storage: true must have a name and served: true")]
    #[case("/children", json!([{"apiVersion": "v1", "kind": "Secret"}, {"apiVersion": "v1", "kind": "Secret"}]), "manifest.children[1]: Secret.v1 is declared twice, or is one of the provider's own parents")]
    #[case("/children/0", json!({"apiVersion": "minio.rook.io/v2", "kind": "ObjectStore"}), "manifest.children[0]: ObjectStore.minio.rook.io/v2 is declared twice, or is one of the provider's own parents")]
    #[case("/children/0/kind", json!(1), "manifest.children[0].kind: invalid type: integer `1`, expected a string at line 1 column COL; build the provider with the SDK of provider.bartizan.dev/v1alpha1")]
    fn a_wrong_field_is_named(#[case] pointer: &str, #[case] value: Value, #[case] expected: &str) {
        let mut manifest = manifest();
        *manifest.pointer_mut(pointer).unwrap() = value;
        let message = message(&manifest);
        let column =
            message.split("column ").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or("COL").to_owned();
        assert_eq!(message, expected.replace("COL", &column));
    }

    #[test]
    fn a_kind_is_owned_once() {
        let mut manifest = manifest();
        manifest["crds"] = json!([manifest["crds"][0], manifest["crds"][0]]);
        assert_eq!(message(&manifest), "manifest.crds[1]: ObjectStore.minio.rook.io is owned twice");
    }

    #[test]
    fn a_sensitive_field_outside_of_the_spec_is_refused() {
        let mut manifest = manifest();
        manifest["sensitive"] = json!(["spec.key"]);
        let expected = "manifest.sensitive[0]: \"spec.key\" must be a JSON pointer to a field of the spec, as /spec/credentials/key";
        assert_eq!(message(&manifest), expected);
    }

    #[rstest]
    #[case(b"", "manifest: EOF while parsing a value at line 1 column 0")]
    #[case(b"[]", "manifest: invalid length 0, expected struct ProviderManifest with 12 elements at line 1 column 2")]
    #[case(b"{\"nmae\": 1}", "manifest.nmae: unknown field `nmae`")]
    #[case(b"{\"name\": \"\xff\"}", "manifest.name: invalid unicode code point at line 1 column 11")]
    fn bytes_that_are_not_a_manifest_are_refused(#[case] bytes: &[u8], #[case] expected: &str) {
        let message = parse(bytes).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
        assert!(message.ends_with("; build the provider with the SDK of provider.bartizan.dev/v1alpha1"), "{message}");
    }
}
