//! Whole lives of clusters: the steps that were taken, in order, and the final state.

use serde_json::json;

use crate::world::{World, condition, doing, rack, scale};

#[test]
fn members_join_one_by_one_in_the_rack_with_the_fewest() {
    let mut world = World::new(&[("a", 3), ("b", 3)]);
    let steps = world.run();
    let joins = ["db-dc-a-0", "db-dc-b-0", "db-dc-a-1", "db-dc-b-1", "db-dc-a-2", "db-dc-b-2"];
    let expected: Vec<String> = std::iter::once("creating racks a, b".to_owned())
        .chain(joins.iter().map(|member| format!("{member} joins the ring")))
        .collect();
    assert_eq!(steps, expected);
    assert_eq!(condition(&world.answer(), "Ready").2, "all 6 members are ready");
}

#[test]
fn members_leave_one_at_a_time_and_claims_and_services_follow_their_pods() {
    let mut world = World::settled(&[("a", 3)]);
    world.racks(&[("a", 1)]);
    let steps = world.run();
    assert_eq!(
        steps,
        [
            "db-dc-a-2 is asked to leave the ring",
            "db-dc-a-2 has left the ring and is removed",
            "db-dc-a-1 is asked to leave the ring",
            "db-dc-a-1 has left the ring and is removed",
        ]
    );
    assert_eq!(world.members(), ["db-dc-a-0"]);
    assert_eq!(world.claims.keys().collect::<Vec<_>>(), ["data-db-dc-a-0"]);
    assert!(world.service("db-dc-a-1").is_none());
    assert_eq!(world.set("db-dc-a")["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"], "Retain");
}

#[test]
fn retained_claims_keep_the_rack_from_growing_again() {
    let mut world = World::settled(&[("a", 2)]);
    world.edit(json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain"}}));
    world.racks(&[("a", 1)]);
    world.run();
    assert_eq!(world.claims.len(), 2);
    assert_eq!(world.label("db-dc-a-1").as_deref(), Some("true"), "its Service tells that the data is of one who left");
    world.racks(&[("a", 2)]);
    world.run();
    assert_eq!(
        doing(&world.answer()),
        "rack a cannot grow: the volume claims of db-dc-a-1 hold data of a member that has left the ring; delete them"
    );
    world.claims.remove("data-db-dc-a-1");
    world.run();
    assert_eq!(world.members(), ["db-dc-a-0", "db-dc-a-1"]);
    assert_eq!(world.label("db-dc-a-1"), None);
}

#[test]
fn a_cluster_that_grows_while_a_member_leaves_lets_it_leave_first() {
    let mut world = World::settled(&[("a", 3)]);
    world.racks(&[("a", 2)]);
    world.reconcile();
    assert_eq!(world.label("db-dc-a-2").as_deref(), Some("false"));
    world.racks(&[("a", 3)]);
    assert_eq!(world.run(), ["db-dc-a-2 has left the ring and is removed", "db-dc-a-2 joins the ring"]);
    assert_eq!(world.label("db-dc-a-2"), None, "the new member is another one");
}

#[test]
fn a_removed_rack_is_emptied_and_goes() {
    let mut world = World::settled(&[("a", 1), ("b", 2)]);
    world.racks(&[("a", 1)]);
    let steps = world.run();
    assert_eq!(steps.len(), 4, "{steps:?}");
    assert_eq!(world.sets(), ["db-dc-a"]);
    assert_eq!(world.members(), ["db-dc-a-0"]);
    assert!(world.service("db-dc-b-0").is_none());
    assert_eq!(world.claims.len(), 1);
}

#[test]
fn a_rack_is_replaced_by_adding_the_one_and_then_removing_the_other() {
    let mut world = World::settled(&[("a", 1)]);
    world.racks(&[("b", 1)]);
    assert_eq!(
        condition(&world.answer(), "Valid").2,
        "spec.datacenter.racks[0].name: is new while rack a, which has members, was removed: racks cannot be renamed; to \
         replace one, add the new rack first and remove the old one once the new one is ready"
    );
    world.racks(&[("a", 1), ("b", 1)]);
    world.run();
    world.racks(&[("b", 1)]);
    world.reconcile();
    // Once the removal has begun, a further rack is not taken for a rename.
    world.racks(&[("b", 1), ("c", 1)]);
    world.run();
    assert_eq!(world.members(), ["db-dc-b-0", "db-dc-c-0"]);
}

#[test]
fn the_last_member_leaves_only_if_that_is_allowed() {
    let mut world = World::settled(&[("a", 1)]);
    world.racks(&[("a", 0)]);
    assert!(world.answer().hold);
    world.edit(json!({"allowRemovingLastMember": true}));
    world.run();
    assert_eq!(world.members(), Vec::<&str>::new());
}

#[test]
fn a_new_version_reaches_one_member_at_a_time_and_one_rack_at_a_time() {
    let mut world = World::settled(&[("a", 2), ("b", 2)]);
    world.edit(json!({"version": "5.0.2"}));
    let steps = world.run();
    assert_eq!(
        steps,
        [
            "a change is prepared: all racks are frozen",
            "db-dc-a-1 is updated",
            "db-dc-a-0 is updated",
            "db-dc-b-1 is updated",
            "db-dc-b-0 is updated",
        ]
    );
    for pod in world.pods.values() {
        assert_eq!(pod.annotations["cassandra.rook.io/version"], "5.0.2");
    }
    assert_eq!(scale(&world.answer(), "db-dc-a"), Some((2, 2)), "frozen again, so that an edit by hand reaches nobody");
}

#[test]
fn an_upgrade_waits_for_unready_members_and_a_valid_spec() {
    let mut world = World::settled(&[("a", 3)]);
    world.edit(json!({"version": "5.0.2"}));
    for _ in 0..2 {
        world.reconcile();
        world.controller("db-dc-a");
    }
    world.kubelet("db-dc-a-2");
    world.controller("db-dc-a");
    world.kubelet("db-dc-a-2");
    world.controller("db-dc-a");
    world.pod("db-dc-a-0").ready = false;
    world.controller("db-dc-a");
    let answer = world.answer();
    assert_eq!(doing(&answer), "waiting for db-dc-a-0 to become ready");
    assert_eq!(scale(&answer, "db-dc-a"), Some((3, 2)));
    assert_eq!(condition(&answer, "Degraded").2, "not ready: db-dc-a-0");
    world.edit(json!({"version": "four"}));
    assert!(world.answer().hold);
    world.edit(json!({"version": "5.0.2"}));
    world.kubelet("db-dc-a-0");
    assert_eq!(world.run(), ["db-dc-a-1 is updated", "db-dc-a-0 is updated"]);
}

#[test]
fn a_canary_holds_until_it_is_raised() {
    let mut world = World::settled(&[("a", 3), ("b", 1)]);
    world.edit(json!({"version": "4.1.4", "canary": 1}));
    world.run();
    let answer = world.answer();
    assert_eq!(doing(&answer), "1 of 4 members are updated: raise or remove spec.canary to continue");
    world.edit(json!({"canary": null}));
    assert_eq!(world.run().len(), 3);
}

#[test]
fn a_canary_counts_the_members_of_all_racks() {
    let mut world = World::settled(&[("a", 1), ("b", 2), ("c", 1)]);
    for (canary, step) in [(1, "db-dc-a-0 is updated"), (2, "db-dc-b-1 is updated"), (3, "db-dc-b-0 is updated")] {
        world.edit(json!({"version": "4.1.4", "canary": canary}));
        assert_eq!(world.run().last().map(String::as_str), Some(step));
        let holds = format!("{canary} of 4 members are updated: raise or remove spec.canary to continue");
        assert_eq!(doing(&world.answer()), holds);
        // Racks that are done are frozen again: restarting one by hand has no effect.
        assert_eq!(scale(&world.answer(), "db-dc-a"), Some((1, 1)));
    }
    world.edit(json!({"canary": 4}));
    assert_eq!(world.run(), ["db-dc-c-0 is updated"]);
    // The next change is counted from the start.
    world.edit(json!({"version": "4.1.5", "canary": 1}));
    assert_eq!(world.run().last().map(String::as_str), Some("db-dc-a-0 is updated"));
}

#[test]
fn a_canary_of_one_rack_does_not_count_the_others() {
    let mut world = World::settled(&[("a", 2), ("b", 2)]);
    world.edit(json!({"version": "4.1.4"}));
    world.run();
    let mut changed = rack("b", 2);
    changed["resources"] = json!({"requests": {"memory": "3Gi"}});
    world.edit(json!({"canary": 1, "datacenter": {"name": "dc", "racks": [rack("a", 2), changed]}}));
    assert_eq!(world.run().last().map(String::as_str), Some("db-dc-b-1 is updated"));
    assert_eq!(doing(&world.answer()), "1 of 4 members are updated: raise or remove spec.canary to continue");
}

#[test]
fn a_version_that_never_starts_is_replaced_once_its_pod_is_deleted() {
    let mut world = World::settled(&[("a", 2)]);
    world.edit(json!({"version": "4.1.99"}));
    for _ in 0..3 {
        world.reconcile();
        world.controller("db-dc-a");
    }
    world.pods.remove("db-dc-a-1");
    world.controller("db-dc-a");
    assert_eq!(world.pods["db-dc-a-1"].annotations["cassandra.rook.io/version"], "4.1.99");
    world.edit(json!({"version": "4.1.4"}));
    assert_eq!(doing(&world.reconcile()), "db-dc-a-1 has never started and is updated");
    world.controller("db-dc-a");
    assert_eq!(
        doing(&world.answer()),
        "db-dc-a-1 has never started and has an outdated template: delete the pod db-dc-a-1"
    );
    world.pods.remove("db-dc-a-1");
    world.run();
    assert_eq!(world.pods["db-dc-a-0"].annotations["cassandra.rook.io/version"], "4.1.4");
}

#[test]
fn a_stateful_set_that_is_made_again_is_as_large_as_the_cluster_was() {
    let mut world = World::settled(&[("a", 3)]);
    world.children.remove(&("StatefulSet".to_owned(), "db-dc-a".to_owned()));
    assert_eq!(scale(&world.answer(), "db-dc-a"), Some((3, 3)));
}

#[test]
fn members_that_were_scaled_away_by_hand_come_back_before_they_leave() {
    let mut world = World::settled(&[("a", 3)]);
    world.set("db-dc-a")["spec"]["replicas"] = json!(1);
    world.racks(&[("a", 2)]);
    for _ in 0..4 {
        world.controller("db-dc-a");
        let pods: Vec<String> = world.pods.keys().cloned().collect();
        pods.iter()
            .filter(|pod| world.pods[*pod].going)
            .cloned()
            .collect::<Vec<_>>()
            .iter()
            .for_each(|pod| world.kubelet(pod));
    }
    assert_eq!(world.claims.len(), 3, "their data is there");
    let steps = world.run();
    assert_eq!(
        steps,
        [
            "db-dc-a-1 joins the ring",
            "db-dc-a-2 joins the ring",
            "db-dc-a-2 is asked to leave the ring",
            "db-dc-a-2 has left the ring and is removed",
        ]
    );
}
