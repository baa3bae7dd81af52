//! Requests: failures of malformed payloads and parents, unknown fields, and values that must survive.

use bartizan_sdk::testing::TestRequest;
use bartizan_sdk::{Provider, answer, reconcile_bytes};
use rstest::rstest;
use serde_json::{Value, json};

use crate::disk::DiskProvider;

pub(crate) fn disk(spec: &Value) -> Value {
    json!({"apiVersion": "example.dev/v1", "kind": "Disk", "metadata": {"name": "a", "namespace": "n"}, "spec": spec})
}

#[rstest]
#[case::nothing("", "the payload is not a ReconcileRequest: malformed JSON at byte 0")]
#[case::a_list("[]", "the payload is not a ReconcileRequest: malformed JSON at byte 1")]
#[case::cut_off(r#"{"apiVersion": "provider.b"#, "the payload is not a ReconcileRequest: malformed JSON at byte 15")]
#[case::no_parent(
    r#"{"apiVersion": "provider.bartizan.dev/v1alpha1", "kind": "ReconcileRequest"}"#,
    "the payload is not a ReconcileRequest: it has no parent"
)]
#[case::another_version(
    &request("example.dev/v9", "ReconcileRequest", r#"{}"#),
    "the payload is not a ReconcileRequest: it is a \"ReconcileRequest\" of \"example.dev/v9\", and this provider understands \
     provider.bartizan.dev/v1alpha1"
)]
#[case::parent_is_a_list(
    &request("provider.bartizan.dev/v1alpha1", "ReconcileRequest", "[]"),
    "the payload is not a ReconcileRequest: its parent: malformed JSON at byte 1"
)]
#[case::another_parent(
    &request("provider.bartizan.dev/v1alpha1", "ReconcileRequest", r#"{"apiVersion": "v1", "kind": "Pod"}"#),
    "the parent is a \"Pod\" of \"v1\", not a Disk of example.dev/v1"
)]
#[case::nameless_parent(
    &request("provider.bartizan.dev/v1alpha1", "ReconcileRequest", r#"{"apiVersion": "example.dev/v1", "kind": "Disk"}"#),
    "the parent has no name"
)]
fn what_is_not_a_request_is_an_internal_failure(#[case] payload: &str, #[case] message: &str) {
    let failure = answer::<DiskProvider>(payload.as_bytes()).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.to_string().as_str()), ("internal", message));
}

fn request(api_version: &str, kind: &str, parent: &str) -> String {
    format!(
        r#"{{"apiVersion": "{api_version}", "kind": "{kind}", "provider": {{"name": "p", "version": "1", "settings": {{}}}},
            "cluster": {{"version": "v1.36.3"}}, "parent": {parent}}}"#
    )
}

#[test]
fn bytes_that_are_not_text_are_an_internal_failure() {
    let failure = answer::<DiskProvider>(&[0xff]).unwrap_err();
    let message = "the payload is not a ReconcileRequest: invalid utf-8 sequence of 1 bytes from index 0";
    assert_eq!(failure.to_string(), message);
}

#[test]
fn a_child_that_cannot_be_read_is_an_internal_failure() {
    let broken = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a", "namespace": "n"},
        "spec": {"replicas": "many"},
    });
    let request = TestRequest::new(disk(&json!({"size": 1, "former": "Solid"}))).child(broken);
    let failure = request.answer::<DiskProvider>().unwrap_err();
    assert_eq!(failure.code.as_str(), "internal");
    assert!(
        failure.message.starts_with("the StatefulSet n/a cannot be read: invalid type: string \"many\""),
        "{failure}"
    );
}

#[test]
fn unknown_fields_are_reported_by_the_sdk_wherever_they_stand() {
    let mut parent =
        disk(&json!({"size": 7, "former": "Solid", "colour": "red", "scope": {"nodeCount": 1, "useAllNodes": true}}));
    parent["data"] = json!({});
    let answer = TestRequest::new(parent).answer::<DiskProvider>().unwrap();
    assert_eq!(
        answer.status,
        Some(json!({"conditions": [{
            "type": "UnknownFields",
            "status": "True",
            "reason": "UnknownFields",
            "message": "ignored: spec.colour, spec.scope.useAllNodes, data",
        }]}))
    );
}

#[test]
fn of_many_unknown_fields_some_are_named_and_the_others_counted() {
    let mut parent = disk(&json!({"size": 7, "former": "Solid"}));
    for index in 10..22 {
        parent["spec"][format!("x{index}")] = json!(null);
    }
    let answer = TestRequest::new(parent).answer::<DiskProvider>().unwrap();
    let message = "ignored: spec.x10, spec.x11, spec.x12, spec.x13, spec.x14, spec.x15, spec.x16, spec.x17, spec.x18, \
                   spec.x19 and 2 more";
    assert_eq!(answer.status.unwrap()["conditions"][0]["message"], message);
}

/// `serde_json` rounds some of these to a neighbour unless its feature `float_roundtrip` is on.
#[rstest]
#[case("99.99999999999999")]
#[case("100.00000000000001")]
#[case("31.245270191439438")]
#[case("1.7976931348623157e+308")]
#[case("5e-324")]
fn a_float_is_written_with_the_digits_that_were_read(#[case] digits: &str) {
    let parent = disk(&json!({"size": 9, "former": "Solid", "weights": {"typed": 0}, "anything": {"untyped": 0}}));
    let bytes = TestRequest::new(parent).bytes(DiskProvider::CHILDREN);
    let request = String::from_utf8(bytes).unwrap().replace("yped\":0", &format!("yped\":{digits}"));
    let response = String::from_utf8(reconcile_bytes::<DiskProvider>(request.as_bytes()).unwrap()).unwrap();
    let status = format!("\"status\":{{\"typed\":{digits},\"untyped\":{{\"untyped\":{digits}}}}}");
    assert!(response.contains(&status), "{response}");
}

#[test]
fn fields_of_a_request_that_are_new_are_ignored() {
    let bytes = TestRequest::new(disk(&json!({"size": 7, "former": "Solid"}))).bytes(DiskProvider::CHILDREN);
    let mut request: Value = serde_json::from_slice(&bytes).unwrap();
    request["weather"] = json!("fine");
    assert!(answer::<DiskProvider>(request.to_string().as_bytes()).is_ok());
}
