//! The provider's answer, and that the CRD in the repository is up to date.

use bartizan_sdk::testing::TestRequest;
use serde_json::{Value, json};
use triple::Triple;

#[test]
fn a_triple_becomes_three_config_maps_and_a_status() {
    let parent = json!({
        "apiVersion": "bench.bartizan.dev/v1alpha1",
        "kind": "Triple",
        "metadata": {"name": "t", "namespace": "n"},
        "spec": {"value": "v"},
    });
    let answer = TestRequest::new(parent).answer::<Triple>().unwrap();
    let names: Vec<&Value> = answer.children.iter().map(|child| &child.object["metadata"]["name"]).collect();
    assert_eq!(names, ["t-0", "t-1", "t-2"]);
    assert!(answer.children.iter().all(|child| child.object["data"] == json!({"value": "v"})));
    let status = serde_json::to_value(answer.status).unwrap();
    assert_eq!(status["value"], "v");
    assert_eq!(
        (&status["conditions"][0]["type"], &status["conditions"][0]["status"]),
        (&json!("Ready"), &json!("True"))
    );
}

#[test]
fn the_crd_that_the_bench_applies_matches_the_code() {
    let written: Value = serde_yaml_ng::from_str(include_str!("../deploy/crd.yaml")).unwrap();
    let current = bartizan_sdk::crd::<Triple>();
    let text = serde_yaml_ng::to_string(&current).unwrap();
    assert_eq!(written, current, "write this into deploy/crd.yaml:\n{text}");
}
