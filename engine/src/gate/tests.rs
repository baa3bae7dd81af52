use std::collections::BTreeMap;

use rstest::rstest;

use super::*;
use crate::grants::Grants;
use crate::secrets::Revealed;

fn parent() -> Observed {
    let object = json!({
        "apiVersion": "minio.rook.io/v1alpha1", "kind": "ObjectStore",
        "metadata": {"name": "s", "namespace": "n", "uid": "p-1", "resourceVersion": "1"}
    });
    Observed::project(object, "m").unwrap()
}

fn check_json(response: &Value) -> Result<Answer, Refusal> {
    let mut full = json!({"apiVersion": API_VERSION, "kind": RESPONSE_KIND});
    full.as_object_mut().unwrap().extend(response.as_object().unwrap().clone());
    check_bytes(full.to_string().as_bytes())
}

fn check_bytes(response: &[u8]) -> Result<Answer, Refusal> {
    let grants = Grants {
        children: BTreeMap::from([
            (Kind::new("", "v1", "ConfigMap"), Grant::of_parent(true)),
            (Kind::new("", "v1", "Secret"), Grant::of_parent(true)),
            (Kind::new("", "v1", "Namespace"), Grant::of_parent(false)),
        ]),
        related: BTreeMap::from([
            (Kind::new("", "v1", "Secret"), Grant::of_parent(true)),
            (Kind::new("", "v1", "Node"), Grant::of_parent(false)),
        ]),
        ..Grants::default()
    };
    check(read(response)?, &input(&grants, &parent(), &Revealed::default()))
}

fn input<'a>(grants: &'a Grants, parent: &'a Observed, issued: &'a Revealed) -> GateInput<'a> {
    GateInput {
        provider: "minio",
        grants,
        parent,
        children: &[],
        max_children: 3,
        finalizes: false,
        finalizing: false,
        issued,
    }
}

fn child(object: &Value) -> Value {
    json!({"children": [{"object": object}]})
}

fn config_map(metadata: Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    object
}

#[test]
fn an_accepted_child_carries_labels_owner_and_the_hash_of_its_intent() {
    let answer = check_json(&child(&config_map(json!({"labels": {"app": "x"}})))).unwrap();
    let intent = &answer.intents[0];
    let metadata = &intent.object["metadata"];
    assert_eq!(intent.key.to_string(), "ConfigMap n/a");
    assert_eq!(metadata["namespace"], "n");
    assert_eq!(
        metadata["labels"],
        json!({"app": "x", "bartizan.dev/provider": "minio", "bartizan.dev/owner-uid": "p-1"})
    );
    assert_eq!(
        metadata["ownerReferences"],
        json!([{
            "apiVersion": "minio.rook.io/v1alpha1", "kind": "ObjectStore", "name": "s", "uid": "p-1",
            "controller": true, "blockOwnerDeletion": true
        }])
    );
    assert_eq!(metadata["annotations"], json!({"bartizan.dev/intent": intent.hash}));
}

#[test]
fn the_hash_changes_with_the_intent_and_with_nothing_else() {
    let hash = |object: &Value| check_json(&child(object)).unwrap().intents[0].hash.clone();
    let plain = hash(&config_map(json!({})));
    assert_eq!(plain, hash(&config_map(json!({"namespace": "n"}))));
    assert_ne!(plain, hash(&config_map(json!({"labels": {"a": "b"}}))));
}

#[rstest]
#[case::no_json(b"garbage", "response: expected value at line 1 column 1")]
#[case::not_utf8(b"\"\xff\"", "response: invalid unicode code point at line 1 column 2")]
#[case::empty(b"", "response: EOF while parsing a value at line 1 column 0")]
#[case::wrong_type(
    br#"{"children": 3}"#,
    "response.children: invalid type: integer `3`, expected a sequence at line 1 column 14"
)]
#[case::trailing(
    br#"{"apiVersion":"provider.bartizan.dev/v1alpha1","kind":"ReconcileResponse"} x"#,
    "response: trailing characters at line 1 column 76"
)]
#[case::other_version(
    br#"{"apiVersion":"v2","kind":"ReconcileResponse"}"#,
    "response.apiVersion: must be \"provider.bartizan.dev/v1alpha1\", not \"v2\""
)]
#[case::other_kind(
    br#"{"apiVersion":"provider.bartizan.dev/v1alpha1","kind":"Pod"}"#,
    "response.kind: must be \"ReconcileResponse\", not \"Pod\""
)]
fn bytes_that_are_not_a_response_are_refused(#[case] bytes: &[u8], #[case] message: &str) {
    let refusal = check_bytes(bytes).unwrap_err().to_string();
    assert!(refusal.starts_with(message), "{refusal}");
}

#[rstest]
#[case::misspelt(json!({"childs": []}), "response.childs: unknown field `childs`, expected one of")]
#[case::busy_loop(json!({"resyncAfterSeconds": 0}), "response.resyncAfterSeconds: 0 would be a busy loop: leave it out, or set 1 or more")]
#[case::too_many(json!({"children": [{"object": {}}, {"object": {}}, {"object": {}}, {"object": {}}]}), "response.children: 4 children exceed the limit of 3")]
#[case::status_text(json!({"status": "fine"}), "response.status: must be an object")]
#[case::conditions_map(json!({"status": {"conditions": {}}}), "response.status.conditions: must be a list")]
#[case::condition_shape(json!({"status": {"conditions": [{"type": "Ready"}]}}), "response.status.conditions[0]: is not a condition: missing field `status`")]
#[case::condition_reason(json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": ""}]}}), "response.status.conditions[0]: a condition needs a type and a reason")]
#[case::condition_of_host(json!({"status": {"conditions": [{"type": "Synced", "status": "True", "reason": "R"}]}}), "response.status.conditions[0]: condition type Synced is reserved for the host")]
#[case::condition_twice(json!({"status": {"conditions": [{"type": "A", "status": "True", "reason": "R"}, {"type": "A", "status": "True", "reason": "R"}]}}), "response.status.conditions[1]: condition A appears twice")]
#[case::generate_nowhere(json!({"generate": [{"secret": "s", "key": "k", "length": 20}]}), "response.generate[0].secret: Secret \"s\" is not among the children of this answer")]
#[case::generate_short(json!({"generate": [{"secret": "s", "key": "k", "length": 3}]}), "response.generate[0].length: 3 characters: must be 8 to 1024")]
fn an_invalid_answer_is_refused(#[case] response: Value, #[case] message: &str) {
    let refusal = check_json(&response).unwrap_err().to_string();
    assert!(refusal.starts_with(message), "{refusal}");
}

#[rstest]
#[case::text(json!("x"), "response.children[0].object: must be an object")]
#[case::no_version(json!({"kind": "ConfigMap"}), "response.children[0].object.apiVersion: is required and must be a string")]
#[case::no_kind(json!({"apiVersion": "v1"}), "response.children[0].object.kind: is required and must be a string")]
#[case::no_name(json!({"apiVersion": "v1", "kind": "ConfigMap"}), "response.children[0].object.metadata.name: is required and must be a string")]
#[case::not_granted(
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet"}),
    "response.children[0].object: StatefulSet.apps/v1 was not granted to provider minio; it may write ConfigMap.v1, Namespace.v1, Secret.v1"
)]
#[case::cluster_scoped(
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "namespace": "n"}}),
    "response.children[0].object.metadata.namespace: Namespace.v1 is cluster-scoped: leave it out"
)]
#[case::namespace(
    config_map(json!({"namespace": "kube-system"})),
    "response.children[0].object.metadata.namespace: \"kube-system\" is not the parent's namespace \"n\", and was not granted"
)]
#[case::owner(config_map(json!({"ownerReferences": []})), "response.children[0].object.metadata.ownerReferences: the host sets the owner reference: leave it out")]
#[case::finalizers(config_map(json!({"finalizers": ["x"]})), "response.children[0].object.metadata.finalizers: is not for providers to set: leave it out")]
#[case::version(config_map(json!({"resourceVersion": "1"})), "response.children[0].object.metadata.resourceVersion: is not for providers to set: leave it out")]
#[case::managed(config_map(json!({"managedFields": []})), "response.children[0].object.metadata.managedFields: is not for providers to set: leave it out")]
#[case::generate_name(config_map(json!({"generateName": "x"})), "response.children[0].object.metadata.generateName: is not supported: set metadata.name")]
#[case::name(config_map(json!({"name": "../../x"})), "response.children[0].object.metadata.name: \"../../x\" is not a DNS subdomain: up to 253 lower-case letters, digits, '-' and '.', a letter or digit at both ends of each part")]
#[case::name_with_a_space(config_map(json!({"name": "a b"})), "response.children[0].object.metadata.name: \"a b\" is not a DNS subdomain: up to 253 lower-case letters, digits, '-' and '.', a letter or digit at both ends of each part")]
#[case::name_of_a_namespace(
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}}),
    "response.children[0].object.metadata.name: \"a.b\" is not a DNS label: up to 63 lower-case letters, digits and '-', a letter or digit at both ends"
)]
#[case::label(config_map(json!({"labels": {"bartizan.dev/owner-uid": "q"}})), "response.children[0].object.metadata.labels: \"bartizan.dev/owner-uid\": keys with the prefix bartizan.dev/ are reserved for the host")]
#[case::annotation(config_map(json!({"annotations": {"a": 1}})), "response.children[0].object.metadata.annotations: \"a\" must be a string")]
#[case::status(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "status": {"ready": true}}), "response.children[0].object.status: the status of a child is set by its controller: leave it out")]
#[case::string_data(
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {}}),
    "response.children[0].object.stringData: set data (base64) instead: stringData is never read back, so drift in it would not be detected"
)]
fn one_object_that_a_provider_may_not_write_refuses_the_whole_answer(#[case] object: Value, #[case] message: &str) {
    let good = config_map(json!({"name": "good"}));
    let refusal = check_json(&json!({"children": [{"object": object}, {"object": good}]})).unwrap_err();
    assert_eq!(refusal.to_string(), message);
}

#[test]
fn a_duplicate_object_is_refused_however_its_namespace_is_set() {
    let object = config_map(json!({}));
    let other = config_map(json!({"namespace": "n"}));
    let refusal = check_json(&json!({"children": [{"object": object}, {"object": other}]})).unwrap_err();
    assert_eq!(refusal.to_string(), "response.children[1].object: ConfigMap n/a appears twice in the answer");
}

#[test]
fn a_value_is_generated_in_a_secret_and_never_replaces_an_explicit_one() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"own": "eA=="}});
    let generate =
        |key: &str| json!({"children": [{"object": secret}], "generate": [{"secret": "s", "key": key, "length": 20}]});
    let answer = check_json(&generate("password")).unwrap();
    assert_eq!(answer.intents[0].generate[0].key, "password");
    let refusal = check_json(&generate("own")).unwrap_err();
    assert_eq!(refusal.to_string(), "response.generate[0].key: Secret \"s\" already has a value for \"own\"");
}

#[test]
fn objects_as_go_writes_them_are_accepted_and_cleaned() {
    let mut object = config_map(json!({"creationTimestamp": null, "labels": null, "annotations": null}));
    object["status"] = json!({});
    let plain = check_json(&child(&config_map(json!({})))).unwrap();
    let cleaned = check_json(&child(&object)).unwrap();
    assert_eq!(cleaned.intents, plain.intents);
    object["status"] = Value::Null;
    assert_eq!(check_json(&child(&object)).unwrap().intents, plain.intents);
}

#[test]
fn an_answer_of_too_many_values_is_refused_before_it_is_parsed() {
    let answer = json!({"apiVersion": API_VERSION, "kind": RESPONSE_KIND, "children": [], "status": {"junk": vec![json!({"": 0}); 10_000]}});
    let text = answer.to_string();
    let most = crate::weight::of_answer(text.len());
    let refusal = read_within(text.as_bytes(), most).unwrap_err().to_string();
    assert!(
        refusal.starts_with("response: has so many values that it would take more than 0 MiB of memory"),
        "{refusal}"
    );
    assert!(read_within(text.as_bytes(), 64 << 20).is_ok());
}
