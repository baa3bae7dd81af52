//! Every rule by itself: one observation leads to one response.

use rstest::rstest;
use serde_json::json;

use crate::world::{Claim, World, child, condition, doing, number, scale};

const SET: &str = "db-dc-a";
const LAST: &str = "db-dc-a-2";

fn status(field: &'static str, value: i64) -> impl Fn(&mut World) {
    move |world| world.set(SET)["status"][field] = json!(value)
}

fn wants(world: &mut World, members: i64) {
    world.racks(&[("a", members)]);
}

fn label(world: &mut World, member: &str, left: bool) {
    let labels = &mut world.service(member).unwrap()["metadata"]["labels"];
    labels["cassandra.rook.io/decommissioned"] = json!(left.to_string());
}

/// Until all members are healthy, none joins, leaves or is updated.
#[rstest]
#[case::not_seen(|world: &mut World| status("observedGeneration", 0)(world), "waiting for the controller of StatefulSet db-dc-a")]
#[case::status_behind(|world: &mut World| status("readyReplicas", 2)(world), "waiting for the controller of StatefulSet db-dc-a")]
#[case::pod_too_many(|world: &mut World| status("replicas", 4)(world), "waiting for the controller of StatefulSet db-dc-a")]
#[case::pod_missing(|world: &mut World| drop(world.pods.remove("db-dc-a-1")), "waiting for pod db-dc-a-1")]
#[case::pod_not_ready(|world: &mut World| world.pod("db-dc-a-1").ready = false, "waiting for db-dc-a-1 to become ready")]
#[case::pod_going(|world: &mut World| world.pod("db-dc-a-1").going = true, "waiting for pod db-dc-a-1, which is terminating")]
#[case::never_joined(
    |world: &mut World| {
        world.pod(LAST).ready = false;
        world.service(LAST).unwrap()["metadata"]["labels"].as_object_mut().unwrap().remove("cassandra.rook.io/joined");
    },
    "waiting for db-dc-a-2 to join the ring"
)]
fn what_is_not_well_holds(
    #[case] change: impl Fn(&mut World),
    #[case] words: &str,
    #[values("grow", "shrink", "upgrade", "nothing")] wish: &str,
) {
    let mut world = World::settled(&[("a", 3)]);
    change(&mut world);
    match wish {
        "grow" => wants(&mut world, 4),
        "shrink" => wants(&mut world, 2),
        "upgrade" => world.edit(json!({"version": "5.0.0"})),
        _ => {}
    }
    let answer = world.answer();
    assert_eq!(doing(&answer), words);
    assert!(answer.events.is_empty(), "{:?}", answer.events);
    match wish {
        "upgrade" => {
            assert_eq!(answer.keep.iter().map(|keep| keep.name.as_str()).collect::<Vec<_>>(), [SET]);
            assert_eq!(scale(&answer, SET), None);
        }
        _ => assert_eq!(scale(&answer, SET), Some((3, 3))),
    }
    for member in 0..3 {
        let service = child(&answer, "Service", &format!("db-dc-a-{member}")).unwrap();
        assert_eq!(service["metadata"]["labels"].get("cassandra.rook.io/decommissioned"), None);
    }
    assert_eq!(child(&answer, "Service", "db-dc-a-3"), None);
}

/// The steps that follow from the label of the last member and its remaining objects.
#[rstest]
#[case::asked(Some(false), 3, true, "Kept", (3, "Retain", Some("false")), "waiting for db-dc-a-2 to leave the ring")]
#[case::left(Some(true), 3, true, "Kept", (2, "Delete", Some("true")), "db-dc-a-2 has left the ring and is removed")]
#[case::left_without_a_pod(
    Some(true), 3, false, "Kept", (3, "Retain", Some("true")),
    "db-dc-a-2 has left the ring: waiting for its pod, with which its claims are deleted"
)]
#[case::left_without_a_pod_and_claims(
    Some(true), 3, false, "None", (2, "Delete", Some("true")), "db-dc-a-2 has left the ring and is removed"
)]
#[case::pod_goes(
    Some(true), 2, true, "Going", (2, "Delete", Some("true")), "db-dc-a-2 has left the ring: waiting for its pod to terminate"
)]
#[case::claims_go(
    Some(true), 2, false, "Going", (2, "Delete", Some("true")),
    "db-dc-a-2 has left the ring: waiting for its volume claims to be deleted"
)]
#[case::service_goes(
    Some(true), 2, false, "None", (2, "Retain", None), "db-dc-a-2 has left the ring: waiting for its Service to be deleted"
)]
#[case::claims_stay(Some(true), 2, false, "Kept", (2, "Retain", Some("true")), "")]
#[case::scaled_by_hand(Some(false), 2, false, "Kept", (3, "Retain", Some("false")), "db-dc-a-2 joins the ring")]
fn a_member_that_leaves_is_seen_off(
    #[case] left: Option<bool>,
    #[case] replicas: i64,
    #[case] pod: bool,
    #[case] claims: &str,
    #[case] expected: (i64, &str, Option<&str>),
    #[case] words: &str,
) {
    let mut world = World::settled(&[("a", 3)]);
    wants(&mut world, 2);
    label(&mut world, LAST, left.unwrap());
    world.set(SET)["spec"]["replicas"] = json!(replicas);
    world.set(SET)["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(replicas);
    if !pod {
        world.pods.remove(LAST);
        for count in ["replicas", "readyReplicas", "updatedReplicas"] {
            world.set(SET)["status"][count] = json!(2);
        }
    }
    match claims {
        "None" => drop(world.claims.remove("data-db-dc-a-2")),
        _ => {
            let claim = Claim { rack: "a".to_owned(), owned_by_pod: claims == "Going" };
            world.claims.insert("data-db-dc-a-2".to_owned(), claim);
        }
    }
    let answer = world.answer();
    let set = child(&answer, "StatefulSet", SET).unwrap();
    let policy = set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"].as_str().unwrap();
    let service = child(&answer, "Service", LAST);
    let label = service.and_then(|service| service["metadata"]["labels"]["cassandra.rook.io/decommissioned"].as_str());
    assert_eq!((number(set, "/spec/replicas"), policy, label), expected);
    assert_eq!(doing(&answer), words);
}

#[test]
fn a_member_that_leaves_goes_though_others_are_not_well() {
    let mut world = World::settled(&[("a", 3), ("b", 1)]);
    label(&mut world, LAST, true);
    world.pod("db-dc-b-0").ready = false;
    assert_eq!(scale(&world.answer(), SET), Some((2, 2)));
}

#[test]
fn a_label_on_another_member_than_the_last_lowers_nothing() {
    let mut world = World::settled(&[("a", 3)]);
    label(&mut world, "db-dc-a-1", true);
    let answer = world.answer();
    assert_eq!(scale(&answer, SET), Some((3, 3)));
    assert_eq!(doing(&answer), "db-dc-a-1 is marked as leaving, but only the last member can leave: db-dc-a-2");
}

#[test]
fn all_faults_hold_and_touch_nothing_that_runs() {
    let mut world = World::settled(&[("a", 3)]);
    world.edit(json!({"version": "3.11.1"}));
    let answer = world.answer();
    assert!(answer.hold && answer.children.is_empty());
    let (status, reason, message) = condition(&answer, "Valid");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "PermanentField"));
    assert_eq!(
        message,
        "spec.version: cannot be downgraded from 4.1.3 to 3.11.1: an older version cannot read the data of a newer one"
    );
    let nothing = ["MemberJoining", "MemberLeaving", "Updating"].map(|type_| json!({"type": type_, "status": "False"}));
    let rack = json!({"members": 3, "readyMembers": 3, "updatedMembers": 3, "conditions": nothing});
    assert_eq!(answer.status.unwrap()["racks"], json!({"a": rack}));
}

#[test]
fn a_rollout_in_progress_never_raises_the_partition() {
    let mut world = World::settled(&[("a", 3)]);
    world.edit(json!({"version": "4.1.4"}));
    while world.pods.values().all(|pod| pod.annotations["cassandra.rook.io/version"] == "4.1.3") {
        world.reconcile();
        world.controller(SET);
        world.kubelet(LAST);
    }
    for wish in ["4.1.5", "5.0.0"] {
        world.edit(json!({"version": wish}));
        let answer = world.answer();
        assert!(scale(&answer, SET).is_none_or(|(_, partition)| partition == 2), "{answer:?}");
    }
    world.racks(&[("a", 4)]);
    assert_eq!(
        scale(&world.answer(), SET).map(|(replicas, _)| replicas).unwrap_or(3),
        3,
        "members join when it is done"
    );
}

#[test]
fn a_missing_config_map_is_waited_for_and_a_change_of_it_is_rolled_out() {
    let mut world = World::settled(&[("a", 1)]);
    world.parent["spec"]["datacenter"]["racks"][0]["configMapName"] = json!("tuning");
    let answer = world.answer();
    assert!(answer.hold);
    assert_eq!(doing(&answer), "waiting for ConfigMap tuning");
    assert!(answer.related.iter().any(|wish| wish.kind == "ConfigMap" && wish.names == ["tuning"]));
    let config = |text: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tuning", "namespace": "databases"},
            "data": {"cassandra.yaml": text}})
    };
    world.related = vec![config("one")];
    world.run();
    world.related = vec![config("two")];
    assert_eq!(world.run(), ["a change is prepared: all racks are frozen", "db-dc-a-0 is updated"]);
}

#[test]
fn services_of_a_rack_that_nobody_knows_any_more_are_kept() {
    let mut world = World::settled(&[("a", 1), ("b", 1)]);
    world.racks(&[("a", 1)]);
    world.children.remove(&("StatefulSet".to_owned(), "db-dc-b".to_owned()));
    let answer = world.answer();
    assert_eq!(answer.keep.iter().map(|keep| keep.name.as_str()).collect::<Vec<_>>(), ["db-dc-b-0"]);
}

#[test]
fn a_rack_without_its_record_is_left_alone() {
    let mut world = World::settled(&[("a", 1), ("b", 1)]);
    world.racks(&[("a", 1)]);
    world.set("db-dc-b")["metadata"]["annotations"]["cassandra.rook.io/rack-spec"] = json!("?");
    let answer = world.answer();
    assert!(doing(&answer).starts_with("StatefulSet db-dc-b has lost the record of its rack"));
    assert_eq!(answer.keep.iter().map(|keep| keep.name.as_str()).collect::<Vec<_>>(), ["db-dc-b"]);
}

/// The conditions of a rack that are true.
fn going_on(world: &World, rack: &str) -> Vec<String> {
    let status = world.answer().status.unwrap();
    let conditions = status["racks"][rack]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 3, "each is said, whether it holds or not");
    let held = conditions.iter().filter(|condition| condition["status"] == "True");
    held.map(|condition| condition["type"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_rack_says_what_is_going_on_in_it_and_not_in_others() {
    let mut world = World::settled(&[("a", 2), ("b", 2)]);
    assert_eq!(going_on(&world, "a"), [""; 0]);
    world.racks(&[("a", 3), ("b", 2)]);
    world.reconcile();
    world.controller(SET);
    assert_eq!(going_on(&world, "a"), ["MemberJoining"]);
    world.run();
    assert_eq!(going_on(&world, "a"), [""; 0]);
    world.racks(&[("a", 2), ("b", 2)]);
    world.reconcile();
    assert_eq!(going_on(&world, "a"), ["MemberLeaving"], "it was asked");
    world.sidecar(LAST);
    world.reconcile();
    assert_eq!(going_on(&world, "a"), ["MemberLeaving"], "its pod is there");
    world.controller(SET);
    world.kubelet(LAST);
    assert_eq!(going_on(&world, "a"), ["MemberLeaving"], "its Service is there");
    world.run();
    assert_eq!(going_on(&world, "a"), [""; 0]);
    world.edit(json!({"version": "4.1.4"}));
    for _ in 0..2 {
        world.reconcile();
        world.sets().iter().for_each(|set| world.controller(set));
    }
    assert_eq!(going_on(&world, "a"), ["Updating"]);
    assert_eq!(going_on(&world, "b"), [""; 0]);
}

#[test]
fn a_member_that_has_left_is_done_with_though_its_claims_stay() {
    let mut world = World::settled(&[("a", 2)]);
    world.edit(json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain"}}));
    wants(&mut world, 1);
    world.run();
    assert_eq!(world.label("db-dc-a-1").as_deref(), Some("true"));
    assert_eq!(going_on(&world, "a"), [""; 0]);
}

#[test]
fn a_member_that_is_lost_does_not_join() {
    let mut world = World::settled(&[("a", 2)]);
    world.pods.remove("db-dc-a-1");
    assert_eq!(going_on(&world, "a"), [""; 0]);
}
