//! The status of a store, from the observed state.

use minio::MinIo;
use rstest::rstest;
use serde_json::{Value, json};

use crate::store::{Store, condition};

/// The condition `Ready` and the printer column of the same name.
fn ready(store: &Store) -> (String, String, String, Value) {
    let answer = store.request().answer::<MinIo>().unwrap();
    let ready = condition(&answer, "Ready").unwrap();
    let text = |field: &str| ready[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"), answer.status.unwrap()["ready"].clone())
}

#[test]
fn a_store_without_servers_is_being_made() {
    let answer = Store::new("photos").request().answer::<MinIo>().unwrap();
    let ready = json!({
        "type": "Ready", "status": "False", "reason": "Creating", "message": "the servers are being created",
    });
    let valid = json!({"type": "Valid", "status": "True", "reason": "SpecValid", "message": ""});
    let credentials =
        json!({"type": "CredentialsReady", "status": "True", "reason": "CredentialsReady", "message": ""});
    let durable = json!({
        "type": "Durable", "status": "False", "reason": "EmptyDir",
        "message": "each server keeps its data in an emptyDir, which is deleted with its pod: set spec.scope.volumeClaimTemplates",
    });
    let expected = json!({
        "observedGeneration": 3,
        "nodes": 4,
        "readyServers": 0,
        "ready": "0/4",
        "endpoint": "http://photos-service.storage.svc.cluster.local:9000",
        "conditions": [credentials, ready, valid, durable],
    });
    assert_eq!(answer.status, Some(expected));
}

#[rstest]
#[case::settled("/status/readyReplicas", 4, "True", "Ready", "all 4 servers are ready", "4/4")]
#[case::one_missing("/status/readyReplicas", 3, "False", "ServersNotReady", "3 of 4 servers are ready", "3/4")]
#[case::none_ready("/status/readyReplicas", 0, "False", "ServersNotReady", "0 of 4 servers are ready", "0/4")]
#[case::pod_too_many("/status/replicas", 5, "False", "ServersNotReady", "4 of 4 servers are ready", "4/4")]
#[case::hand_scaled("/spec/replicas", 2, "False", "ServersNotReady", "4 of 4 servers are ready", "4/4")]
#[case::old_template("/status/updatedReplicas", 1, "False", "Updating", "1 of 4 servers are up to date", "4/4")]
#[case::not_yet_seen(
    "/status/observedGeneration",
    0,
    "False",
    "Progressing",
    "the StatefulSet's controller has not observed the newest spec yet",
    "4/4"
)]
fn readiness_follows_the_stateful_set(
    #[case] pointer: &str,
    #[case] value: i32,
    #[case] status: &str,
    #[case] reason: &str,
    #[case] message: &str,
    #[case] column: &str,
) {
    let store = Store::new("photos").running(4).servers(pointer, json!(value));
    let expected = (status.to_owned(), reason.to_owned(), message.to_owned(), json!(column));
    assert_eq!(ready(&store), expected);
}

#[test]
fn a_stateful_set_without_status_is_unknown_health() {
    let store = Store::new("photos").running(4).servers("/status", json!({}));
    assert_eq!(ready(&store).1, "Progressing");
}

#[test]
fn an_invalid_store_without_servers_says_that_nothing_is_made() {
    let store = Store::new("photos").with(json!({"scope": {"nodeCount": 3}}));
    assert_eq!(ready(&store).1, "InvalidSpec");
}

#[test]
fn an_invalid_store_still_reports_what_runs() {
    let store = Store::new("photos").running(4).with(json!({"scope": {"nodeCount": 3}}));
    let answer = store.request().answer::<MinIo>().unwrap();
    let status = answer.status.unwrap();
    assert_eq!(status["nodes"], 4);
    assert_eq!(status["ready"], "4/4");
    assert_eq!(status["endpoint"], "http://photos-service.storage.svc.cluster.local:9000");
    assert_eq!(status["observedGeneration"], 3);
}
