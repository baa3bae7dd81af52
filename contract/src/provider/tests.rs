//! Documents as users write them, and the errors of invalid ones.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Map, Value, json};

use super::*;
use crate::{GroupKind, KindRequest, ProviderManifest, RelatedAccess, RelatedKind};

/// A spec with all fields.
fn full() -> Value {
    json!({
        "module": {"file": "minio.wasm", "digest": format!("sha256:{}", "0a".repeat(32))},
        "serviceAccountName": "storage",
        "parents": [{
            "group": "minio.rook.io", "kind": "ObjectStore",
            "selector": {
                "matchLabels": {"tier": "gold"},
                "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}],
            },
        }],
        "namespaces": ["rook-minio"],
        "settings": {"image": "minio:latest"},
        "grants": {
            "children": [
                {"group": "apps", "kinds": ["StatefulSet"]},
                {"group": "", "kinds": ["Secret", "Service"], "namespaces": ["rook-minio", "backup"]},
            ],
            "descendants": [{"group": "", "kinds": ["Pod"]}],
            "related": [
                {"group": "", "kinds": ["Secret"]},
                {"group": "", "kinds": ["Secret"], "namespaces": ["keys"], "access": "Plaintext"},
                {"group": "storage.k8s.io", "kinds": ["StorageClass"], "namespaces": "All"},
            ],
            "pods": {"level": "Baseline", "serviceAccountNames": ["minio"]},
        },
        "limits": {
            "timeout": "1500ms", "memory": "128Mi", "requestBytes": "16Mi", "responseBytes": "1M", "children": 10,
            "concurrency": 2,
        },
        "upgrade": {"policy": "Manual", "holdOn": ["Delete"]},
        "onRemoval": "Release",
        "suspend": true,
    })
}

fn spec(value: Value) -> ProviderSpec {
    serde_json::from_value(value).unwrap()
}

/// The full spec with one field changed.
fn with(pointer: &str, value: Value) -> ProviderSpec {
    let mut changed = full();
    *changed.pointer_mut(pointer).unwrap() = value;
    spec(changed)
}

#[test]
fn a_full_spec_is_right_and_survives() {
    let full_spec = spec(full());
    assert_eq!(full_spec.check(), []);
    assert_eq!(serde_json::to_value(&full_spec).unwrap(), full());
}

#[test]
fn the_least_spec_has_the_defaults_and_writes_none_of_them() {
    let least = json!({"module": {"file": "minio.wasm"}});
    let provider = Provider::new("minio", spec(least.clone()));
    assert_eq!(provider.spec, ProviderSpec::new(ModuleSource::file("minio.wasm")));
    assert_eq!(provider.service_account_name(), "provider-minio");
    assert_eq!(provider.spec.on_removal, OnRemoval::Block);
    assert_eq!(provider.spec.upgrade.hold_on, [HoldOn::Delete, HoldOn::Recreate, HoldOn::Unknown]);
    assert_eq!(provider.spec.grants.pods.level, PodLevel::Restricted);
    assert_eq!(provider.spec.limits.effective(), Ok(EffectiveLimits::default()));
    assert_eq!(provider.spec.check(), []);
    let written = json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "minio"}, "spec": least,
    });
    assert_eq!(serde_json::to_value(&provider).unwrap(), written);
}

#[test]
fn an_object_of_the_api_server_is_read_with_all_its_metadata() {
    let object = json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider",
        "metadata": {
            "name": "minio", "uid": "u", "resourceVersion": "7", "generation": 2, "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "kubectl"}], "finalizers": ["bartizan.dev/provider"],
        },
        "spec": full(),
        "status": {"observedGeneration": 2, "active": {"version": "1", "digest": "d"}, "kinds": ["StatefulSet.apps"], "later": 1},
    });
    let provider: Provider = serde_json::from_value(object).unwrap();
    assert_eq!(provider.metadata.generation, Some(2));
    assert_eq!(provider.status.kinds, [GroupKind::new("apps", "StatefulSet")]);
    assert_eq!(provider.service_account_name(), "storage");
}

#[rstest]
#[case("/module", json!({}), "spec.module: exactly one of file, oci and configMap must be set")]
#[case(
    "/module", json!({"file": "a.wasm", "oci": {"reference": "example.com/a"}}),
    "spec.module: exactly one of file, oci and configMap must be set"
)]
#[case(
    "/module/file", json!("../a.wasm"),
    "spec.module.file: \"../a.wasm\" is not the name of a module in the folder: up to 253 letters, digits, '-', '_' and '.', \
     with .wasm at the end"
)]
#[case(
    "/module/digest", json!("sha256:0a"),
    "spec.module.digest: \"sha256:0a\" is not a digest: write sha256: and 64 hexadecimal digits in lower case"
)]
#[case(
    "/serviceAccountName", json!("A"),
    "spec.serviceAccountName: \"A\" is not a DNS subdomain: up to 253 lower-case letters, digits, '-' and '.', a letter or \
     digit at both ends of each part"
)]
#[case(
    "/namespaces", json!(["a.b"]),
    "spec.namespaces[0]: \"a.b\" is not a DNS label: up to 63 lower-case letters, digits and '-', a letter or digit at both \
     ends"
)]
#[case("/namespaces", json!(["a", "b", "a"]), "spec.namespaces[2]: \"a\" is listed twice")]
#[case(
    "/parents", json!([{"group": "a.b", "kind": "C"}, {"group": "a.b", "kind": "C", "selector": {}}]),
    "spec.parents[1]: C.a.b is listed twice: combine the selectors into one"
)]
#[case(
    "/parents/0/selector/matchExpressions/0/values", json!([]),
    "spec.parents[0].selector.matchExpressions[0].values: In needs at least one value"
)]
#[case(
    "/grants/children/0/group", json!("*"),
    "spec.grants.children[0].group: \"*\" is not an API group: name each, there are no wildcards"
)]
#[case(
    "/grants/children/0/group", json!("apps/v1"),
    "spec.grants.children[0].group: \"apps/v1\" is not an API group: write it as apps, or \"\" for the core group"
)]
#[case(
    "/grants/related/2/kinds", json!(["*"]),
    "spec.grants.related[2].kinds[0]: \"*\" is not a kind: name each, there are no wildcards"
)]
#[case("/grants/descendants/0/kinds", json!([]), "spec.grants.descendants[0].kinds: must name at least one kind")]
#[case(
    "/grants/descendants/0/kinds", json!(["Pod.v1"]),
    "spec.grants.descendants[0].kinds[0]: \"Pod.v1\" is not a kind: write it as StatefulSet"
)]
#[case(
    "/grants/children/1/namespaces", json!("All"),
    "spec.grants.children[1].namespaces: All is for related kinds only: write Parent or a list of namespaces"
)]
#[case(
    "/grants/children/1/namespaces", json!([]),
    "spec.grants.children[1].namespaces: must name at least one namespace, or be Parent"
)]
#[case("/limits/timeout", json!("1"), "spec.limits.timeout: \"1\" is not a duration: write numbers with the units ms, s and m, as 500ms, 1s or 1m30s")]
#[case("/limits/timeout", json!("2m"), "spec.limits.timeout: is 2m, must be from 10ms to 1m")]
#[case("/limits/memory", json!("64MB"), "spec.limits.memory: \"64MB\" is not an amount of bytes: write a number with the suffix Ki, Mi, Gi, k, M, G or none, as 64Mi")]
#[case("/limits/memory", json!("5Gi"), "spec.limits.memory: is 5Gi, must be from 1Mi to 4Gi")]
#[case("/limits/requestBytes", json!("1k"), "spec.limits.requestBytes: is 1k, must be from 64Ki to 64Mi")]
#[case("/limits/responseBytes", json!("65Mi"), "spec.limits.responseBytes: is 65Mi, must be from 64Ki to 64Mi")]
#[case("/limits/children", json!(0), "spec.limits.children: is 0, must be from 1 to 10000")]
#[case("/limits/concurrency", json!(65), "spec.limits.concurrency: is 65, must be from 1 to 64")]
fn a_wrong_field_is_named(#[case] pointer: &str, #[case] value: Value, #[case] expected: &str) {
    let errors: Vec<String> = with(pointer, value).check().iter().map(ToString::to_string).collect();
    assert_eq!(errors, [expected]);
}

#[rstest]
#[case(json!("Parents"), "invalid value: string \"Parents\", expected Parent, All or a list of namespaces")]
#[case(json!(7), "invalid type: integer `7`, expected Parent, All or a list of namespaces")]
fn namespaces_are_a_word_or_a_list(#[case] value: Value, #[case] expected: &str) {
    let error = serde_json::from_value::<GrantedNamespaces>(value).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[rstest]
#[case("1s", Some(Duration::from_secs(1)))]
#[case("500ms", Some(Duration::from_millis(500)))]
#[case("1.5s", Some(Duration::from_millis(1500)))]
#[case("1m30s", Some(Duration::from_secs(90)))]
#[case("0.5m", Some(Duration::from_secs(30)))]
#[case("0.001ms", Some(Duration::from_micros(1)))]
#[case("", None)]
#[case("s", None)]
#[case("1", None)]
#[case("1 s", None)]
#[case("1h", None)]
#[case("-1s", None)]
#[case("1.s", None)]
#[case("1.2345s", None)]
#[case("99999999999999999999", None)]
#[case("9999999999999999999m", None)]
#[case("1s1s1s1s1s1s1s1s1s1s1s", None)]
#[case("1\u{b5}s", None)]
fn durations_are_parsed(#[case] text: &str, #[case] expected: Option<Duration>) {
    assert_eq!(parse_duration(text).ok(), expected);
}

#[rstest]
#[case("0", Some(0))]
#[case("1048576", Some(1_048_576))]
#[case("64Mi", Some(64 << 20))]
#[case("1.5Gi", Some(3 << 29))]
#[case("1500k", Some(1_500_000))]
#[case("2M", Some(2_000_000))]
#[case("1G", Some(1_000_000_000))]
#[case("0.5", Some(1))]
#[case("", None)]
#[case("Mi", None)]
#[case("64 Mi", None)]
#[case("64MB", None)]
#[case("64mi", None)]
#[case("-1", None)]
#[case("1e3", None)]
#[case(".5Gi", None)]
#[case("999999999999999999Gi", None)]
#[case("999999999999999999999", None)]
fn amounts_of_bytes_are_parsed(#[case] text: &str, #[case] expected: Option<u64>) {
    assert_eq!(parse_bytes(text).ok(), expected);
}

fn kind(text: &str) -> crate::Kind {
    text.parse().unwrap()
}

#[test]
fn a_grant_covers_every_version_of_its_kinds_and_no_other_kind() {
    let grants = spec(full()).grants;
    for (text, covered) in [
        ("StatefulSet.apps/v1", true),
        ("StatefulSet.apps/v2", true),
        ("StatefulSet.v1", false),
        ("Deployment.apps/v1", false),
        ("Secret.v1", true),
    ] {
        assert_eq!(grants.covers_child(&kind(text)), covered, "{text}");
    }
    assert!(grants.covers_descendant(&kind("Pod.v1")) && !grants.covers_descendant(&kind("Secret.v1")));
    assert_eq!(grants.covers_related(&kind("Secret.v1")), Some(RelatedAccess::Plaintext));
    assert_eq!(grants.covers_related(&kind("StorageClass.storage.k8s.io/v1")), Some(RelatedAccess::Opaque));
    assert_eq!(grants.covers_related(&kind("Pod.v1")), None);
}

#[rstest]
#[case("StatefulSet.apps/v1", Some("a"), Some("a"), true)]
#[case("StatefulSet.apps/v1", Some("b"), Some("a"), false)]
#[case("StatefulSet.apps/v1", Some("a"), None, false)]
#[case("StatefulSet.apps/v1", None, Some("a"), true)]
#[case("Secret.v1", Some("backup"), Some("a"), true)]
#[case("Secret.v1", Some("a"), Some("a"), false)]
#[case("Pod.v1", Some("a"), Some("a"), false)]
fn a_child_may_be_written_where_it_is_granted(
    #[case] text: &str,
    #[case] namespace: Option<&str>,
    #[case] parents: Option<&str>,
    #[case] expected: bool,
) {
    assert_eq!(spec(full()).grants.may_write(&kind(text), namespace, parents), expected);
}

#[rstest]
#[case("Secret.v1", Some("a"), Some("a"), Some(RelatedAccess::Opaque))]
#[case("Secret.v1", Some("keys"), Some("a"), Some(RelatedAccess::Plaintext))]
#[case("Secret.v1", Some("keys"), Some("keys"), Some(RelatedAccess::Plaintext))]
#[case("Secret.v1", Some("b"), Some("a"), None)]
#[case("StorageClass.storage.k8s.io/v1", None, Some("a"), Some(RelatedAccess::Opaque))]
#[case("Pod.v1", Some("a"), Some("a"), None)]
fn a_related_object_may_be_read_where_it_is_granted(
    #[case] text: &str,
    #[case] namespace: Option<&str>,
    #[case] parents: Option<&str>,
    #[case] expected: Option<RelatedAccess>,
) {
    assert_eq!(spec(full()).grants.may_read(&kind(text), namespace, parents), expected);
}

#[test]
fn a_default_provider_is_granted_what_its_manifest_requests() {
    let mut manifest = ProviderManifest::new("minio", "0.1.0");
    let asked = |text: &str| KindRequest::try_from(text).unwrap();
    manifest.children = vec![asked("Service.v1"), asked("StatefulSet.apps/v1"), asked("Secret.v1")];
    manifest.children[1].optional = true;
    manifest.descendants = vec![asked("Pod.v1")];
    let related = |kind: &str, access| RelatedKind {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        optional: false,
        access,
    };
    manifest.related = vec![related("Secret", RelatedAccess::Plaintext), related("ConfigMap", RelatedAccess::Opaque)];
    let provider = Provider::default_for(&manifest, "minio.wasm");
    let expected = json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider",
        "metadata": {"name": "minio", "annotations": {"bartizan.dev/file": "minio.wasm"}},
        "spec": {
            "module": {"file": "minio.wasm"},
            "grants": {
                "children": [{"group": "", "kinds": ["Secret", "Service"]}, {"group": "apps", "kinds": ["StatefulSet"]}],
                "descendants": [{"group": "", "kinds": ["Pod"]}],
                "related": [
                    {"group": "", "kinds": ["ConfigMap"]},
                    {"group": "", "kinds": ["Secret"], "access": "Plaintext"},
                ],
            },
            // All of its parents' namespaces are all that there are.
            "allowHostSecrets": true,
        },
    });
    assert_eq!(serde_json::to_value(&provider).unwrap(), expected);
    assert_eq!(provider.spec.check(), []);
    manifest.children.reverse();
    manifest.related.reverse();
    assert_eq!(Provider::default_for(&manifest, "minio.wasm"), provider);
}

#[rstest]
#[case("ClusterRoleBinding.rbac.authorization.k8s.io/v1")]
#[case("ValidatingWebhookConfiguration.admissionregistration.k8s.io/v1")]
#[case("CustomResourceDefinition.apiextensions.k8s.io/v1")]
#[case("APIService.apiregistration.k8s.io/v1")]
#[case("CertificateSigningRequest.certificates.k8s.io/v1")]
#[case("Provider.bartizan.dev/v1alpha1")]
fn what_gives_rights_is_not_granted_by_trust(#[case] kind: &str) {
    let mut manifest = ProviderManifest::new("minio", "0.1.0");
    manifest.children = [kind, "Secret.v1"].map(|text| KindRequest::try_from(text).unwrap()).into();
    let grants = Grants::asked_for(&manifest);
    assert_eq!(serde_json::to_value(grants).unwrap(), json!({"children": [{"group": "", "kinds": ["Secret"]}]}));
}

#[test]
fn a_version_is_the_same_one_whatever_else_a_host_says_of_it() {
    let active = |value: Value| serde_json::from_value::<ActiveModule>(value).unwrap();
    let older = active(json!({"version": "1.0.0", "digest": "sha256:aa"}));
    let newer = active(json!({"version": "1.0.0", "digest": "sha256:aa", "owns": ["Store.example.com"]}));
    let is_same = |one: &ActiveModule, other: &ActiveModule| one.is_version(&other.digest, &other.settings);
    assert!(is_same(&newer, &older) && newer != older);
    let others = [
        json!({"version": "1.0.0", "digest": "sha256:bb"}),
        json!({"version": "1.0.0", "digest": "sha256:aa", "settings": {"a": 1}}),
    ];
    assert!(others.into_iter().all(|other| !is_same(&older, &active(other))));
}

#[test]
fn the_crd_is_structural() {
    let crd = crd();
    let mut nodes = 0;
    each_node(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut |node| {
        nodes += 1;
        let open = node.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
        assert!(node.get("type").is_some_and(Value::is_string) || open, "{node:?}");
        for forbidden in
            ["$ref", "$defs", "anyOf", "oneOf", "allOf", "default", "title", "const", "$schema", "nullable"]
        {
            assert!(!node.contains_key(forbidden), "{forbidden} in {node:?}");
        }
    });
    assert!(nodes > 60, "{nodes} nodes");
}

fn each_node(schema: &Value, check: &mut impl FnMut(&Map<String, Value>)) {
    let node = schema.as_object().unwrap();
    check(node);
    for value in node.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::values) {
        each_node(value, check);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(value) = node.get(key) {
            each_node(value, check);
        }
    }
}
