//! The responses of the hello provider, without a cluster and without WebAssembly.

use bartizan_sdk::testing::TestRequest;
use hello::Hello;
use serde_json::{Value, json};

#[test]
fn a_greeting_becomes_a_config_map() {
    let parent: Value = serde_yaml_ng::from_str(include_str!("../greeting.yaml")).unwrap();
    let answer = TestRequest::new(parent).answer::<Hello>().unwrap();
    let children: Vec<&Value> = answer.children.iter().map(|child| &child.object).collect();
    let expected = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "hello", "namespace": "default"},
        "data": {"greeting": "Hello, world!"},
    });
    assert_eq!(children, [&expected]);
}

#[test]
fn a_greeting_without_a_name_is_held_with_the_field() {
    let parent = json!({
        "apiVersion": "hello.bartizan.dev/v1alpha1",
        "kind": "Greeting",
        "metadata": {"name": "hello"},
        "spec": {},
        "status": {"conditions": [{"type": "Ready"}], "greeted": "before", "times": 3},
    });
    let answer = TestRequest::new(parent).answer::<Hello>().unwrap();
    let status = answer.status.unwrap();
    assert!(answer.hold && status["conditions"][1]["message"] == "spec.name: is required", "{status}");
    // The rest of the status stays.
    assert_eq!((&status["greeted"], &status["times"]), (&json!("before"), &json!(3)));
}
