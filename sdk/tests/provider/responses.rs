//! Responses as the host parses them.

use bartizan_sdk::gates::{is_pending, is_settled, next_partition, released};
use bartizan_sdk::observed::{Observed, PodView, Rollout, StatefulSetView};
use bartizan_sdk::testing::TestRequest;
use bartizan_sdk::{Failure, OnDelete, OnImmutableChange, ReconcileResponse, config_hash, fingerprint};
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
    let text = object.to_string();
    let view = StatefulSetView::read(&text).unwrap();
    assert_eq!(view.rollout(3), expected);
}

#[test]
fn a_hash_is_short_and_the_same_on_every_machine() {
    assert_eq!(config_hash(&("keys", Some(1))), "1f882dab2bb6d9a5");
    assert_eq!(fingerprint(b"abc"), "44bc2cf5ad770999");
}

#[test]
fn waves_keep_related_and_events_are_written_by_the_contract() {
    let named = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "n"}});
    let request = TestRequest::new(disk(&json!({"size": 8, "former": "Solid"})));
    let answer = request.clone().answer::<DiskProvider>().unwrap();
    assert_eq!(answer.events[0].message, "0 pods, 0 beside");
    let request = request.descendant(named("Pod", "a-0")).related(named("ConfigMap", "beside"));
    let answer = request.answer::<DiskProvider>().unwrap();
    assert_eq!((answer.events[0].reason.as_str(), answer.events[0].message.as_str()), ("Looked", "1 pods, 1 beside"));
    let treatment = |index: usize| {
        let child = &answer.children[index];
        (child.wave, child.on_delete, child.on_immutable_change)
    };
    assert_eq!(treatment(0), (2, OnDelete::Retain, OnImmutableChange::Refuse));
    assert_eq!(treatment(1), (0, OnDelete::Delete, OnImmutableChange::RecreateOrphan));
    assert_eq!((answer.keep[0].api_version.as_str(), answer.keep[0].name.as_str()), ("apps/v1", "kept"));
    assert_eq!((answer.related[0].kind.as_str(), &answer.related[0].names), ("ConfigMap", &vec!["beside".to_owned()]));
}

fn set(partition: i32, current: &str) -> StatefulSetView<'static> {
    let status = json!({
        "observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2 - partition.min(2),
        "currentRevision": current, "updateRevision": "new",
    });
    let object = json!({
        "metadata": {"generation": 2}, "status": status,
        "spec": {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": partition}}},
    });
    Observed::read(object.to_string().leak()).unwrap()
}

fn pod(ordinal: i32, revision: &str, ready: &str, going: bool) -> PodView<'static> {
    let mut object = json!({
        "metadata": {"name": format!("a-{ordinal}"), "labels": {"controller-revision-hash": revision}},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    });
    if going {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    Observed::read(object.to_string().leak()).unwrap()
}

#[rstest]
#[case::all_new(0, vec![pod(0, "new", "True", false), pod(1, "new", "True", false)], true)]
#[case::held_back(1, vec![pod(0, "old", "True", false), pod(1, "new", "True", false)], true)]
#[case::not_arrived(0, vec![pod(0, "old", "True", false), pod(1, "new", "True", false)], false)]
#[case::not_ready(0, vec![pod(0, "new", "True", false), pod(1, "new", "False", false)], false)]
#[case::going(0, vec![pod(0, "new", "True", false), pod(1, "new", "True", true)], false)]
#[case::missing(0, vec![pod(0, "new", "True", false)], false)]
fn a_stateful_set_is_settled_when_status_and_pods_agree(
    #[case] partition: i32,
    #[case] pods: Vec<PodView<'static>>,
    #[case] expected: bool,
) {
    assert_eq!(is_settled(&set(partition, "old"), &pods.iter().collect::<Vec<_>>()), expected);
}

#[test]
fn a_partition_goes_down_by_one_pod_at_a_time() {
    let steps = [2, 1, 0].map(|partition| (next_partition(&set(partition, "old")), released(&set(partition, "old"))));
    assert_eq!(steps, [(1, 0), (0, 1), (0, 2)]);
    assert_eq!(
        [is_pending(&set(2, "old")), is_pending(&set(0, "old")), is_pending(&set(0, "new"))],
        [true, true, false]
    );
    assert_eq!(next_partition(&set(9, "old")), 1, "a partition beyond the last pod is as good as frozen");
}
