use bartizan_contract::names::{INTENT_ANNOTATION, OWNER_UID_LABEL, PROVIDER_LABEL, WAVE_ANNOTATION};
use bartizan_contract::{OnDelete, OnImmutableChange};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const MANAGER: &str = "bartizan/minio";

pub(crate) fn parent() -> Observed {
    let object = json!({
        "apiVersion": "minio.rook.io/v1alpha1", "kind": "ObjectStore",
        "metadata": {"name": "s", "namespace": "n", "uid": "p-1", "resourceVersion": "1"}
    });
    Observed::project(object, MANAGER).unwrap()
}

pub(crate) fn intent(kind: &str, name: &str, content: u8) -> Intent {
    let kind = if kind == "StatefulSet" { Kind::new("apps", "v1", kind) } else { Kind::new("", "v1", kind) };
    let hash = format!("{content:032x}");
    let object = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": {
            "name": name, "namespace": "n",
            "labels": {PROVIDER_LABEL: "minio", OWNER_UID_LABEL: "p-1"},
            "annotations": {INTENT_ANNOTATION: hash}
        },
        "data": {"content": content}
    });
    Intent {
        key: ObjectKey::new(&kind, Some("n"), name),
        kind,
        object,
        hash,
        generate: Vec::new(),
        wave: 0,
        on_delete: OnDelete::Delete,
        on_immutable_change: OnImmutableChange::Refuse,
        uses: BTreeSet::new(),
    }
}

/// What the API server returns for an apply of the intent.
pub(crate) fn stored(intent: &Intent, version: u64) -> Observed {
    observed(intent.object.clone(), version, &[(MANAGER, "Apply", 10)])
}

fn observed(mut object: Value, version: u64, managers: &[(&str, &str, u8)]) -> Observed {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.insert("uid".into(), json!(format!("u-{}", metadata["name"].as_str().unwrap())));
    metadata.insert("resourceVersion".into(), json!(version.to_string()));
    let fields = managers.iter().map(|(manager, operation, second)| {
        let label = format!("f:{OWNER_UID_LABEL}");
        let fields = if *manager == MANAGER { json!({"f:metadata": {"f:labels": {label: {}}}}) } else { json!({}) };
        let time = format!("2026-01-01T00:00:{second:02}Z");
        json!({"manager": manager, "operation": operation, "time": time, "fieldsV1": fields})
    });
    metadata.insert("managedFields".into(), fields.collect());
    Observed::project(object, MANAGER).unwrap()
}

fn plan_of(intents: &[Intent], children: &[Observed], memory: &Memory) -> Plan {
    let children: Vec<Arc<Observed>> = children.iter().cloned().map(Arc::new).collect();
    let (keep, unsure, finalizer) = (BTreeSet::new(), BTreeSet::new(), FinalizerStep::Keep);
    plan(&PlanInput {
        provider: "minio",
        parent: &parent(),
        intents,
        children: &children,
        keep: &keep,
        memory,
        finalizer,
        unsure: &unsure,
        resting: &unsure,
    })
}

#[test]
fn a_missing_child_is_created_and_never_overwritten() {
    let plan = plan_of(&[intent("ConfigMap", "a", 1)], &[], &Memory::default());
    assert_eq!(plan.to_string(), "apply ConfigMap n/a (Absent)");
    assert_eq!(plan.applies[0].fence, Fence::CreateOnly);
}

#[test]
fn pods_are_applied_after_what_they_use_and_not_if_its_owner_is_another() {
    let (mut pods, secret) = (intent("StatefulSet", "pods", 1), intent("Secret", "keys", 1));
    let other = intent("ConfigMap", "other", 1);
    pods.uses = [secret.key.clone()].into();
    let intents = [pods, secret.clone(), other];
    let steps = |plan: &Plan| -> Vec<Vec<String>> {
        plan.waves().map(|wave| wave.iter().map(|apply| apply.intent.key.to_string()).collect()).collect()
    };
    let plan = plan_of(&intents, &[], &Memory::default());
    let expected: &[&[&str]] = &[&["Secret n/keys", "ConfigMap n/other"], &["StatefulSet n/pods"]];
    assert_eq!(steps(&plan), expected);

    let foreign = observed(secret.object.clone(), 5, &[("kubectl", "Apply", 10)]);
    let taken = plan_of(&intents, &[foreign], &Memory::default());
    assert_eq!(taken.to_string(), "apply ConfigMap n/other (Absent), Secret n/keys is not owned by this parent");
    let mut going = secret.object.clone();
    going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let waiting = plan_of(&intents, &[observed(going, 5, &[(MANAGER, "Apply", 10)])], &Memory::default());
    assert_eq!(waiting.to_string(), "apply ConfigMap n/other (Absent), wait for Secret n/keys to be deleted");
}

#[test]
fn after_a_restart_an_equal_child_without_other_writers_is_left_alone() {
    let desired = intent("ConfigMap", "a", 1);
    assert!(plan_of(std::slice::from_ref(&desired), &[stored(&desired, 5)], &Memory::default()).is_settled());
}

#[test]
fn after_a_restart_a_child_with_a_later_writer_is_applied_again() {
    let desired = intent("ConfigMap", "a", 1);
    let edited = observed(desired.object.clone(), 6, &[(MANAGER, "Apply", 10), ("kubectl", "Update", 11)]);
    let plan = plan_of(&[desired], &[edited], &Memory::default());
    assert_eq!(plan.to_string(), "apply ConfigMap n/a (Drifted)");
}

#[test]
fn a_manual_edit_is_reverted_once_and_defaulted_fields_are_not_drift() {
    let desired = intent("ConfigMap", "a", 1);
    let mut answer = stored(&desired, 5);
    let mut memory = Memory::default();
    let mut defaulted = desired.object.clone();
    defaulted["immutable"] = json!(false);
    let defaulted = observed(defaulted, 5, &[(MANAGER, "Apply", 10)]);
    memory.remember(desired.key.clone(), desired.hash.clone(), defaulted.digest);
    assert!(plan_of(std::slice::from_ref(&desired), &[defaulted], &memory).is_settled());
    answer.digest = [7; 32];
    assert_eq!(plan_of(&[desired], &[answer], &memory).to_string(), "apply ConfigMap n/a (Drifted)");
}

#[test]
fn a_changed_intent_is_applied_only_to_the_state_that_was_observed() {
    let old = [intent("StatefulSet", "a", 1), intent("ConfigMap", "b", 1)];
    let children: Vec<Observed> = old.iter().map(|desired| stored(desired, 5)).collect();
    let new = [intent("StatefulSet", "a", 2), intent("ConfigMap", "b", 2)];
    let plan = plan_of(&new, &children, &Memory::default());
    let fences: Vec<&Fence> = plan.applies.iter().map(|apply| &apply.fence).collect();
    let exact = |uid: &str| Fence::Exact { uid: uid.to_owned(), resource_version: "5".to_owned() };
    assert_eq!(fences, [&exact("u-a"), &exact("u-b")]);
}

#[rstest]
#[case::removed(json!(null), true, true)]
#[case::of_another_kind_of_owner(json!([{"uid": "q", "controller": false}]), true, true)]
#[case::there(json!([{"uid": "p-1", "controller": true}]), true, false)]
#[case::never_had_one(json!(null), false, false)]
fn a_child_without_its_owner_reference_asks_for_the_parent(
    #[case] owners: Value,
    #[case] is_collected: bool,
    #[case] expected: bool,
) {
    let mut desired = intent("ConfigMap", "a", 1);
    if is_collected {
        desired.object["metadata"]["ownerReferences"] = json!([{"uid": "p-1", "controller": true}]);
    }
    let mut live = intent("ConfigMap", "a", 2).object;
    live["metadata"]["ownerReferences"] = owners;
    let plan = plan_of(&[desired], &[observed(live, 5, &[(MANAGER, "Apply", 1)])], &Memory::default());
    assert_eq!(plan.orphans.len(), usize::from(expected));
}

#[test]
fn a_child_that_is_no_longer_desired_is_pruned_only_if_owned() {
    let gone = intent("ConfigMap", "gone", 1);
    let ours = stored(&gone, 5);
    let forged = observed(intent("ConfigMap", "forged", 1).object, 5, &[("kubectl", "Update", 1)]);
    let mut moved = intent("ConfigMap", "moved", 1).object;
    moved["metadata"]["ownerReferences"] = json!([{"uid": "somebody", "controller": true}]);
    let moved = observed(moved, 5, &[(MANAGER, "Apply", 1)]);
    let plan = plan_of(&[], &[ours, forged, moved], &Memory::default());
    assert_eq!(plan.to_string(), "delete ConfigMap n/gone");
}

/// A child whose labels another manager owns: it was moved to this parent by hand, or they were removed and restored.
fn relabelled(intent: &Intent) -> Observed {
    let mut child = stored(intent, 5);
    child.labelled_by_host = false;
    child
}

#[test]
fn a_child_moved_to_this_parent_by_hand_is_neither_deleted_nor_released() {
    let given = relabelled(&intent("ConfigMap", "given", 1));
    assert!(plan_of(&[], std::slice::from_ref(&given), &Memory::default()).is_settled());
    let given = [Arc::new(given)];
    assert_eq!(teardown("minio", &parent(), &given, &Memory::default()).to_string(), "remove the finalizer");
    assert!(release_all("minio", &parent(), &given, FinalizerStep::Keep).is_settled());
}

#[test]
fn a_child_that_was_adopted_and_never_applied_is_let_go_of_and_not_deleted() {
    let desired = intent("ConfigMap", "a", 1);
    let mut child = stored(&desired, 5);
    child.intent = None;
    let adopted = [Arc::new(child.clone())];
    let none = Memory::default();
    assert_eq!(plan_of(&[], std::slice::from_ref(&child), &none).to_string(), "release ConfigMap n/a");
    let left = teardown("minio", &parent(), &adopted, &none).to_string();
    assert_eq!(left, "release ConfigMap n/a, remove the finalizer");
    // Once it was applied, somebody else took the annotation off.
    let mut memory = Memory::default();
    memory.remember(desired.key.clone(), desired.hash.clone(), child.digest);
    assert_eq!(plan_of(&[], std::slice::from_ref(&child), &memory).to_string(), "delete ConfigMap n/a");
    assert_eq!(teardown("minio", &parent(), &adopted, &memory).to_string(), "delete ConfigMap n/a");
}

#[test]
fn labels_that_were_removed_and_restored_are_applied_by_the_host_again() {
    let desired = intent("ConfigMap", "a", 1);
    let child = relabelled(&desired);
    let mut memory = Memory::default();
    memory.remember(desired.key.clone(), desired.hash.clone(), child.digest);
    assert_eq!(plan_of(&[desired], &[child], &memory).to_string(), "apply ConfigMap n/a (Drifted)");
}

#[test]
fn a_name_taken_by_a_forged_child_is_not_written() {
    let desired = intent("ConfigMap", "a", 1);
    let forged = observed(desired.object.clone(), 5, &[("kubectl", "Update", 1)]);
    assert_eq!(
        plan_of(&[desired], &[forged], &Memory::default()).to_string(),
        "ConfigMap n/a is not owned by this parent"
    );
}

#[test]
fn a_plan_waits_for_a_child_that_is_being_deleted() {
    let desired = intent("ConfigMap", "a", 1);
    let mut object = desired.object.clone();
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let going = observed(object, 5, &[(MANAGER, "Apply", 1)]);
    assert_eq!(
        plan_of(&[desired], std::slice::from_ref(&going), &Memory::default()).to_string(),
        "wait for ConfigMap n/a to be deleted"
    );
    assert!(plan_of(&[], &[going], &Memory::default()).is_settled());
}

#[test]
fn a_child_read_at_another_version_of_its_kind_is_the_same_child() {
    let mut new = intent("ConfigMap", "a", 1);
    new.kind.version = "v2".to_owned();
    let old = stored(&intent("ConfigMap", "a", 1), 5);
    let plan = plan_of(&[new], &[old], &Memory::default());
    assert!(plan.deletes.is_empty(), "{plan}");
}

/// The live state of a child, for the property tests.
#[derive(Clone, Debug)]
enum Live {
    Nothing,
    Ours(u8),
    Drifted(u8),
    Forged(u8),
    Moved(u8),
}

fn live() -> impl Strategy<Value = Live> {
    prop_oneof![
        2 => Just(Live::Nothing),
        3 => any::<u8>().prop_map(Live::Ours),
        2 => any::<u8>().prop_map(Live::Drifted),
        1 => any::<u8>().prop_map(Live::Forged),
        1 => any::<u8>().prop_map(Live::Moved),
    ]
}

fn materialize(name: &str, live: &Live) -> Option<Observed> {
    let with = |content: u8, managers: &[(&str, &str, u8)]| {
        Some(observed(intent("ConfigMap", name, content).object, 5, managers))
    };
    match live {
        Live::Nothing => None,
        Live::Ours(content) => with(*content, &[(MANAGER, "Apply", 1)]),
        Live::Drifted(content) => with(*content, &[(MANAGER, "Apply", 1), ("kubectl", "Update", 2)]),
        Live::Forged(content) => with(*content, &[("kubectl", "Update", 2)]),
        Live::Moved(content) => {
            let mut object = intent("ConfigMap", name, *content).object;
            object["metadata"]["ownerReferences"] = json!([{"uid": "somebody", "controller": true}]);
            Some(observed(object, 5, &[(MANAGER, "Apply", 1)]))
        }
    }
}

proptest! {
    /// From any state: no foreign object is deleted or written, one execution reaches the fixed point (except for taken
    /// names), and the order of the observations does not matter.
    #[test]
    fn a_plan_is_safe_converges_and_does_not_depend_on_order(
        state in proptest::collection::vec((live(), proptest::option::of(0u8..3)), 1..8),
        seed in any::<u64>(),
    ) {
        let names: Vec<String> = (0..state.len()).map(|position| format!("c{position}")).collect();
        let children: Vec<Observed> =
            state.iter().zip(&names).filter_map(|((live, _), name)| materialize(name, live)).collect();
        let intents: Vec<Intent> = state
            .iter()
            .zip(&names)
            .filter_map(|((_, desired), name)| desired.map(|content| intent("ConfigMap", name, content)))
            .collect();
        let mut memory = Memory::default();
        let first = plan_of(&intents, &children, &memory);

        let mut shuffled = children.clone();
        let length = shuffled.len();
        if length > 1 {
            shuffled.rotate_left((seed as usize) % length);
        }
        let mut reordered = plan_of(&intents, &shuffled, &memory);
        reordered.deletes.sort_by(|left, right| left.key.cmp(&right.key));
        let mut sorted = first.clone();
        sorted.deletes.sort_by(|left, right| left.key.cmp(&right.key));
        prop_assert_eq!(&reordered, &sorted);

        let mut cluster: BTreeMap<ObjectKey, Observed> =
            children.into_iter().map(|child| (child.key.clone(), child)).collect();
        for delete in &first.deletes {
            let victim = &cluster[&delete.key];
            prop_assert!(victim.applied_by_host && victim.controller_uid.is_none(), "deletes foreign {}", delete.key);
            cluster.remove(&delete.key);
        }
        for apply in &first.applies {
            if let Some(target) = cluster.get(&apply.intent.key) {
                prop_assert!(target.applied_by_host && target.controller_uid.is_none());
                prop_assert_ne!(&apply.fence, &Fence::CreateOnly);
            }
            let answer = stored(&apply.intent, 9);
            memory.remember(answer.key.clone(), apply.intent.hash.clone(), answer.digest);
            cluster.insert(answer.key.clone(), answer);
        }
        let after: Vec<Observed> = cluster.into_values().collect();
        let second = plan_of(&intents, &after, &memory);
        prop_assert!(second.applies.is_empty() && second.deletes.is_empty(), "not settled: {second}");
        prop_assert_eq!(second.taken, first.taken);
    }
}

/// A stored child that is being deleted.
fn going(intent: &Intent) -> Observed {
    let mut object = intent.object.clone();
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    observed(object, 5, &[(MANAGER, "Apply", 10)])
}

fn in_wave(mut intent: Intent, wave: u32) -> Intent {
    intent.wave = wave;
    intent.object["metadata"]["annotations"][WAVE_ANNOTATION] = json!(wave.to_string());
    intent
}

#[test]
fn nothing_is_pruned_and_no_later_wave_is_written_while_a_desired_child_is_terminating() {
    let (old, new) = (intent("ConfigMap", "old", 1), intent("ConfigMap", "new", 1));
    let (beside, later) = (intent("ConfigMap", "beside", 1), in_wave(intent("ConfigMap", "later", 1), 1));
    let plan = plan_of(&[new.clone(), beside, later], &[stored(&old, 5), going(&new)], &Memory::default());
    assert_eq!(plan.to_string(), "apply ConfigMap n/beside (Absent), wait for ConfigMap n/new to be deleted");
    assert_eq!((plan.deletes.len(), plan.due_deletes()), (1, &[][..]), "what would be pruned is known, and waits");
}

#[test]
fn nothing_is_pruned_and_no_later_wave_is_written_while_a_name_is_taken() {
    let (old, new) = (intent("ConfigMap", "old", 1), intent("ConfigMap", "new", 1));
    let foreign = observed(new.object.clone(), 5, &[("kubectl", "Apply", 10)]);
    let later = in_wave(intent("ConfigMap", "later", 1), 1);
    let plan = plan_of(&[new, later], &[stored(&old, 5), foreign], &Memory::default());
    assert_eq!(plan.to_string(), "ConfigMap n/new is not owned by this parent");
}

#[test]
fn waves_are_pruned_one_after_another() {
    let child = |name: &str, wave| in_wave(intent("ConfigMap", name, 1), wave);
    let (first, last) = (child("first", 0), child("last", 2));
    let plan = plan_of(&[], &[stored(&first, 5), stored(&last, 5)], &Memory::default());
    assert_eq!(plan.to_string(), "delete ConfigMap n/last");
    let plan = plan_of(&[], &[stored(&first, 5), going(&last)], &Memory::default());
    assert_eq!(plan.to_string(), "wait for ConfigMap n/last to be deleted");
    let plan = plan_of(&[], &[stored(&last, 5), going(&first)], &Memory::default());
    assert_eq!(plan.to_string(), "delete ConfigMap n/last");
}
