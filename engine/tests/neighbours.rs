//! What the index holds beside parents and children: descendants of children, and related objects of parents.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

use std::collections::BTreeSet;
use std::sync::Arc;

use bartizan_contract::Kind;
use bartizan_contract::names::{OWNER_UID_LABEL, PROVIDER_LABEL};
use bartizan_engine::index::{Kinds, Scope};
use bartizan_engine::related::{Reference, References};
use bartizan_engine::selector::Selector;
use bartizan_engine::{Index, ObjectKey, Observed, Touched};
use serde_json::{Value, json};

const KINDS: [&str; 4] = ["Store", "StatefulSet", "Pod", "Secret"];

fn kind(kind: &str) -> Kind {
    Kind::new("", "v1", kind)
}

fn scope(name: &str) -> Scope {
    Scope { kind: kind(name), namespace: None }
}

fn list(index: &mut Index, name: &str, objects: &[Observed]) -> Touched {
    index.begin_relist(&scope(name));
    for object in objects {
        index.apply(object.clone());
    }
    index.finish_relist(&scope(name))
}

fn empty() -> Index {
    let kinds = Kinds {
        parents: vec![kind("Store")],
        descendants: vec![kind("Pod")],
        related: vec![kind("Secret")],
        ..Kinds::default()
    };
    Index::new("minio", kinds, KINDS.map(scope).into())
}

/// An index that has listed everything, with the parents `p` and `q`.
fn index() -> Index {
    let mut index = empty();
    list(&mut index, "Store", &[object("Store", "s", "p", 1, json!({})), object("Store", "t", "q", 1, json!({}))]);
    for name in &KINDS[1..] {
        list(&mut index, name, &[]);
    }
    index
}

/// An object in namespace `n`, with these fields merged into its metadata; `spec` stays beside it.
fn object(kind: &str, name: &str, uid: &str, version: u64, mut more: Value) -> Observed {
    let spec = more.as_object_mut().unwrap().remove("spec").unwrap_or_default();
    let mut metadata = json!({"name": name, "namespace": "n", "uid": uid, "resourceVersion": version.to_string()});
    metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let object = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec});
    Observed::project(object, "bartizan/minio").unwrap()
}

/// A child of the parent with this UID that selects by `app`.
fn set(name: &str, uid: &str, version: u64, owner: &str, app: &str) -> Observed {
    let labels = json!({PROVIDER_LABEL: "minio", OWNER_UID_LABEL: owner});
    let spec = json!({"selector": {"matchLabels": {"app": app}}});
    let applied = json!([{"manager": "bartizan/minio", "operation": "Apply", "fieldsV1": {}}]);
    object("StatefulSet", name, uid, version, json!({"labels": labels, "managedFields": applied, "spec": spec}))
}

fn pod(name: &str, version: u64, app: &str, controller: Option<(&str, &str)>) -> Observed {
    let owners: Vec<Value> =
        controller.map(|(kind, uid)| json!({"kind": kind, "uid": uid, "controller": true})).into_iter().collect();
    object("Pod", name, &format!("pod-{name}"), version, json!({"labels": {"app": app}, "ownerReferences": owners}))
}

fn secret(name: &str, version: u64, labels: Value) -> Observed {
    object("Secret", name, &format!("secret-{name}"), version, json!({"labels": labels}))
}

fn names<'a>(objects: impl IntoIterator<Item = &'a Arc<Observed>>) -> Vec<String> {
    objects.into_iter().map(|object| object.key.name.to_string()).collect()
}

fn descendants(index: &Index, parent: &str) -> Vec<String> {
    names(&index.descendants(&index.children(parent)))
}

fn uids(touched: &Touched) -> Vec<&str> {
    touched.iter().map(|uid| &**uid).collect()
}

fn delete(index: &mut Index, object: &Observed, version: &str) -> Touched {
    index.delete(&object.key, &object.uid, version)
}

#[test]
fn selected_objects_are_descendants_and_touch_the_parent() {
    let mut index = index();
    index.apply(set("data", "set", 2, "p", "data"));
    let first = pod("data-0", 3, "data", Some(("StatefulSet", "set")));
    assert_eq!(uids(&index.apply(first.clone())), ["p"]);
    assert_eq!(uids(&index.apply(pod("loose", 4, "data", None))), ["p"], "it has no controller");
    assert!(index.apply(pod("other", 5, "other", None)).is_empty());
    assert_eq!(descendants(&index, "p"), ["data-0", "loose"]);
    assert_eq!(uids(&delete(&mut index, &first, "6")), ["p"]);
    assert_eq!(descendants(&index, "p"), ["loose"]);
    assert_eq!(index.len(), 4, "an object without an ancestor is not kept");
}

#[test]
fn of_children_with_overlapping_selectors_each_has_what_it_controls() {
    let mut index = index();
    index.apply(set("one", "set-1", 2, "p", "same"));
    index.apply(set("two", "set-2", 3, "q", "same"));
    assert_eq!(uids(&index.apply(pod("one-0", 4, "same", Some(("StatefulSet", "set-1"))))), ["p"]);
    assert_eq!(uids(&index.apply(pod("two-0", 5, "same", Some(("StatefulSet", "set-2"))))), ["q"]);
    assert!(index.apply(pod("old-0", 6, "same", Some(("StatefulSet", "gone")))).is_empty(), "of an earlier one");
    // A controller of another kind stands in between, as a ReplicaSet does.
    assert_eq!(uids(&index.apply(pod("between", 7, "same", Some(("ReplicaSet", "x"))))), ["p", "q"]);
    assert_eq!(descendants(&index, "p"), ["between", "one-0"]);
    assert_eq!(descendants(&index, "q"), ["between", "two-0"]);
}

#[test]
fn a_pod_that_leaves_a_selector_touches_its_former_parent() {
    let mut index = index();
    index.apply(set("one", "set-1", 2, "p", "one"));
    index.apply(set("two", "set-2", 3, "q", "two"));
    index.apply(pod("x", 4, "one", None));
    assert_eq!(uids(&index.apply(pod("x", 5, "two", None))), ["p", "q"]);
    assert_eq!((descendants(&index, "p").len(), descendants(&index, "q").len()), (0, 1));
    assert_eq!(uids(&index.apply(pod("x", 6, "none", None))), ["q"]);
    assert!(index.get(&pod("x", 6, "none", None).key).is_none());
}

#[test]
fn dropped_objects_are_listed_once_a_selector_for_them_appears() {
    let mut index = index();
    let early = pod("data-0", 2, "data", Some(("StatefulSet", "set")));
    assert!(index.apply(early.clone()).is_empty() && index.get(&early.key).is_none());

    index.apply(set("data", "set", 3, "p", "data"));
    assert!(index.is_being_listed("p") && !index.is_being_listed("q"));
    let listings = index.take_listings();
    let [listing] = listings.as_slice() else { panic!("{listings:?}") };
    assert_eq!((listing.namespace.as_deref(), listing.selector.to_string().as_str()), (Some("n"), "app=data"));
    assert!(index.take_listings().is_empty() && index.is_being_listed("p"), "requested once, and in flight");
    assert_eq!(uids(&index.apply(early)), ["p"]);
    assert_eq!(uids(&index.listed(&listing.child)), ["p"]);
    assert!(!index.is_being_listed("p"));
    assert_eq!(descendants(&index, "p"), ["data-0"]);

    // The same selector is not listed again; another one is.
    index.apply(set("data", "set", 4, "p", "data"));
    assert!(index.take_listings().is_empty());
    index.apply(set("data", "set", 5, "p", "new"));
    assert_eq!(index.take_listings().len(), 1);
    assert!(descendants(&index, "p").is_empty());
}

#[test]
fn deleting_a_child_drops_its_descendants() {
    let mut index = index();
    let child = set("data", "set", 2, "p", "data");
    index.apply(child.clone());
    index.apply(pod("data-0", 3, "data", None));
    assert_eq!(index.len(), 4);
    delete(&mut index, &child, "4");
    assert_eq!(index.len(), 2, "both parents");
    // Recreated under the same name, it is another child, whose pods are listed.
    index.take_listings();
    index.apply(set("data", "set-2", 5, "p", "data"));
    assert_eq!(index.take_listings().len(), 1);
}

#[test]
fn no_descendant_is_dropped_before_the_initial_lists_are_complete() {
    let mut index = empty();
    list(&mut index, "Pod", &[pod("data-0", 1, "data", None), pod("other", 1, "other", None)]);
    list(&mut index, "Store", &[object("Store", "s", "p", 1, json!({}))]);
    assert!(index.get(&pod("data-0", 1, "data", None).key).is_some());
    list(&mut index, "Secret", &[]);
    let touched = list(&mut index, "StatefulSet", &[set("data", "set", 2, "p", "data")]);
    assert_eq!(uids(&touched), ["p"]);
    assert!(index.take_listings().is_empty(), "all of it was listed");
    assert_eq!(descendants(&index, "p"), ["data-0"]);
    assert!(index.get(&pod("other", 1, "other", None).key).is_none());
}

#[test]
fn a_relist_drops_vanished_pods_and_keeps_descendants() {
    let mut index = index();
    index.apply(set("data", "set", 2, "p", "data"));
    for (name, version) in [("data-0", 3), ("data-1", 4)] {
        index.apply(pod(name, version, "data", None));
    }
    let touched = list(&mut index, "Pod", &[pod("data-1", 4, "data", None), pod("other", 5, "other", None)]);
    assert_eq!(uids(&touched), ["p"]);
    assert_eq!(descendants(&index, "p"), ["data-1"]);
}

fn by_name(names: &[&str]) -> Reference {
    let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Reference { kind: kind("Secret"), namespace: Some("n".to_owned()), names, selector: None }
}

fn by_label(value: &str) -> Reference {
    Reference { selector: Selector::of_labels([("tier", value)]), ..by_name(&[]) }
}

#[test]
fn a_named_object_touches_its_referrers_with_every_change() {
    let mut index = index();
    index.refer(&"p".into(), References::from([by_name(&["a", "b"])]));
    index.refer(&"q".into(), References::from([by_name(&["b"])]));
    assert_eq!(uids(&index.apply(secret("a", 2, json!({})))), ["p"]);
    assert_eq!(uids(&index.apply(secret("b", 3, json!({})))), ["p", "q"]);
    assert!(index.apply(secret("c", 4, json!({}))).is_empty());
    assert_eq!(names(&index.related(&index.references("p"))), ["a", "b"]);
    assert_eq!(names(&index.related(&index.references("q"))), ["b"]);
    let other = Reference { namespace: Some("m".to_owned()), ..by_name(&["a"]) };
    assert!(index.related(&References::from([other])).is_empty(), "another namespace");
    assert_eq!(uids(&index.apply(secret("b", 5, json!({"x": "y"})))), ["p", "q"]);
    assert_eq!(uids(&delete(&mut index, &secret("b", 5, json!({})), "6")), ["p", "q"]);
    assert_eq!(names(&index.related(&index.references("p"))), ["a"]);
}

#[test]
fn a_label_change_touches_the_old_and_the_new_referrers() {
    let mut index = index();
    index.refer(&"p".into(), References::from([by_label("gold")]));
    index.refer(&"q".into(), References::from([by_label("tin")]));
    assert_eq!(uids(&index.apply(secret("a", 2, json!({"tier": "gold"})))), ["p"]);
    assert_eq!(uids(&index.apply(secret("a", 3, json!({"tier": "tin"})))), ["p", "q"]);
    assert!(index.related(&index.references("p")).is_empty());
    assert_eq!(names(&index.related(&index.references("q"))), ["a"]);
    // By name and by label: both must match, and the name determines the referrers.
    let both = Reference { selector: Selector::of_labels([("tier", "gold")]), ..by_name(&["a"]) };
    index.refer(&"p".into(), References::from([both]));
    assert!(index.related(&index.references("p")).is_empty());
    assert_eq!(uids(&index.apply(secret("a", 4, json!({"tier": "gold"})))), ["p", "q"]);
    assert_eq!(names(&index.related(&index.references("p"))), ["a"]);
}

#[test]
fn replaced_references_and_those_of_deleted_parents_are_forgotten() {
    let mut index = index();
    index.refer(&"p".into(), References::from([by_name(&["a"]), by_label("gold")]));
    assert_eq!(uids(&index.referrers_of_kind(&kind("Secret"))), ["p"]);
    index.refer(&"p".into(), References::from([by_name(&["b"])]));
    assert!(index.apply(secret("a", 2, json!({"tier": "gold"}))).is_empty());
    assert_eq!(uids(&index.apply(secret("b", 3, json!({})))), ["p"]);
    let store = ObjectKey::new(&kind("Store"), Some("n"), "s");
    assert_eq!(uids(&index.delete(&store, "p", "4")), ["p"]);
    assert!(index.apply(secret("b", 5, json!({}))).is_empty());
    assert!(index.references("p").is_empty() && index.referrers_of_kind(&kind("Secret")).is_empty());
}

#[test]
fn a_relist_touches_the_referrers_of_vanished_objects() {
    let mut index = index();
    index.refer(&"p".into(), References::from([by_name(&["a"])]));
    index.refer(&"q".into(), References::from([by_label("gold")]));
    index.apply(secret("a", 2, json!({})));
    index.apply(secret("b", 3, json!({"tier": "gold"})));
    assert_eq!(uids(&list(&mut index, "Secret", &[secret("b", 3, json!({"tier": "gold"}))])), ["p"]);
    assert_eq!(uids(&list(&mut index, "Secret", &[])), ["q"]);
}

#[test]
fn only_what_a_parent_refers_to_is_kept() {
    let mut index = index();
    let (named, other) = (secret("named", 2, json!({})), secret("other", 3, json!({"app": "x"})));
    assert!(index.apply(named.clone()).is_empty() && index.get(&named.key).is_none());
    assert!(index.apply(other.clone()).is_empty() && index.get(&other.key).is_none());
    let by_name = Reference {
        kind: kind("Secret"),
        namespace: Some("n".to_owned()),
        names: BTreeSet::from(["named".to_owned()]),
        selector: None,
    };
    index.refer(&"p".into(), References::from([by_name.clone()]));
    assert!(index.is_being_listed("p") && !index.is_being_listed("q"), "it was dropped before");
    let unread = index.take_unread();
    assert_eq!(unread.into_iter().collect::<Vec<_>>(), [("p".into(), References::from([by_name.clone()]))]);
    assert!(index.is_being_listed("p"));
    // Who refers to it meanwhile does not know it, either.
    index.refer(&"q".into(), References::from([by_name.clone()]));
    assert!(index.is_being_listed("q") && index.take_unread().contains_key("q"));
    index.references_read(&"q".into());
    index.refer(&"q".into(), References::new());
    assert_eq!(uids(&index.apply(named.clone())), ["p"]);
    assert_eq!(uids(&index.references_read(&"p".into())), ["p"]);
    assert!(!index.is_being_listed("p"));
    assert_eq!(names(&index.related(&References::from([by_name.clone()]))), ["named"]);
    // Another parent needs not wait for the same object.
    index.refer(&"q".into(), References::from([by_name]));
    assert!(!index.is_being_listed("q"));
    index.refer(&"p".into(), References::new());
    assert!(index.get(&named.key).is_some(), "the other one still refers to it");
    index.refer(&"q".into(), References::new());
    assert!(index.get(&named.key).is_none());
}

#[test]
fn who_refers_to_a_part_of_what_another_parent_still_reads_does_not_know_it_either() {
    for (first, second) in [
        (by_name(&["a", "b"]), by_name(&["a"])),
        (by_name(&["a"]), by_name(&["a", "b"])),
        (by_label("gold"), by_label("gold")),
    ] {
        let mut index = index();
        index.refer(&"p".into(), References::from([first]));
        assert!(!index.take_unread().is_empty());
        index.refer(&"q".into(), References::from([second]));
        assert!(index.is_being_listed("q"));
    }
}
