//! Published samples are accepted unchanged.

use minio::MinIo;
use rstest::rstest;
use serde_json::Value;

use crate::store::{Store, condition};

#[rstest]
#[case::minimal("object-store-minimal")]
#[case::with_inline_keys("object-store")]
#[case::with_volumes("object-store-with-volumes")]
fn an_example_becomes_these_objects(#[case] name: &str) {
    let answer = Store::example(name).request().answer::<MinIo>().unwrap();
    insta::assert_json_snapshot!(name, answer);
}

#[test]
fn unknown_fields_are_listed_and_never_hold() {
    let answer = Store::example("object-store-with-volumes").request().answer::<MinIo>().unwrap();
    assert!(!answer.hold);
    let unknown = condition(&answer, "UnknownFields").unwrap();
    assert_eq!(unknown["status"], "True");
    assert_eq!(unknown["message"], "ignored: spec.placement.podAnyAffinity");
    let minimal = Store::example("object-store-minimal").request().answer::<MinIo>().unwrap();
    assert_eq!(condition(&minimal, "UnknownFields"), None);
}

/// The folder of samples published by other projects, which are not copied into this repository.
const UPSTREAM: &str = "BARTIZAN_UPSTREAM_SAMPLES";

#[test]
fn the_sample_of_rook_is_accepted_as_it_is() {
    let Some(folder) = std::env::var_os(UPSTREAM) else {
        println!("skipped: {UPSTREAM} does not name the folder of upstream samples");
        return;
    };
    let file = std::path::Path::new(&folder).join("rook/minio-object-store.yaml");
    let store = Store::parse(&std::fs::read_to_string(file).unwrap());
    let answer = store.request().answer::<MinIo>().unwrap();
    assert!(!answer.hold);
    assert_eq!(condition(&answer, "Valid").unwrap()["status"], "True");
    assert_eq!(condition(&answer, "UnknownFields").unwrap()["message"], "ignored: spec.placement.podAnyAffinity");
    let servers = crate::store::child(&answer, "StatefulSet", "my-store");
    let container = &servers["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["args"][1],
        "http://my-store-0.my-store.rook-minio.svc.cluster.local:9000/data/rook-minio-data1"
    );
    let keys: Vec<&Value> =
        container["env"].as_array().unwrap().iter().map(|variable| &variable["valueFrom"]).collect();
    assert_eq!(keys[0]["secretKeyRef"]["name"], "my-store-credentials");
    assert_eq!(keys[1]["secretKeyRef"]["key"], "password");
    let own = crate::store::child(&answer, "Secret", "my-store-credentials");
    assert_eq!(own["data"], serde_json::json!({"username": "token-username", "password": "token-password"}));
    assert_eq!(answer.related[0].names, ["my-store-credentials", "minio-my-store-access-keys"]);
}
