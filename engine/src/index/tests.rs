use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn scope(kind: &str) -> Scope {
    Scope { kind: kind_of(kind), namespace: None }
}

fn kind_of(kind: &str) -> Kind {
    Kind::new("", "v1", kind)
}

fn index() -> Index {
    Index::new(
        "minio",
        Kinds { parents: vec![kind_of("Store")], ..Kinds::default() },
        BTreeSet::from([scope("Store"), scope("ConfigMap")]),
    )
}

fn object(kind: &str, name: &str, uid: &str, version: u64, owner: Option<&str>) -> Observed {
    applied_by("bartizan/minio", kind, ("n", name), uid, version, owner)
}

/// An object that this field manager applied.
fn applied_by(
    manager: &str,
    kind: &str,
    (namespace, name): (&str, &str),
    uid: &str,
    version: u64,
    owner: Option<&str>,
) -> Observed {
    let labels = owner.map(|owner| json!({PROVIDER_LABEL: "minio", OWNER_UID_LABEL: owner})).unwrap_or(json!({}));
    let fields = json!({"f:metadata": {"f:labels": {"f:bartizan.dev/owner-uid": {}}}});
    let object = json!({
        "apiVersion": "v1", "kind": kind,
        "metadata": {
            "name": name, "namespace": namespace, "uid": uid, "resourceVersion": version.to_string(), "labels": labels,
            "managedFields": [{"manager": manager, "operation": "Apply", "fieldsV1": fields}]
        }
    });
    Observed::project(object, "bartizan/minio").unwrap()
}

/// An index that has listed everything, with the parent `p`.
fn synced() -> Index {
    let mut index = index();
    index.apply(object("Store", "s", "p", 1, None));
    for kind in ["Store", "ConfigMap"] {
        index.begin_relist(&scope(kind));
        index.apply(object("Store", "s", "p", 1, None));
        index.finish_relist(&scope(kind));
    }
    index
}

fn uids(touched: &Touched) -> Vec<&str> {
    touched.iter().map(|uid| &**uid).collect()
}

#[test]
fn a_child_touches_its_parent_and_is_found_by_it() {
    let mut index = index();
    assert_eq!(uids(&index.apply(object("Store", "s", "p", 1, None))), ["p"]);
    assert_eq!(uids(&index.apply(object("ConfigMap", "c", "c", 2, Some("p")))), ["p"]);
    assert_eq!(index.children("p").len(), 1);
    let key = index.children("p")[0].key.clone();
    assert_eq!(uids(&index.delete(&key, "c", "3")), ["p"]);
    assert!(index.children("p").is_empty());
}

#[test]
fn a_child_that_moves_touches_both_parents() {
    let mut index = index();
    index.apply(object("ConfigMap", "c", "c", 2, Some("p")));
    assert_eq!(uids(&index.apply(object("ConfigMap", "c", "c", 3, Some("q")))), ["p", "q"]);
}

#[test]
fn an_older_state_never_overwrites_a_newer_one() {
    let mut index = index();
    index.apply(object("ConfigMap", "c", "c", 10, Some("p")));
    assert!(index.apply(object("ConfigMap", "c", "c", 9, Some("q"))).is_empty());
    let key = index.children("p")[0].key.clone();
    assert!(index.delete(&key, "c", "9").is_empty());
    assert!(index.delete(&key, "another uid", "11").is_empty());
    assert_eq!(index.children("p").len(), 1);
}

#[test]
fn a_recreated_parent_is_another_parent() {
    let mut index = index();
    index.apply(object("Store", "s", "old", 1, None));
    index.apply(object("ConfigMap", "c", "c", 2, Some("old")));
    assert_eq!(uids(&index.apply(object("Store", "s", "new", 3, None))), ["new", "old"]);
    assert!(index.parent("old").is_none() && index.parent("new").is_some());
    assert!(index.children("new").is_empty());
}

#[test]
fn a_late_response_does_not_bring_back_a_deleted_object() {
    let mut index = index();
    let key = object("ConfigMap", "c", "c", 10, Some("p")).key;
    index.delete(&key, "c", "12");
    assert!(index.apply(object("ConfigMap", "c", "c", 10, Some("p"))).is_empty());
    assert!(index.children("p").is_empty());
    assert_eq!(uids(&index.apply(object("ConfigMap", "c", "c", 13, Some("p")))), ["p"], "its labels came back");
    index.delete(&key, "c", "14");
    assert_eq!(uids(&index.apply(object("ConfigMap", "c", "another", 15, Some("p")))), ["p"], "another object");
}

#[test]
fn an_earlier_object_of_the_same_name_does_not_come_back() {
    let mut index = index();
    let child = |uid: &str, version: u64| object("ConfigMap", "c", uid, version, Some("p"));
    let key = child("first", 1).key;
    index.delete(&key, "first", "2");
    index.apply(child("second", 3));
    assert!(index.apply(child("first", 1)).is_empty(), "it replaced its successor");
    assert_eq!(index.children("p")[0].uid, "second");
    index.delete(&key, "second", "4");
    // The answer to the host's own delete comes after the watch's word of it.
    index.delete(&key, "first", "1");
    assert!(index.apply(child("first", 1)).is_empty() && index.apply(child("second", 3)).is_empty());
    assert!(index.children("p").is_empty());
}

#[test]
fn objects_missing_from_a_relist_are_dropped_unless_written_meanwhile() {
    let mut index = index();
    index.apply(object("ConfigMap", "kept", "a", 1, Some("p")));
    index.apply(object("ConfigMap", "gone", "b", 2, Some("p")));
    index.begin_relist(&scope("ConfigMap"));
    index.apply(object("ConfigMap", "kept", "a", 1, Some("p")));
    index.apply(object("ConfigMap", "written", "c", 5, Some("p")));
    assert_eq!(uids(&index.finish_relist(&scope("ConfigMap"))), ["p"]);
    let names: Vec<String> = index.children("p").iter().map(|child| child.key.name.to_string()).collect();
    assert_eq!(names, ["kept", "written"]);
}

#[test]
fn a_store_went_back_if_a_consistent_list_is_older_than_what_was_seen() {
    let mut index = index();
    assert_eq!(index.highest(&kind_of("Store")), None);
    for version in [9, 10, 8] {
        index.apply(object("Store", "s", "p", version, None));
    }
    index.apply(object("ConfigMap", "c", "c", 100, Some("p")));
    assert_eq!(index.highest(&kind_of("Store")), Some("10"), "children are of kinds of their own");
    for (listed, back) in [("9", true), ("10", false), ("11", false), ("100", false), ("", false), ("x", false)] {
        assert_eq!(went_back("10", listed), back, "{listed}");
    }
}

#[test]
fn nothing_is_synced_before_every_scope_was_listed() {
    let mut index = index();
    for kind in ["Store", "ConfigMap"] {
        assert!(!index.is_synced());
        index.begin_relist(&scope(kind));
        index.finish_relist(&scope(kind));
    }
    assert!(index.is_synced());
}

#[test]
fn forged_labels_make_no_child_and_wake_nobody() {
    let mut index = synced();
    for (manager, namespace) in [("kubectl-create", "n"), ("bartizan/other", "n"), ("bartizan/minio", "elsewhere")] {
        let forged = applied_by(manager, "ConfigMap", (namespace, "c"), "c", 2, Some("p"));
        assert!(index.apply(forged.clone()).is_empty(), "{manager} in {namespace}");
        assert!(index.children("p").is_empty() && index.get(&forged.key).is_none(), "{manager} in {namespace}");
        assert_eq!(index.ignored().example.as_ref(), Some(&forged.key));
    }
    assert_eq!((index.ignored().times, index.len()), (3, 1));
    // A child of its own loses nothing by it, and an object that becomes one is one.
    assert_eq!(uids(&index.apply(object("ConfigMap", "c", "c", 5, Some("p")))), ["p"]);
    assert_eq!(uids(&index.apply(applied_by("kubectl", "ConfigMap", ("n", "c"), "c", 6, Some("p")))), ["p"]);
    assert!(index.children("p").is_empty());
}

#[test]
fn a_granted_namespace_may_have_children() {
    use crate::grants::Grant;
    use bartizan_contract::provider::GrantedNamespaces;
    let namespaces = vec![GrantedNamespaces::Named(vec!["granted".to_owned()])];
    let mut kinds = Kinds { parents: vec![kind_of("Store")], ..Kinds::default() };
    kinds.grants.children.insert(kind_of("ConfigMap"), Grant { namespaced: true, namespaces });
    let mut index = Index::new("minio", kinds, BTreeSet::new());
    index.apply(object("Store", "s", "p", 1, None));
    for namespace in ["granted", "n", "another"] {
        index.apply(applied_by("bartizan/minio", "ConfigMap", (namespace, "c"), namespace, 2, Some("p")));
    }
    let found: Vec<String> = index.children("p").iter().map(|child| child.uid.clone()).collect();
    assert_eq!(found, ["granted", "n"]);
}

#[test]
fn of_children_without_a_parent_only_the_keys_are_kept() {
    let mut index = synced();
    let child = object("ConfigMap", "c", "c", 2, Some("q"));
    assert!(index.apply(child.clone()).is_empty());
    assert!(index.get(&child.key).is_none() && index.children("q").is_empty() && index.has_unclaimed("q"));
    // The parent comes back: its children are listed before anything is decided.
    index.apply(object("Store", "t", "q", 3, None));
    assert!(index.is_being_listed("q") && !index.is_being_listed("p"));
    assert_eq!(index.take_returned(), ["q".into()]);
    assert!(index.is_being_listed("q") && index.take_returned().is_empty());
    index.apply(child.clone());
    index.children_listed(&"q".into());
    assert!(!index.is_being_listed("q"));
    assert_eq!(index.children("q").len(), 1);
    // It goes, and leaves the key; a relist without the child leaves nothing.
    let parent = index.parent("q").unwrap();
    index.delete(&parent.key, "q", "4");
    assert!(index.get(&child.key).is_none() && index.has_unclaimed("q"));
    index.begin_relist(&scope("ConfigMap"));
    index.finish_relist(&scope("ConfigMap"));
    assert!(!index.has_unclaimed("q"));
    index.apply(object("Store", "u", "q", 5, None));
    assert!(!index.is_being_listed("q"), "there is nothing to list");
}

#[test]
fn children_that_are_listed_before_their_parents_stay() {
    let mut index = index();
    index.apply(object("ConfigMap", "c", "c", 1, Some("p")));
    index.apply(object("ConfigMap", "stray", "d", 1, Some("nobody")));
    index.apply(applied_by("bartizan/minio", "ConfigMap", ("elsewhere", "c"), "e", 1, Some("p")));
    assert_eq!(index.len(), 3);
    index.begin_relist(&scope("Store"));
    index.apply(object("Store", "s", "p", 2, None));
    index.finish_relist(&scope("Store"));
    assert_eq!((index.children("p").len(), index.len()), (1, 2));
    assert!(index.has_unclaimed("nobody") && !index.is_being_listed("p"));
}

#[test]
fn beyond_the_limit_of_keys_every_new_parent_is_listed() {
    let mut index = synced();
    for number in 0..10_001 {
        index.apply(object("ConfigMap", &format!("c{number}"), &format!("c{number}"), 2, Some("forged")));
    }
    assert_eq!(index.len(), 1);
    index.apply(object("Store", "t", "q", 3, None));
    assert!(index.is_being_listed("q"), "some of its children may not have been kept");
}

proptest! {
    /// Events of one object in any order, with any repetition, end in the newest state.
    #[test]
    fn the_order_of_events_does_not_matter(order in Just((1u64..8).collect::<Vec<_>>()).prop_shuffle(), repeat in 0usize..7) {
        let mut index = index();
        for version in order.iter().chain(order.get(repeat)) {
            let owner = format!("p{}", version % 3);
            index.apply(object("ConfigMap", "c", "c", *version, Some(&owner)));
        }
        let found: Vec<usize> = ["p0", "p1", "p2"].map(|owner| index.children(owner).len()).into();
        prop_assert_eq!(found, [0, 1, 0]);
        prop_assert_eq!(&index.children("p1")[0].resource_version, "7");
    }
}
