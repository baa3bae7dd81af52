//! Properties of the objects of all clusters.

use std::collections::BTreeSet;

use bartizan_sdk::Provider;
use cassandra::Cassandra;
use rstest::rstest;
use serde_json::{Value, json};

use crate::world::{World, child};

fn set(world: &World) -> Value {
    child(&world.answer(), "StatefulSet", "db-dc-a").unwrap().clone()
}

fn container(world: &World) -> Value {
    set(world)["spec"]["template"]["spec"]["containers"][0].clone()
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let request = World::settled(&[("a", 2), ("b", 1)]).request().bytes(Cassandra::CHILDREN);
    let answers: BTreeSet<_> = (0..3).map(|_| bartizan_sdk::reconcile_bytes::<Cassandra>(&request).unwrap()).collect();
    assert_eq!(answers.len(), 1);
}

#[test]
fn two_clusters_of_one_namespace_share_neither_names_nor_selectors() {
    let identity = |name: &str| {
        let mut world = World::new(&[("a", 1)]);
        world.parent["metadata"]["name"] = json!(name);
        world.run();
        let answer = world.answer();
        let objects: Vec<&Value> = answer.children.iter().map(|child| &child.object).collect();
        let names = objects.iter().map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
        let selectors = objects.iter().filter_map(|object| object["spec"].get("selector")).map(Value::to_string);
        names.chain(selectors).collect::<BTreeSet<String>>()
    };
    assert!(identity("db").is_disjoint(&identity("db-2")));
}

#[test]
fn services_come_before_stateful_sets() {
    let answer = World::settled(&[("a", 1)]).answer();
    for child in &answer.children {
        assert_eq!(child.wave, u32::from(child.object["kind"] == "StatefulSet"), "{}", child.object["kind"]);
    }
}

#[test]
fn the_first_two_members_of_a_rack_are_seeds_once_they_have_joined() {
    let mut world = World::new(&[("a", 3), ("b", 1)]);
    let seeds = |world: &World| child(&world.answer(), "ConfigMap", "db-seeds").unwrap()["data"]["seeds"].clone();
    world.reconcile();
    world.sets().iter().for_each(|set| world.controller(set));
    assert_eq!(seeds(&world), "db-dc-a-0.databases.svc", "the first member of all has nobody else");
    world.run();
    let all = "db-dc-a-0.databases.svc,db-dc-a-1.databases.svc,db-dc-b-0.databases.svc";
    assert_eq!(seeds(&world), all);
    world.racks(&[("a", 3), ("b", 2)]);
    world.reconcile();
    world.controller("db-dc-b");
    assert_eq!(seeds(&world), all, "one that joins fetches its share first");
    world.pod("db-dc-a-0").ready = false;
    assert_eq!(seeds(&world), all, "one that is away for a while is one still");
    let label = |world: &World, name: &str| {
        child(&world.answer(), "Service", name).unwrap()["metadata"]["labels"].get("cassandra.rook.io/seed").cloned()
    };
    assert_eq!(label(&world, "db-dc-a-1"), Some(json!("true")));
    assert_eq!(label(&world, "db-dc-a-2"), None);
}

#[rstest]
#[case("2Gi", "1024M", "256M")]
#[case("1Gi", "512M", "128M")]
#[case("16Gi", "4096M", "1024M")]
#[case("64Gi", "8192M", "2048M")]
fn the_heap_follows_the_memory(#[case] memory: &str, #[case] heap: &str, #[case] new: &str) {
    let mut world = World::new(&[("a", 1)]);
    world.parent["spec"]["datacenter"]["racks"][0]["resources"] = json!({"requests": {"memory": memory}});
    let env = container(&world)["env"].clone();
    let value =
        |name: &str| env.as_array().unwrap().iter().find(|variable| variable["name"] == name).unwrap()["value"].clone();
    assert_eq!((value("MAX_HEAP_SIZE"), value("HEAP_NEWSIZE")), (json!(heap), json!(new)));
}

#[test]
fn what_people_may_set_reaches_the_pods() {
    let mut world = World::new(&[("a", 1)]).with(json!({
        "repository": "registry.example/cassandra",
        "imagePullSecrets": [{"name": "registry"}],
        "env": [{"name": "JVM_OPTS", "value": "-Da=b"}],
        "annotations": {"team": "a", "cassandra.rook.io/version": "9"},
        "serviceAnnotations": {"dns": "public"},
        "sidecarImage": {"repository": "registry.example/sidecar", "version": "1"},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
    }));
    let rack = &mut world.parent["spec"]["datacenter"]["racks"][0];
    rack["placement"] = json!({"tolerations": [{"key": "storage"}], "nodeAffinity": {"x": 1}});
    rack["annotations"] = json!({"team": "b"});
    rack["resources"] = json!({"sidecar": {"limits": {"cpu": 1}}});
    let set = set(&world);
    let (template, pod) = (&set["spec"]["template"], &set["spec"]["template"]["spec"]);
    assert_eq!(pod["containers"][0]["image"], "registry.example/cassandra:4.1.3");
    let env = pod["containers"][0]["env"].as_array().unwrap();
    assert_eq!(env.last(), Some(&json!({"name": "JVM_OPTS", "value": "-Da=b"})));
    assert_eq!(pod["containers"][1]["image"], "registry.example/sidecar:1");
    assert_eq!(pod["containers"][1]["resources"], json!({"limits": {"cpu": "1"}}));
    assert_eq!(pod["automountServiceAccountToken"], true);
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["tolerations"], json!([{"key": "storage"}]));
    assert_eq!(pod["affinity"], json!({"nodeAffinity": {"x": 1}}));
    assert_eq!(template["metadata"]["annotations"], json!({"team": "b", "cassandra.rook.io/version": "4.1.3"}));
    assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"], "Delete");
    let answer = world.answer();
    assert_eq!(child(&answer, "Service", "db-client").unwrap()["metadata"]["annotations"], json!({"dns": "public"}));
}

#[test]
fn a_rack_without_claims_keeps_data_with_the_pod() {
    let mut world = World::new(&[("a", 1)]);
    world.parent["spec"]["datacenter"]["racks"][0]["storage"] = Value::Null;
    let set = set(&world);
    assert_eq!(set["spec"].get("volumeClaimTemplates"), None);
    assert_eq!(set["spec"]["template"]["spec"]["volumes"], json!([{"name": "data", "emptyDir": {}}]));
}
