//! Documents as people write them, and what is said about wrong ones.

use rstest::rstest;

use super::*;

const RIGHT: &str = "\
apiVersion: bartizan.dev/v1alpha1
kind: Provider
metadata:
  name: objects
  labels: {team: storage}
spec:
  module: {file: minio.wasm}
  grants:
    children:
      - {group: apps, kinds: [StatefulSet]}
  limits: {timeout: 2s}
";

fn module(file: &str, documents: &[(&str, &str)]) -> FolderModule {
    let document = |(file, text): &(&str, &str)| Document { file: (*file).to_owned(), text: Ok((*text).to_owned()) };
    FolderModule { file: file.to_owned(), documents: documents.iter().map(document).collect() }
}

/// Why `minio.wasm` with this `minio.yaml` cannot serve.
fn refused(text: &str) -> String {
    let (declared, bad) = declare(vec![module("minio.wasm", &[("minio.yaml", text)])], true);
    assert_eq!((declared.len(), bad.len()), (0, 1), "{declared:?}");
    bad[0].to_string()
}

#[rstest]
#[case(DocumentError::Unreadable("Permission denied (os error 13)".to_owned()), "cannot be read: Permission denied (os error 13)")]
#[case(DocumentError::TooLarge { bytes: 3, limit: 2 }, "cannot be read: it has 3 bytes, more than 2")]
fn a_document_that_could_not_be_read_is_reported_as_that(#[case] error: DocumentError, #[case] message: &str) {
    let document = Document { file: "minio.yaml".to_owned(), text: Err(error) };
    let module = FolderModule { file: "minio.wasm".to_owned(), documents: vec![document] };
    let (declared, bad) = declare(vec![module], true);
    let reason = format!("minio.yaml: {message}");
    assert_eq!((declared.len(), bad), (0, vec![BadModule { file: "minio.wasm".to_owned(), reason }]));
}

#[test]
fn a_document_beside_a_module_is_its_provider_under_its_own_name() {
    // Written so that nothing but the grants of the document can be meant.
    let (mut declared, bad) = declare(vec![module("minio.wasm", &[("minio.yml", RIGHT)])], true);
    assert_eq!(bad, []);
    let manifest = ProviderManifest::new("minio", "0.1.0");
    let provider = declared.remove("minio.wasm").unwrap().provider(&manifest, "minio.wasm");
    let expected = serde_json::json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider",
        "metadata": {
            "name": "objects", "labels": {"team": "storage"}, "annotations": {"bartizan.dev/file": "minio.yml"},
        },
        "spec": {
            "module": {"file": "minio.wasm"},
            "grants": {"children": [{"group": "apps", "kinds": ["StatefulSet"]}]},
            "limits": {"timeout": "2s"},
        },
    });
    assert_eq!(serde_json::to_value(provider).unwrap(), expected);
}

#[rstest]
#[case("---\n")]
#[case("# What it may do.\n---\n")]
fn marks_and_comments_around_a_document_do_not_count(#[case] before: &str) {
    let text = format!("{before}{RIGHT}---\n# nothing\n");
    let (declared, bad) = declare(vec![module("minio.wasm", &[("minio.yaml", &text)])], false);
    assert_eq!((declared.len(), bad), (1, vec![]));
}

#[test]
fn a_manifest_is_granted_without_a_document_only_if_trusted() {
    let (mut declared, bad) = declare(vec![module("minio.wasm", &[])], true);
    assert_eq!(bad, []);
    let manifest = ProviderManifest::new("minio", "0.1.0");
    let provider = declared.remove("minio.wasm").unwrap().provider(&manifest, "minio.wasm");
    assert_eq!(provider, Provider::default_for(&manifest, "minio.wasm"));

    let (declared, bad) = declare(vec![module("minio.wasm", &[]), module("b.wasm", &[])], false);
    assert!(declared.is_empty());
    let said: Vec<String> = bad.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "module minio.wasm: no minio.yaml beside it declares what it may do: write one, or pass --trust-manifests, \
             which grants every provider what its manifest asks for",
            "module b.wasm: no b.yaml beside it declares what it may do: write one, or pass --trust-manifests, which \
             grants every provider what its manifest asks for",
        ]
    );
}

#[test]
fn documents_stand_beside_the_module_under_its_name() {
    assert_eq!(document_names("minio.wasm"), ["minio.yaml", "minio.yml"]);
    assert_eq!(document_names("a.b.wasm"), ["a.b.yaml", "a.b.yml"]);
}

#[test]
fn two_documents_for_a_module_or_one_name_twice_are_refused() {
    let (declared, bad) = declare(vec![module("minio.wasm", &[("minio.yaml", RIGHT), ("minio.yml", RIGHT)])], true);
    assert!(declared.is_empty());
    let expected = "module minio.wasm: minio.yaml and minio.yml both declare what it may do; remove one";
    assert_eq!(bad[0].to_string(), expected);

    let other = RIGHT.replace("minio.wasm", "other.wasm");
    let modules = vec![module("minio.wasm", &[("minio.yaml", RIGHT)]), module("other.wasm", &[("other.yaml", &other)])];
    let (declared, bad) = declare(modules, true);
    assert_eq!(declared.keys().collect::<Vec<_>>(), ["minio.wasm"]);
    let expected = "module other.wasm: other.yaml: Provider objects is declared by minio.yaml already; rename one";
    assert_eq!(bad[0].to_string(), expected);
}

#[rstest]
#[case("", "is empty: write a Provider")]
#[case("---\n# later\n", "is empty: write a Provider")]
#[case("just text", "is not a Provider: begin with apiVersion: bartizan.dev/v1alpha1 and kind: Provider")]
#[case("- a\n- b\n", "is not a Provider: begin with apiVersion: bartizan.dev/v1alpha1 and kind: Provider")]
#[case("spec: {}", "apiVersion: is missing, must be \"bartizan.dev/v1alpha1\"")]
#[case("apiVersion: 1\nkind: Provider", "apiVersion: is not a string; must be \"bartizan.dev/v1alpha1\"")]
#[case("apiVersion: v1\nkind: ConfigMap", "apiVersion: is \"v1\", must be \"bartizan.dev/v1alpha1\"")]
#[case("apiVersion: bartizan.dev/v1alpha1\nkind: Providers", "kind: is \"Providers\", must be \"Provider\"")]
#[case("apiVersion: bartizan.dev/v1alpha1\n", "kind: is missing, must be \"Provider\"")]
fn a_text_that_is_no_provider_is_told(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(refused(text), format!("module minio.wasm: minio.yaml: {expected}"));
}

#[rstest]
#[case("a: [", "is not YAML: did not find expected node content at line 2 column 1, while parsing a flow node")]
#[case("a: 1\na: 2\n", "is not YAML: duplicate entry with key \"a\"")]
fn a_text_that_is_no_yaml_is_told(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(refused(text), format!("module minio.wasm: minio.yaml: {expected}"));
}

#[rstest]
#[case("  name: objects\n", "", "metadata.name: is missing: name the provider")]
#[case("name: objects", "name:", "metadata.name: is missing: name the provider")]
#[case(
    "name: objects",
    "name: My.Objects",
    "metadata.name: \"My.Objects\" is not a DNS label: up to 63 lower-case letters, digits and '-', a letter or digit at \
     both ends"
)]
#[case("name: objects", "name: 7", "metadata.name: invalid type: integer `7`, expected a string")]
#[case(
    "name: objects",
    "name: objects\n  namespace: here",
    "metadata.namespace: unknown field `namespace`, expected one of `name`, `labels`, `annotations`"
)]
#[case(
    "spec:",
    "status: {}\nspec:",
    "status: unknown field `status`, expected one of `apiVersion`, `kind`, `metadata`, `spec`"
)]
#[case(
    "kinds: [StatefulSet]",
    "kinds: [StatefulSet], namespace: a",
    "spec.grants.children[0].namespace: unknown field `namespace`, expected one of `group`, `kinds`, `namespaces`"
)]
#[case(
    "kinds: [StatefulSet]",
    "kinds: [StatefulSet], namespaces: Everywhere",
    "spec.grants.children[0].namespaces: invalid value: string \"Everywhere\", expected Parent, All or a list of namespaces"
)]
#[case(
    "  limits: {timeout: 2s}",
    "  onRemoval: Keep",
    "spec.onRemoval: unknown variant `Keep`, expected `Block` or `Release`"
)]
#[case("timeout: 2s", "memory: 64", "spec.limits.memory: invalid type: integer `64`, expected a string")]
#[case(
    "timeout: 2s}",
    "timeout: 2h, children: 0}\n  namespaces: [A]",
    "spec.namespaces[0]: \"A\" is not a DNS label: up to 63 lower-case letters, digits and '-', a letter or digit at both \
     ends; spec.limits.timeout: \"2h\" is not a duration: write numbers with the units ms, s and m, as 500ms, 1s or 1m30s"
)]
#[case("  module: {file: minio.wasm}\n", "", "spec: missing field `module`")]
#[case("{file: minio.wasm}", "{}", "spec.module: exactly one of file, oci and configMap must be set")]
#[case(
    "minio.wasm",
    "other.wasm",
    "spec.module.file: is \"other.wasm\", must be \"minio.wasm\", the module that it stands beside"
)]
#[case(
    "{file: minio.wasm}",
    "{oci: {reference: example.com/minio}}",
    "spec.module: must be file: minio.wasm, the module that it stands beside; apply Providers with other sources to the \
     cluster"
)]
#[case("  limits:", "---\n", "holds 2 documents, must be one; the kinds of a module are in the module")]
fn a_wrong_field_is_named(#[case] from: &str, #[case] to: &str, #[case] expected: &str) {
    assert!(RIGHT.contains(from), "{from}");
    assert_eq!(refused(&RIGHT.replace(from, to)), format!("module minio.wasm: minio.yaml: {expected}"));
}
