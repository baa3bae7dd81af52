//! Every invalid value and its message. Nothing changes until the spec is fixed.

use minio::MinIo;
use rstest::rstest;
use serde_json::{Value, json};

use crate::store::{Store, condition};

/// The message of `Valid` for a spec with invalid fields, with and without running servers.
#[rstest]
#[case::none(json!({"scope": {"nodeCount": 0}}), "spec.scope.nodeCount: must be at least 1, but is 0")]
#[case::negative(json!({"scope": {"nodeCount": -1}}), "spec.scope.nodeCount: must be at least 1, but is -1")]
#[case::one(
    json!({"scope": {"nodeCount": 1}}),
    "spec.scope.nodeCount: must be an even number of at least 4, but is 1; mode: standalone allows one server"
)]
#[case::two(json!({"scope": {"nodeCount": 2}}), "spec.scope.nodeCount: must be an even number of at least 4, but is 2")]
#[case::three(json!({"scope": {"nodeCount": 3}}), "spec.scope.nodeCount: must be an even number of at least 4, but is 3")]
#[case::five(json!({"scope": {"nodeCount": 5}}), "spec.scope.nodeCount: must be an even number of at least 4, but is 5")]
#[case::variable_twice(
    json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}),
    "spec.env[1].name: must be unique, but A occurs twice"
)]
#[case::variable_of_a_number(json!({"env": [{"name": "A", "value": 1}]}), "spec.env[0].value: must be a string, but is 1: quote it")]
#[case::toleration(
    json!({"placement": {"tolerations": [{"operator": 5}]}}),
    "spec.placement.tolerations[0].operator: must be a string, but is 5"
)]
#[case::retired(
    json!({"storageAmount": "10G"}),
    "spec.storageAmount: has become spec.scope.volumeClaimTemplates[0].spec.resources.requests.storage"
)]
#[case::retired_below(
    json!({"scope": {"nodeCount": 4, "placement": {"tolerations": [{}]}}}),
    "spec.scope.placement: has become spec.placement"
)]
#[case::many_alone(
    json!({"mode": "standalone"}),
    "spec.scope.nodeCount: must be 1 in standalone mode, but is 4"
)]
#[case::two_drives_alone(
    json!({"mode": "standalone", "scope": {"nodeCount": 1, "volumeClaimTemplates": [claim("a"), claim("b")]}}),
    "spec.scope.nodeCount: must divide into erasure sets of 4 to 16 drives, but 1 server with 2 drives each give 2"
)]
#[case::prime(
    json!({"scope": {"nodeCount": 34}}),
    "spec.scope.nodeCount: must divide into erasure sets of 4 to 16 drives, but 34 servers with 1 drive each give 34"
)]
#[case::too_many(
    json!({"scope": {"nodeCount": 2_000_000_000}}),
    "spec.scope.nodeCount: must not give more than 1024 drives, but 2000000000 servers with 1 drive each give more"
)]
#[case::claim_without_size(
    json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [{"spec": {}}]}}),
    "spec.scope.volumeClaimTemplates[0].spec.resources.requests.storage: is required"
)]
#[case::claim_with_odd_size(
    json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [
        {"spec": {"resources": {"requests": {"storage": "8 gigs"}}}}
    ]}}),
    "spec.scope.volumeClaimTemplates[0].spec.resources.requests.storage: must be a quantity such as 500m or 2Gi, but is \"8 gigs\""
)]
#[case::claim_with_odd_name(
    json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [claim("My_Disk")]}}),
    "spec.scope.volumeClaimTemplates[0].metadata.name: must be a DNS label of at most 63 characters, but is \"My_Disk\""
)]
#[case::claims_of_one_name(
    json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [claim("a"), claim("a")]}}),
    "spec.scope.volumeClaimTemplates[1].metadata.name: must be unique, but another template is also named \"a\""
)]
#[case::name_given_that_is_a_default(
    json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [
        claim("data1"), {"spec": {"resources": {"requests": {"storage": "8Gi"}}}}
    ]}}),
    "spec.scope.volumeClaimTemplates[1].metadata.name: must be unique, but another template is also named \"data1\""
)]
#[case::access_key_alone(
    json!({"credentials": {"accessKey": "admin"}}),
    "spec.credentials.secretKey: is required when accessKey is set"
)]
#[case::secret_key_alone(
    json!({"credentials": {"secretKey": "password"}}),
    "spec.credentials.accessKey: is required when secretKey is set"
)]
#[case::short_keys(
    json!({"credentials": {"accessKey": "me", "secretKey": "1234567"}}),
    "spec.credentials.accessKey: must have at least 3 characters; \
     spec.credentials.secretKey: must have at least 8 characters"
)]
#[case::keys_and_secret(
    json!({"credentials": {"accessKey": "admin", "secretKey": "password", "name": "keys"}}),
    "spec.credentials: must be inline keys or the name of a Secret, not both"
)]
#[case::secret_of_another_namespace(
    json!({"credentials": {"name": "keys", "namespace": "elsewhere"}}),
    "spec.credentials.namespace: must be \"storage\", the namespace of the pods that use the Secret, but is \"elsewhere\""
)]
#[case::secret_without_a_name(
    json!({"credentials": {"namespace": "storage"}}),
    "spec.credentials.name: is required when namespace is set"
)]
#[case::unknown_component_in_a_list(
    json!({"resources": [{"name": "gateway"}]}),
    "spec.resources[0].name: must be objectserver, the only component, but is \"gateway\""
)]
#[case::component_twice(
    json!({"resources": [{"name": "objectserver"}, {"name": "objectserver"}]}),
    "spec.resources[1].name: must be unique, but objectserver occurs twice"
)]
#[case::unknown_component_in_a_map(
    json!({"resources": {"limit": {}}}),
    "spec.resources.limit: must be objectserver, the only component, but is \"limit\""
)]
#[case::unknown_port(
    json!({"network": {"ports": [{"name": "http", "port": 80}]}}),
    "spec.network.ports[0].name: must be api, the only port, but is \"http\""
)]
#[case::port_twice(
    json!({"network": {"ports": [{"name": "api", "port": 80}, {"name": "api", "port": 81}]}}),
    "spec.network.ports[1].name: must be unique, but api occurs twice"
)]
#[case::port_zero(
    json!({"network": {"ports": [{"name": "api", "port": 0}]}}),
    "spec.network.ports: must be a port from 1 to 65535, but is 0"
)]
#[case::two_ports(
    json!({
        "network": {"hostNetwork": true, "ports": [{"name": "api", "port": 80}]},
        "resources": [{"name": "objectserver", "network": {"hostNetwork": false, "port": 81}}],
    }),
    "spec.network.ports: must agree with the port of objectserver in spec.resources; \
     spec.network.hostNetwork: must agree with objectserver in spec.resources"
)]
#[case::variable_of_ours(
    json!({"env": [{"name": "A"}, {"name": "MINIO_ROOT_USER"}]}),
    "spec.env[1].name: must not be MINIO_ROOT_USER, which is set by spec.credentials"
)]
#[case::annotation_of_the_host(
    json!({"annotations": {"bartizan.dev/x": "y"}, "serviceAnnotations": {"bartizan.dev/z": ""}}),
    "spec.annotations[bartizan.dev/x]: is reserved: keys with the prefix bartizan.dev/ belong to the host; \
     spec.serviceAnnotations[bartizan.dev/z]: is reserved: keys with the prefix bartizan.dev/ belong to the host"
)]
fn an_invalid_spec_is_held_with_its_fields_named(#[case] fields: Value, #[case] message: &str) {
    for store in [Store::new("photos"), Store::new("photos").running(4)] {
        let answer = store.clone().with(fields.clone()).request().answer::<MinIo>().unwrap();
        let valid = condition(&answer, "Valid").unwrap();
        assert_eq!((valid["status"].as_str(), valid["message"].as_str()), (Some("False"), Some(message)));
        assert_eq!(valid["reason"], "InvalidSpec");
        assert!(answer.hold && answer.children.is_empty() && answer.generate.is_empty());

        let healed = store.request().answer::<MinIo>().unwrap();
        assert_eq!(condition(&healed, "Valid").unwrap()["status"], "True");
        assert!(!healed.hold);
    }
}

/// Values that do not fit the type, most of which the API server rejects before a provider is called.
#[rstest]
#[case(json!({"scope": null}), "spec.scope: is required")]
#[case(json!({"scope": {}}), "spec.scope.nodeCount: is required")]
#[case(json!({"scope": {"nodeCount": null}}), "spec.scope.nodeCount: is required")]
#[case(json!({"scope": {"nodeCount": "four"}}), "spec.scope.nodeCount: must be an integer, but is \"four\"")]
#[case(json!({"scope": {"nodeCount": 5_000_000_000_u64}}), "spec.scope.nodeCount: is out of range: 5000000000")]
#[case(json!({"mode": "gateway"}), "spec.mode: must be one of distributed, standalone, but is \"gateway\"")]
#[case(json!({"image": 1}), "spec.image: must be a string, but is 1")]
#[case(json!({"placement": {"tolerations": {}}}), "spec.placement.tolerations: must be a list, but is an object")]
#[case(
    json!({"resources": {"limits": {"memory": "2GB"}}}),
    "spec.resources.limits.memory: must be a quantity such as 500m or 2Gi, but is \"2GB\""
)]
#[case(
    json!({"resources": [{"name": "objectserver", "limits": {"cpu": "much"}}]}),
    "spec.resources[0].limits.cpu: must be a quantity such as 500m or 2Gi, but is \"much\""
)]
#[case(
    json!({"resources": "much"}),
    "spec.resources: must be limits and requests, or these by component, but is \"much\""
)]
fn a_spec_of_another_shape_is_held_with_its_field(#[case] fields: Value, #[case] message: &str) {
    let answer = Store::new("photos").with(fields).request().answer::<MinIo>().unwrap();
    let valid = condition(&answer, "Valid").unwrap();
    assert_eq!((valid["status"].as_str(), valid["message"].as_str()), (Some("False"), Some(message)));
    assert_eq!(condition(&answer, "Ready").unwrap()["status"], "Unknown");
    assert!(answer.hold && answer.children.is_empty());
}

#[rstest]
#[case(
    "a.b",
    "must consist of lower-case letters, digits and dashes and begin with a letter, since a Service has this name, but is \"a.b\""
)]
#[case(
    "4ever",
    "must consist of lower-case letters, digits and dashes and begin with a letter, since a Service has this name, but is \"4ever\""
)]
#[case(
    "a-name-of-fifty-three-characters-is-one-more-than-fit",
    "must have at most 52 characters, since pods are labelled with it, but has 53"
)]
fn a_name_that_children_cannot_carry_is_held(#[case] name: &str, #[case] message: &str) {
    let answer = Store::new(name).request().answer::<MinIo>().unwrap();
    assert!(answer.hold);
    assert_eq!(condition(&answer, "Valid").unwrap()["message"], format!("metadata.name: {message}"));
}

/// Fields that a running store cannot change.
#[rstest]
#[case::servers(
    json!({"scope": {"nodeCount": 6, "volumeClaimTemplates": [claim("a")]}}),
    "spec.scope.nodeCount: cannot change from 4 to 6: the number of servers of a MinIO pool is fixed when it \
     is created; adding a pool is not supported yet"
)]
#[case::domain(
    json!({"clusterDomain": "other.local"}),
    "spec.clusterDomain: cannot change from cluster.local to other.local: the servers address each other by it"
)]
#[case::port(
    json!({"network": {"ports": [{"name": "api", "port": 9001}]}}),
    "spec.network.ports: cannot change from 9000 to 9001: the servers address each other by it"
)]
#[case::more_claims(
    json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [claim("a"), claim("b")]}}),
    "spec.scope.volumeClaimTemplates: cannot change: the drives of a MinIO pool are fixed when it is created"
)]
#[case::no_claims(
    json!({"scope": {"nodeCount": 4}}),
    "spec.scope.volumeClaimTemplates: cannot change: the drives of a MinIO pool are fixed when it is created"
)]
#[case::larger_claims(
    json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [
        {"metadata": {"name": "a"}, "spec": {"resources": {"requests": {"storage": "16Gi"}}}}
    ]}}),
    "spec.scope.volumeClaimTemplates: cannot change: the drives of a MinIO pool are fixed when it is created"
)]
#[case::another_class(
    json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [
        {"metadata": {"name": "a"}, "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "8Gi"}}}}
    ]}}),
    "spec.scope.volumeClaimTemplates: cannot change: the drives of a MinIO pool are fixed when it is created"
)]
fn a_running_store_holds_what_cannot_change(#[case] fields: Value, #[case] message: &str) {
    let store = Store::new("photos").with(json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [claim("a")]}}));
    let answer = store.running(4).with(fields).request().answer::<MinIo>().unwrap();
    let valid = condition(&answer, "Valid").unwrap();
    assert!(answer.hold && answer.children.is_empty());
    assert_eq!(valid["reason"], "PermanentField");
    assert_eq!(valid["message"], message);
    assert_eq!(condition(&answer, "Ready").unwrap()["status"], "True", "what runs is reported as it is");
    assert_eq!(answer.status.unwrap()["ready"], "4/4");
}

#[rstest]
#[case("8192Mi")]
#[case("8Gi")]
#[case("8589934592")]
fn the_same_claims_in_other_words_are_no_change(#[case] size: &str) {
    let claims = |size: &str| {
        json!({"scope": {"nodeCount": 4, "volumeClaimTemplates": [
            {"metadata": {"name": "a"}, "spec": {"resources": {"requests": {"storage": size}}}}
        ]}})
    };
    let store = Store::new("photos").with(claims("8Gi")).running(4).with(claims(size));
    assert!(!store.request().answer::<MinIo>().unwrap().hold);
}

/// Replicas and arguments that were edited by hand are drift, which the host repairs, not a change of the spec.
#[test]
fn a_hand_edit_of_the_servers_does_not_hold() {
    let store = Store::new("photos").running(2).servers("/spec/replicas", json!(2));
    let answer = store.request().answer::<MinIo>().unwrap();
    assert!(!answer.hold);
    assert_eq!(crate::store::child(&answer, "StatefulSet", "photos")["spec"]["replicas"], 4);
}

fn claim(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"resources": {"requests": {"storage": "8Gi"}}}})
}
