//! Every invalid value and its message. Nothing changes until the spec is fixed.

use cassandra::Cassandra;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{World, condition};

/// The message of `Valid` for a spec with one invalid field, with and without members.
#[rstest]
#[case::version("/version", json!("four"), "spec.version: must be a version such as 4.1.3, but is \"four\"")]
#[case::series("/version", json!("4.2.0"), "spec.version: must belong to one of the series 3.11, 4.0, 4.1, 5.0, but is \"4.2.0\"")]
#[case::repository("/repository", json!("a b"), "spec.repository: must be part of an image reference, but is \"a b\"")]
#[case::sidecar(
    "/sidecarImage", json!({"repository": "", "version": "1 2"}),
    "spec.sidecarImage.repository: must be part of an image reference, but is \"\"; \
     spec.sidecarImage.version: must be part of an image reference, but is \"1 2\""
)]
#[case::annotations(
    "/annotations", json!({"bartizan.dev/x": ""}),
    "spec.annotations[bartizan.dev/x]: is reserved: keys with the prefix bartizan.dev/ belong to the host"
)]
#[case::service_annotations(
    "/serviceAnnotations", json!({"bartizan.dev/x": ""}),
    "spec.serviceAnnotations[bartizan.dev/x]: is reserved: keys with the prefix bartizan.dev/ belong to the host"
)]
#[case::env(
    "/env", json!([{"name": "A"}, {"name": "CASSANDRA_SEEDS"}]),
    "spec.env[1].name: must not be CASSANDRA_SEEDS, which is set by the other fields of the spec"
)]
#[case::canary("/canary", json!(-1), "spec.canary: must be at least 0, but is -1")]
#[case::datacenter(
    "/datacenter/name", json!("DC 1"), "spec.datacenter.name: must be a DNS label of at most 63 characters, but is \"DC 1\""
)]
#[case::no_racks(
    "/datacenter/racks", json!([]),
    "spec.datacenter.racks: must have at least one member in total: removing the last one deletes all data, which \
     requires spec.allowRemovingLastMember: true"
)]
#[case::no_members(
    "/datacenter/racks/0/members", json!(0),
    "spec.datacenter.racks: must have at least one member in total: removing the last one deletes all data, which \
     requires spec.allowRemovingLastMember: true"
)]
#[case::negative_members(
    "/datacenter/racks", json!([{"name": "a", "members": 1}, {"name": "b", "members": -1}]),
    "spec.datacenter.racks[1].members: must be from 0 to 1000, but is -1"
)]
#[case::too_many_members("/datacenter/racks/0/members", json!(1001), "spec.datacenter.racks[0].members: must be from 0 to 1000, but is 1001")]
#[case::rack_name(
    "/datacenter/racks/0/name", json!("a_b"),
    "spec.datacenter.racks[0].name: must be a DNS label of at most 63 characters, but is \"a_b\""
)]
#[case::rack_twice(
    "/datacenter/racks", json!([{"name": "a", "members": 1}, {"name": "a", "members": 1}]),
    "spec.datacenter.racks[1].name: must be unique, but another rack is also named \"a\""
)]
#[case::long_names(
    "/datacenter/racks/0/name", json!("a-rack-of-a-name-that-is-a-little-too-long-here"),
    "spec.datacenter.racks[0].name: must be shorter: the StatefulSet's name \
     \"db-dc-a-rack-of-a-name-that-is-a-little-too-long-here\" has 53 characters, and at most 52 are allowed"
)]
#[case::config_map(
    "/datacenter/racks/0/configMapName", json!("A b"),
    "spec.datacenter.racks[0].configMapName: must be the name of a ConfigMap, but is \"A b\""
)]
#[case::two_claims(
    "/datacenter/racks/0/storage/volumeClaimTemplates", json!([claim("1Gi"), {"spec": claim("1Gi")["spec"]}]),
    "spec.datacenter.racks[0].storage.volumeClaimTemplates: must have at most one item, since a member has one \
     data directory, but has 2"
)]
#[case::claim_size(
    "/datacenter/racks/0/storage/volumeClaimTemplates", json!([claim("much")]),
    "spec.datacenter.racks[0].storage.volumeClaimTemplates[0].spec.resources.requests.storage: must be a quantity such \
     as 500m or 2Gi, but is \"much\""
)]
#[case::claim_name(
    "/datacenter/racks/0/storage/volumeClaimTemplates",
    json!([{"metadata": {"name": "A"}, "spec": {"resources": {"requests": {"storage": 1}}}}]),
    "spec.datacenter.racks[0].storage.volumeClaimTemplates[0].metadata.name: must be a DNS label of at most 63 characters, \
     but is \"A\""
)]
#[case::rack_annotations(
    "/datacenter/racks/0/annotations", json!({"bartizan.dev/x": ""}),
    "spec.datacenter.racks[0].annotations[bartizan.dev/x]: is reserved: keys with the prefix bartizan.dev/ belong to the host"
)]
#[case::component(
    "/datacenter/racks/0/resources", json!({"limit": {}}),
    "spec.datacenter.racks[0].resources.limit: must be one of cassandra, sidecar, but is \"limit\""
)]
#[case::component_twice(
    "/datacenter/racks/0/resources", json!([{"name": "cassandra"}, {"name": "cassandra"}]),
    "spec.datacenter.racks[0].resources[1].name: must be unique, but cassandra occurs twice"
)]
fn an_invalid_spec_is_held_with_its_fields_named(#[case] field: &str, #[case] value: Value, #[case] message: &str) {
    for world in [World::new(&[("a", 1)]), World::settled(&[("a", 1)])] {
        let mut broken = world.clone();
        put(&mut broken.parent["spec"], field, value.clone());
        let answer = broken.answer();
        let expected = ("False".to_owned(), "InvalidSpec".to_owned(), message.to_owned());
        assert_eq!(condition(&answer, "Valid"), expected);
        assert!(answer.hold && answer.children.is_empty());
        assert_eq!(condition(&world.answer(), "Valid").0, "True");
    }
}

/// Values that do not fit the type, most of which the API server rejects before a provider is called.
#[rstest]
#[case("/version", Value::Null, "spec.version: is required")]
#[case("/datacenter", Value::Null, "spec.datacenter: is required")]
#[case("/datacenter/name", Value::Null, "spec.datacenter.name: is required")]
#[case("/datacenter/racks/0/name", Value::Null, "spec.datacenter.racks[0].name: is required")]
#[case("/datacenter/racks/0/members", json!("x"), "spec.datacenter.racks[0].members: must be an integer, but is \"x\"")]
#[case("/mode", json!("hbase"), "spec.mode: must be one of cassandra, scylla, but is \"hbase\"")]
#[case("/sidecarImage", json!({"version": "1"}), "spec.sidecarImage.repository: is required")]
#[case(
    "/persistentVolumeClaimRetentionPolicy", json!({"whenScaled": "Keep"}),
    "spec.persistentVolumeClaimRetentionPolicy.whenScaled: must be one of Retain, Delete, but is \"Keep\""
)]
fn a_spec_of_another_shape_is_held_with_its_field(#[case] field: &str, #[case] value: Value, #[case] message: &str) {
    let mut world = World::new(&[("a", 1)]);
    put(&mut world.parent["spec"], field, value);
    let answer = world.request().answer::<Cassandra>().unwrap();
    let invalid = ["False", "InvalidSpec", message].map(str::to_owned);
    assert_eq!(<[String; 3]>::from(condition(&answer, "Valid")), invalid);
    assert!(answer.hold && condition(&answer, "Ready").0 == "Unknown");
}

#[test]
fn a_name_that_a_service_cannot_have_is_held() {
    let mut world = World::new(&[("a", 1)]);
    world.parent["metadata"]["name"] = json!("1db");
    assert!(condition(&world.answer(), "Valid").2.starts_with("metadata.name: must consist of lower-case letters"));
}

/// Fields that a running cluster cannot change.
#[rstest]
#[case("/mode", json!("scylla"), "spec.mode: cannot change from cassandra to scylla: it is a different database")]
#[case("/datacenter/name", json!("east"), "spec.datacenter.name: cannot change from dc to east: the members have stored it")]
#[case("/version", json!("4.0.1"), "spec.version: cannot be downgraded from 4.1.3 to 4.0.1: an older version cannot read the data of a newer one")]
#[case(
    "/datacenter/racks/0/storage/volumeClaimTemplates", json!([claim("6Gi")]),
    "spec.datacenter.racks[0].storage.volumeClaimTemplates: cannot change: the claims of a rack are fixed when it is created; \
     add a rack with other claims"
)]
#[case(
    "/datacenter/racks/0/name", json!("b"),
    "spec.datacenter.racks[0].name: is new while rack a, which has members, was removed: racks cannot be renamed; to \
     replace one, add the new rack first and remove the old one once the new one is ready"
)]
fn a_running_cluster_holds_what_cannot_change(#[case] field: &str, #[case] value: Value, #[case] message: &str) {
    let mut world = World::settled(&[("a", 1)]);
    put(&mut world.parent["spec"], field, value);
    let answer = world.answer();
    let expected = ("False".to_owned(), "PermanentField".to_owned(), message.to_owned());
    assert_eq!(condition(&answer, "Valid"), expected);
    assert!(answer.hold && answer.children.is_empty());
}

#[test]
fn a_skipped_series_is_held() {
    let mut world = World::new(&[("a", 1)]).with(json!({"version": "3.11.1"}));
    world.run();
    world.edit(json!({"version": "4.1.0"}));
    let message = "spec.version: cannot be upgraded from 3.11.1 to 4.1.0 directly: upgrade to 4.0 first, and continue once all members have it";
    assert_eq!(condition(&world.answer(), "Valid").2, message);
}

fn put(spec: &mut Value, pointer: &str, value: Value) {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[field] = value;
}

fn claim(size: &str) -> Value {
    json!({"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}})
}
