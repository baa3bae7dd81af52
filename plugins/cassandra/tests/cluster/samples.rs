//! Rook's published sample and the examples of this repository are accepted unchanged.

use bartizan_sdk::ReconcileResponse;
use cassandra::{Cassandra, ClusterSpec};
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{World, child, condition, scale};

#[rstest]
#[case::cassandra("cluster", None)]
#[case::scylla("scylla", Some("events-scylla"))]
fn an_example_becomes_these_objects(#[case] name: &str, #[case] config: Option<&str>) {
    let mut world = World::example(name);
    world.related.extend(config.map(config_map));
    world.reconcile();
    world.sets().iter().for_each(|set| world.controller(set));
    insta::assert_json_snapshot!(name, world.answer());
}

fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"},
        "data": {"scylla.yaml": "compaction_throughput_mb_per_sec: 64\n"},
    })
}

/// The folder of samples published by other projects, which are not copied into this repository.
const UPSTREAM: &str = "BARTIZAN_UPSTREAM_SAMPLES";

fn upstream() -> Option<World> {
    let Some(folder) = std::env::var_os(UPSTREAM) else {
        println!("skipped: {UPSTREAM} does not name the folder of upstream samples");
        return None;
    };
    let file = std::path::Path::new(&folder).join("rook/cassandra-cluster.yaml");
    Some(World::parse(&std::fs::read_to_string(file).unwrap()))
}

fn valid_and_known(answer: &ReconcileResponse) {
    assert_eq!(condition(answer, "Valid").0, "True");
    let conditions = answer.status.as_ref().unwrap()["conditions"].to_string();
    assert!(!conditions.contains("UnknownFields"), "{conditions}");
}

#[rstest]
#[case::cassandra("cassandra", "docker.io/library/cassandra:3.11.1")]
#[case::scylla("scylla", "docker.io/scylladb/scylla:3.11.1")]
fn the_sample_of_rook_is_accepted_as_it_is(#[case] mode: &str, #[case] image: &str) {
    let Some(world) = upstream() else { return };
    let answer = world.with(json!({"mode": mode})).answer();
    valid_and_known(&answer);
    let name = "rook-cassandra-us-east-1-us-east-1a";
    assert_eq!(scale(&answer, name), Some((0, 0)));
    let set = child(&answer, "StatefulSet", name).unwrap();
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], image);
    assert_eq!(container["resources"]["limits"], json!({"cpu": "1", "memory": "2Gi"}));
    assert_eq!(set["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"], json!(["ReadWriteOnce"]));
}

/// Rook's sample contains the members' account, under the names that the provider would use.
#[test]
fn an_account_that_somebody_else_made_is_left_to_him() {
    let mut world = World::new(&[("a", 1)]);
    let made = |kind: &str, api: &str| json!({"apiVersion": api, "kind": kind, "metadata": {"name": "db-member", "namespace": "databases"}});
    let rbac = "rbac.authorization.k8s.io/v1";
    world.related = vec![made("ServiceAccount", "v1"), made("Role", rbac), made("RoleBinding", rbac)];
    let answer = world.answer();
    for kind in ["ServiceAccount", "Role", "RoleBinding"] {
        assert_eq!(child(&answer, kind, "db-member"), None);
    }
    // Children are among the related objects, too.
    world.children.insert(("Role".to_owned(), "db-member".to_owned()), made("Role", rbac));
    world.related[0]["metadata"]["ownerReferences"] = json!([{"kind": "Cluster", "name": "db", "uid": "1"}]);
    let answer = world.answer();
    assert!(child(&answer, "ServiceAccount", "db-member").is_some() && child(&answer, "Role", "db-member").is_some());
    assert_eq!(child(&answer, "RoleBinding", "db-member"), None);
}

#[test]
fn the_spec_in_rust_is_the_one_in_the_crd() {
    let crd = bartizan_sdk::crd::<Cassandra>();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    assert_eq!(*spec, bartizan_sdk::schema::of::<ClusterSpec>());
}
