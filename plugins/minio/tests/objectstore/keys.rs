//! A store keeps the keys that it was made with.

use bartizan_sdk::{OnDelete, ReconcileResponse};
use minio::MinIo;
use serde_json::{Value, json};

use crate::store::{Store, child, condition};

const FINGERPRINT: &str = "/metadata/annotations/minio.rook.io~1credentials-hash";

fn answer(store: &Store) -> ReconcileResponse {
    store.request().answer::<MinIo>().unwrap()
}

/// Status, reason and message of `CredentialsReady`.
fn ready(answer: &ReconcileResponse) -> (String, String, String) {
    let condition = condition(answer, "CredentialsReady").unwrap();
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

fn has(answer: &ReconcileResponse, kind: &str) -> bool {
    answer.children.iter().any(|child| child.object["kind"] == kind)
}

fn own_data(answer: &ReconcileResponse) -> Value {
    child(answer, "Secret", "photos-credentials")["data"].clone()
}

fn named(name: &str) -> Store {
    Store::new("photos").with(json!({"credentials": {"name": name}}))
}

fn inline(secret_key: &str) -> Value {
    json!({"credentials": {"accessKey": "admin", "secretKey": secret_key}})
}

const KEYS: [(&str, &str); 2] = [("username", "a"), ("password", "b")];
const OTHERS: [(&str, &str); 2] = [("username", "a"), ("password", "c")];

#[test]
fn keys_that_nobody_gave_are_made_by_the_host_and_never_again() {
    let store = Store::new("photos");
    let first = answer(&store);
    assert_eq!(own_data(&first), Value::Null);
    let generated = |answer: &ReconcileResponse| -> Vec<(String, String, u16)> {
        answer.generate.iter().map(|value| (value.secret.clone(), value.key.clone(), value.length)).collect()
    };
    let wanted = [("username", 20), ("password", 40)]
        .map(|(key, length)| ("photos-credentials".to_owned(), key.to_owned(), length));
    assert_eq!(generated(&first), wanted);
    assert_eq!(child(&first, "StatefulSet", "photos").pointer(FINGERPRINT), None, "they are not known yet");

    let running = store.running(4);
    let second = answer(&running);
    assert_eq!(generated(&second), wanted, "the host keeps what it made");
    let fingerprint = child(&second, "StatefulSet", "photos").pointer(FINGERPRINT).unwrap().clone();
    // The Secret is deleted by hand, whether or not its fingerprint was recorded.
    for recorded in [None, Some(&fingerprint)] {
        let mut lost = running.clone();
        if let Some(recorded) = recorded {
            lost = lost.annotate("minio.rook.io/credentials-hash", recorded);
        }
        let lost = answer(&lost.own_keys(None));
        assert!(!has(&lost, "Secret") && !has(&lost, "StatefulSet") && lost.generate.is_empty());
        assert_eq!(lost.keep[0].name, "photos", "the servers stay as they are");
        assert_eq!(ready(&lost).1, "SecretMissing");
        assert_eq!(child(&lost, "Service", "photos").pointer(FINGERPRINT), recorded);
    }
}

#[test]
fn a_missing_or_incomplete_secret_makes_no_servers() {
    let missing = answer(&named("nope"));
    assert!(!has(&missing, "StatefulSet") && !has(&missing, "Secret") && has(&missing, "Service"));
    assert_eq!(missing.related[0].names, ["photos-credentials", "nope"]);
    let expected = "spec.credentials.name: Secret nope does not exist; create it with the keys username and password";
    assert_eq!(ready(&missing), ("False".to_owned(), "SecretNotFound".to_owned(), expected.to_owned()));
    let not_ready = condition(&missing, "Ready").unwrap();
    assert_eq!((&not_ready["reason"], &not_ready["message"]), (&json!("CredentialsNotReady"), &json!(expected)));

    let incomplete = answer(&named("keys").secret("keys", &[("username", "a")]));
    assert!(!has(&incomplete, "StatefulSet"));
    let (_, reason, message) = ready(&incomplete);
    assert_eq!(reason, "SecretIncomplete");
    assert_eq!(message, "spec.credentials.name: Secret keys has no value for password");

    let complete = answer(&named("keys").secret("keys", &KEYS));
    assert!(has(&complete, "StatefulSet"));
    assert_eq!(own_data(&complete), json!({"username": "token-a", "password": "token-b"}));
    assert_eq!(ready(&complete).0, "True");
}

#[test]
fn keys_that_change_never_reach_a_store_that_runs() {
    let running = named("keys").secret("keys", &KEYS).running(4);
    let before = answer(&running);
    let after = answer(&running.clone().secret("keys", &OTHERS));
    assert_eq!(own_data(&after), json!({"username": "token-a", "password": "token-b"}));
    assert_eq!(child(&before, "StatefulSet", "photos"), child(&after, "StatefulSet", "photos"), "nothing restarts");
    assert_eq!((ready(&after).0.as_str(), ready(&after).1.as_str()), ("False", "RotationPending"));
    assert_eq!(condition(&after, "Ready").unwrap()["status"], "True");
    // The Secret of the user goes: the store has its own.
    let gone = answer(&named("keys").secret("keys", &KEYS).running(4).without_secrets());
    assert_eq!((own_data(&gone), ready(&gone).0.as_str()), (own_data(&before), "True"));

    let running = Store::new("photos").with(inline("first-password")).running(4);
    let (before, after) = (answer(&running), answer(&running.clone().with(inline("second-password"))));
    assert_eq!(own_data(&before), own_data(&after));
    assert_eq!(child(&before, "StatefulSet", "photos"), child(&after, "StatefulSet", "photos"));
    assert_eq!(ready(&after).1, "RotationPending");
}

#[test]
fn a_secret_that_was_lost_or_edited_is_restored_from_the_keys_that_fit_only() {
    let running = named("keys").secret("keys", &KEYS).running(4);
    for own in [None, Some(&OTHERS[..]), Some(&KEYS[..1])] {
        let restored = answer(&running.clone().own_keys(own));
        assert_eq!(own_data(&restored), json!({"username": "token-a", "password": "token-b"}), "{own:?}");
        assert_eq!(ready(&restored).0, "True");
        // What the spec names now does not fit, either.
        let lost = answer(&running.clone().secret("keys", &OTHERS).own_keys(own));
        assert!(!has(&lost, "Secret"), "{own:?}");
        assert_eq!(lost.keep.len(), 1 + usize::from(own.is_some()), "what is there stays");
        assert_eq!(ready(&lost).1, if own.is_some() { "SecretChanged" } else { "SecretMissing" });
    }
}

#[test]
fn the_secret_stays_as_long_as_the_volumes() {
    let treatment = |store: Store| {
        let answer = answer(&store);
        let secret = answer.children.into_iter().find(|child| child.object["kind"] == "Secret").unwrap();
        secret.on_delete
    };
    let claims = json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "1Gi"}}}}]}});
    assert_eq!(treatment(Store::new("photos").with(claims)), OnDelete::Retain);
    assert_eq!(treatment(Store::new("photos")), OnDelete::Delete);
}

#[test]
fn a_store_that_was_made_before_keeps_the_keys_that_it_was_given() {
    let running =
        named("keys").secret("keys", &KEYS).running(4).unannotate("minio.rook.io/credentials-hash").own_keys(None);
    let next = answer(&running);
    assert_eq!(own_data(&next), json!({"username": "token-a", "password": "token-b"}));
    assert!(child(&next, "StatefulSet", "photos").pointer(FINGERPRINT).is_some());
}

#[test]
fn a_secret_that_is_no_child_is_still_the_stores() {
    // Its labels were taken off, or another provider applied it: the host gives it back, with the keys that it has.
    for store in [named("keys").secret("keys", &OTHERS), Store::new("photos").with(inline("another-password"))] {
        let running = named("keys").secret("keys", &KEYS).running(4);
        let stripped = store.servers_of(&running).secret("photos-credentials", &KEYS);
        let next = answer(&stripped);
        assert_eq!(own_data(&next), json!({"username": "token-a", "password": "token-b"}));
        assert_eq!(ready(&next).1, "RotationPending");
    }
}

#[test]
fn servers_that_are_deleted_do_not_take_the_guard_with_them() {
    let running = Store::new("photos").running(4);
    let headless = child(&answer(&running), "Service", "photos").clone();
    assert!(headless.pointer(FINGERPRINT).is_some());
    let lost = answer(&Store::new("photos").existing(headless));
    assert!(!has(&lost, "Secret") && !has(&lost, "StatefulSet") && lost.generate.is_empty());
    assert_eq!(ready(&lost).1, "SecretMissing");
    assert_eq!(condition(&lost, "Ready").unwrap()["reason"], "CredentialsNotReady");
}

#[test]
fn a_provider_that_may_not_read_secrets_says_so_and_serves_stores_that_name_none() {
    let secret = bartizan_sdk::ChildKind::of::<bartizan_sdk::k8s_openapi::api::core::v1::Secret>();
    let without = |store: &Store| store.request().without(secret).answer::<MinIo>().unwrap();
    let plain = without(&Store::new("photos"));
    assert!(has(&plain, "StatefulSet") && plain.related.is_empty());
    assert_eq!(ready(&plain).0, "True");
    let naming = without(&named("keys").secret("keys", &KEYS));
    assert!(!has(&naming, "StatefulSet") && naming.related.is_empty());
    assert_eq!(ready(&naming).1, "SecretNotReadable");
}

#[test]
fn the_secret_of_an_earlier_store_that_goes_with_it_is_not_the_stores() {
    let first =
        answer(&Store::new("photos").secret("photos-credentials", &KEYS).owned_by("photos-credentials", "another"));
    assert_eq!((own_data(&first), first.generate.len()), (Value::Null, 2));
    assert_eq!(child(&first, "Service", "photos").pointer(FINGERPRINT), None);
}
