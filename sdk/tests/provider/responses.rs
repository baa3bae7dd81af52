//! What crosses the sandbox on the way back.

use bartizan_sdk::observed::{Rollout, StatefulSetView};
use bartizan_sdk::testing::TestRequest;
use bartizan_sdk::{Failure, ReconcileResponse, config_hash};
use rstest::rstest;
use serde_json::{Value, json};

use crate::disk::DiskProvider;
use crate::requests::disk;

fn ask(size: u32) -> Result<ReconcileResponse, Failure> {
    let servers = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a", "namespace": "n"},
    });
    TestRequest::new(disk(&json!({"size": size, "former": "Solid"}))).child(servers).answer::<DiskProvider>()
}

#[test]
fn a_typed_child_is_in_the_namespace_of_its_parent() {
    let answer = ask(1).unwrap();
    let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}});
    assert_eq!(answer.children[0].object, expected);
    assert_eq!(answer.status, Some(json!({"spins": true})), "without conditions the status is the provider's alone");
}

#[test]
fn a_hold_carries_conditions_and_no_children() {
    let answer = ask(2).unwrap();
    assert!(answer.hold && answer.children.is_empty());
    let expected = json!({"conditions": [
        {"type": "Valid", "status": "True", "reason": "SpecValid", "message": ""},
        {"type": "Ready", "status": "False", "reason": "Waiting", "message": "n/a"},
    ]});
    assert_eq!(answer.status, Some(expected));
}

#[test]
fn the_least_resync_is_one_second() {
    let answer = ask(3).unwrap();
    assert_eq!(answer.resync_after_seconds, Some(1));
    assert_eq!((answer.generate[0].secret.as_str(), answer.generate[0].length), ("keys", 12));
    assert_eq!(answer.status, None);
}

#[rstest]
#[case(4, "internal", "the status is not an object", None)]
#[case(5, "internal", "a child is not JSON: key must be a string", None)]
#[case(6, "retry", "the disk is busy", Some(7))]
fn what_cannot_be_answered_is_a_failure(
    #[case] size: u32,
    #[case] code: &str,
    #[case] message: &str,
    #[case] seconds: Option<u32>,
) {
    let failure = ask(size).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.message.as_str()), (code, message));
    assert_eq!(failure.retry_after_seconds, seconds);
}

#[rstest]
#[case::settled(json!({}), Rollout::Settled)]
#[case::not_seen(json!({"observedGeneration": 1}), Rollout::Unobserved)]
#[case::missing(json!({"replicas": 2}), Rollout::Unready)]
#[case::unready(json!({"readyReplicas": 2}), Rollout::Unready)]
#[case::surplus(json!({"replicas": 4, "readyReplicas": 4}), Rollout::Unready)]
#[case::old(json!({"updatedReplicas": 1}), Rollout::Updating)]
fn a_stateful_set_is_settled_when_all_its_pods_are_ready_and_new(#[case] status: Value, #[case] expected: Rollout) {
    let mut full = json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3});
    full.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    let object = json!({"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": full});
    let view: StatefulSetView = serde_json::from_value(object).unwrap();
    assert_eq!(view.rollout(3), expected);
}

#[test]
fn a_hash_is_short_and_the_same_on_every_machine() {
    assert_eq!(config_hash(&("keys", Some(1))), "1f882dab2bb6d9a5");
}
