use rstest::rstest;

use super::*;

fn render(
    manifest: &ProviderManifest,
    account: Option<&Account>,
    namespaces: &[String],
    format: Format,
) -> anyhow::Result<String> {
    Asked::new(manifest, account, namespaces)?.render(manifest, format)
}

fn host() -> Account {
    account("bartizan-system/bartizan").unwrap()
}

fn crd(plural: &str, kind: &str, scope: &str, status: bool) -> Value {
    let subresources = if status { json!({"status": {}}) } else { json!({}) };
    json!({
        "metadata": {"name": format!("{plural}.a.example.com")},
        "spec": {
            "group": "a.example.com", "scope": scope, "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": subresources}],
        },
    })
}

fn manifest(asked: Value) -> ProviderManifest {
    let mut manifest = json!({
        "apiVersion": "provider.bartizan.dev/v1alpha1", "kind": "ProviderManifest", "name": "all", "version": "1.2.3",
    });
    manifest.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
    serde_json::from_value(manifest).unwrap()
}

#[test]
fn the_role_of_minio_in_the_repository_is_what_its_manifest_needs() {
    let manifest: ProviderManifest =
        serde_json::from_str(include_str!("../../../../plugins/minio/manifest.json")).unwrap();
    let text = render(&manifest, None, &[], Format::Yaml).unwrap();
    let in_repository = include_str!("../../../../deploy/providers/minio/rbac.yaml");
    assert!(in_repository.ends_with(&text), "run `cargo xtask generate`:\n{text}");
}

#[test]
fn every_rule_has_its_reason() {
    let kind = |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind});
    let optional = |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind, "optional": true});
    let manifest = manifest(json!({
        "crds": [crd("alphas", "Alpha", "Namespaced", true)],
        "children": [
            kind("v1", "Secret"), kind("v1", "ConfigMap"), kind("a.example.com/v1", "Alpha"), optional("b.example.com/v1", "Key"),
            kind("rbac.authorization.k8s.io/v1", "Role"), kind("rbac.authorization.k8s.io/v1", "RoleBinding"),
        ],
        "descendants": [kind("v1", "Pod"), kind("v1", "Secret")],
        "related": [kind("v1", "Secret"), kind("storage.k8s.io/v1", "StorageClass")],
        "finalizes": true,
    }));
    let expected = r#"# The rights that the provider "all" 1.2.3 needs, as `bartizan rbac` prints them.
# Secrets of all namespaces, the host's own among them: a Provider with this role is accepted only with
# spec.allowHostSecrets. Rights in the namespaces that it serves avoid that: --namespace, or a Provider
# with spec.namespaces (-f).
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: bartizan-bartizan-all
  labels:
    app.kubernetes.io/part-of: bartizan
rules:
  # Its parents: watched; patched to add and remove the host's finalizer.
  - apiGroups: [a.example.com]
    resources: [alphas]
    verbs: [get, list, watch, patch]
  # Their status.
  - apiGroups: [a.example.com]
    resources: [alphas/status]
    verbs: [patch]
  # Whether a parent's namespace is being deleted, and everything in it with it.
  - apiGroups: [""]
    resources: [namespaces]
    verbs: [get]
  # Its children: watched, applied, pruned.
  - apiGroups: [""]
    resources: [configmaps, secrets]
    verbs: [get, list, watch, create, patch, delete]
  # Its children: watched, applied, pruned.
  - apiGroups: [a.example.com]
    resources: [alphas]
    verbs: [get, list, watch, create, patch, delete]
  # Its children: watched, applied, pruned, where they are served.
  # The plural keys of Key is a guess; see `kubectl api-resources`.
  - apiGroups: [b.example.com]
    resources: [keys]
    verbs: [get, list, watch, create, patch, delete]
  # Its children that grant rights: watched, applied, pruned.
  # The API server lets an account grant only rights that it has itself. The manifest does not list those: add the rules of
  # every role that it writes or binds to this role. The verbs escalate (on roles) and bind (on roles that it binds, by
  # resourceNames) lift this restriction, but amount to every right in the cluster: prefer the rules.
  - apiGroups: [rbac.authorization.k8s.io]
    resources: [rolebindings, roles]
    verbs: [get, list, watch, create, patch, delete]
  # Descendants of its children.
  - apiGroups: [""]
    resources: [pods]
    verbs: [get, list, watch]
  # Related objects that it may ask for.
  - apiGroups: [storage.k8s.io]
    resources: [storageclasses]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: bartizan-bartizan-all
  labels:
    app.kubernetes.io/part-of: bartizan
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: bartizan-bartizan-all
subjects:
  - kind: ServiceAccount
    name: bartizan
    namespace: bartizan-system
---
# For people: part of the cluster's own roles view, edit and admin.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  labels:
    app.kubernetes.io/part-of: bartizan
    rbac.authorization.k8s.io/aggregate-to-admin: 'true'
    rbac.authorization.k8s.io/aggregate-to-edit: 'true'
    rbac.authorization.k8s.io/aggregate-to-view: 'true'
  name: bartizan-all-view
rules:
- apiGroups:
  - a.example.com
  resources:
  - alphas
  verbs:
  - get
  - list
  - watch
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  labels:
    app.kubernetes.io/part-of: bartizan
    rbac.authorization.k8s.io/aggregate-to-admin: 'true'
    rbac.authorization.k8s.io/aggregate-to-edit: 'true'
  name: bartizan-all-edit
rules:
- apiGroups:
  - a.example.com
  resources:
  - alphas
  verbs:
  - create
  - delete
  - deletecollection
  - patch
  - update
"#;
    assert_eq!(render(&manifest, Some(&host()), &[], Format::Yaml).unwrap(), expected);
}

#[test]
fn in_namespaces_there_is_a_role_in_each_and_yaml_and_json_say_the_same() {
    let manifest = manifest(json!({
        "crds": [crd("alphas", "Alpha", "Namespaced", false)], "children": [{"apiVersion": "v1", "kind": "ConfigMap"}],
    }));
    let namespaces = ["one".to_owned(), "two".to_owned()];
    let json: Value = serde_json::from_str(&render(&manifest, None, &namespaces, Format::Json).unwrap()).unwrap();
    let text = render(&manifest, None, &namespaces, Format::Yaml).unwrap();
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    let documents: Vec<Value> = documents.map(|one| serde::Deserialize::deserialize(one).unwrap()).collect();
    assert_eq!(json["items"], Value::Array(documents));
    // And two for people, whom it gives nothing that they do not have in a namespace.
    assert_eq!(json["items"].as_array().unwrap().len(), 7);
    assert_eq!(json["items"][6]["metadata"]["name"], "bartizan-all-edit");
    assert_eq!(json["items"][4]["kind"], "RoleBinding");
    assert_eq!(
        json["items"][4]["metadata"],
        json!({
            "name": "bartizan-provider-all", "namespace": "two", "labels": {"app.kubernetes.io/part-of": "bartizan"},
        })
    );
    // Without a status there is nothing to say, and without finalizing the finalizers are left alone.
    let resources: Vec<&Value> =
        json["items"][1]["rules"].as_array().unwrap().iter().map(|rule| &rule["resources"]).collect();
    assert_eq!(resources, [&json!(["alphas"]), &json!(["alphas/finalizers"]), &json!(["configmaps"])]);
}

#[test]
fn parents_outside_of_namespaces_need_a_cluster_role() {
    let manifest = manifest(json!({"crds": [crd("alphas", "Alpha", "Cluster", true)]}));
    let error = render(&manifest, None, &["one".to_owned()], Format::Yaml).unwrap_err().to_string();
    let expected =
        "alphas.a.example.com are cluster-scoped, so that rights in namespaces are not enough: leave out --namespace";
    assert_eq!(error, expected);
}

#[rstest]
#[case("NetworkPolicy", "networkpolicies")]
#[case("Ingress", "ingresses")]
#[case("StorageClass", "storageclasses")]
#[case("Endpoints", "endpoints")]
#[case("Gateway", "gateways")]
#[case("PodDisruptionBudget", "poddisruptionbudgets")]
#[case("IngressClass", "ingressclasses")]
#[case("EndpointSlice", "endpointslices")]
fn plurals_are_as_kubernetes_has_them(#[case] kind: &str, #[case] plural: &str) {
    assert_eq!(guessed(kind), plural);
}

#[rstest]
#[case("a")]
#[case("/a")]
#[case("a/")]
#[case("a/b/c")]
fn an_account_has_a_namespace_and_a_name(#[case] text: &str) {
    assert_eq!(account(text), Err("write it as namespace/name".to_owned()));
}

#[test]
fn parents_that_may_hold_secrets_are_not_for_everybody_who_may_view() {
    let roles = |sensitive: Value| {
        let manifest = manifest(json!({"crds": [crd("alphas", "Alpha", "Namespaced", true)], "sensitive": sensitive}));
        let [view, edit] = <[Value; 2]>::try_from(roles_for_people(&manifest)).unwrap();
        let into = |role: &Value, name: &str| {
            role["metadata"]["labels"].get(format!("rbac.authorization.k8s.io/aggregate-to-{name}")).is_some()
        };
        (into(&view, "view"), into(&view, "edit") && into(&edit, "edit"))
    };
    assert_eq!(roles(json!([])), (true, true));
    assert_eq!(roles(json!(["/spec/password"])), (false, true));
}

const PROVIDER: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: bartizan.dev/v1alpha1
kind: Provider
metadata: {name: gold}
spec:
  module: {oci: {reference: registry.example.com/minio:1}}
  serviceAccountName: storage
  namespaces: [shop, hr]
  grants:
    children:
      - {group: apps, kinds: [StatefulSet]}
      - {group: '', kinds: [Secret], namespaces: [keys, shop]}
    descendants:
      - {group: '', kinds: [Pod]}
    related:
      - {group: storage.k8s.io, kinds: [StorageClass]}
      - {group: '', kinds: [ConfigMap], namespaces: All}
";

fn storage() -> ProviderManifest {
    let kind = |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind});
    serde_json::from_value(json!({
        "apiVersion": "provider.bartizan.dev/v1alpha1", "kind": "ProviderManifest", "name": "minio", "version": "1.0.0",
        "crds": [{"spec": {"group": "minio.rook.io", "scope": "Namespaced", "names": {"kind": "ObjectStore", "plural": "objectstores"}}}],
        "children": [kind("apps/v1", "StatefulSet"), kind("v1", "Secret"), kind("batch/v1", "Job")],
        "descendants": [kind("v1", "Pod")],
        "related": [kind("storage.k8s.io/v1", "StorageClass"), kind("v1", "ConfigMap")],
    }))
    .unwrap()
}

/// The namespace of each role and the resources in it.
fn seen(provider: &Provider) -> Vec<(String, Vec<String>)> {
    let of = |Scope { namespace, manifest }: Scope| {
        let resources = rules(&manifest).into_iter().flat_map(|rule| rule.resources);
        (namespace.unwrap_or_else(|| "everywhere".to_owned()), resources.collect())
    };
    Asked::of(&storage(), None, provider).unwrap().scopes.into_iter().map(of).collect()
}

#[test]
fn rights_are_needed_where_the_provider_serves_and_what_it_is_granted() {
    let provider = document::provider(PROVIDER).unwrap();
    assert_eq!((provider.metadata.name.as_str(), provider.service_account_name().as_str()), ("gold", "storage"));
    let served = ["objectstores", "objectstores/finalizers"];
    let expected = [
        ("everywhere", vec!["configmaps", "storageclasses"]),
        ("hr", [&served[..], &["secrets", "statefulsets", "pods"]].concat()),
        ("keys", vec!["secrets", "pods"]),
        ("shop", [&served[..], &["secrets", "statefulsets", "pods"]].concat()),
    ];
    let expected = expected
        .map(|(scope, resources)| (scope.to_owned(), resources.into_iter().map(str::to_owned).collect::<Vec<_>>()));
    assert_eq!(seen(&provider), expected);
}

#[test]
fn a_provider_of_all_namespaces_needs_its_kinds_everywhere_since_the_host_watches_them_there() {
    let mut provider = document::provider(PROVIDER).unwrap();
    provider.spec.namespaces.clear();
    let refused = Asked::of(&storage(), None, &provider).err().unwrap().to_string();
    assert!(refused.starts_with("it would read the Secrets of all namespaces, the host's own among them"), "{refused}");
    provider.spec.allow_host_secrets = true;
    let scopes: Vec<String> = seen(&provider).into_iter().map(|(scope, _)| scope).collect();
    assert_eq!(scopes, ["everywhere", "keys", "shop"]);
    let everywhere = &seen(&provider)[0].1;
    assert!(everywhere.contains(&"statefulsets".to_owned()) && everywhere.contains(&"secrets".to_owned()));
}

#[test]
fn what_is_wrong_with_a_document_is_said_with_its_path() {
    let error = |text: &str| format!("{:#}", document::provider(text).unwrap_err());
    assert_eq!(error("kind: ConfigMap"), "it holds 0 Providers, must be one");
    assert_eq!(error(&format!("{PROVIDER}\n---\n{PROVIDER}")), "it holds 2 Providers, must be one");
    let wrong = PROVIDER.replace("namespaces: [shop, hr]", "namespaces: shop");
    assert!(error(&wrong).starts_with("spec.namespaces: invalid type"), "{}", error(&wrong));
}
