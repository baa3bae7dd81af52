use bartizan_contract::names::OWNER_UID_LABEL;
use serde_json::json;

use super::*;
use crate::plan::tests::{self as plan_tests, parent};
use crate::plan::{FinalizerStep, Memory, PlanInput, plan};

/// A desired child, with a hash of its content.
fn intent(kind: &str, name: &str, body: &Value) -> Intent {
    let mut intent = plan_tests::intent(kind, name, 0);
    intent.hash = crate::object::short_hex(&crate::object::hash_json(body));
    intent.object["metadata"]["annotations"][INTENT_ANNOTATION] = json!(intent.hash);
    intent.object.as_object_mut().unwrap().remove("data");
    for (field, value) in body.as_object().unwrap() {
        intent.object[field] = value.clone();
    }
    intent
}

/// The live child, with a field that the API server defaulted.
fn stored(intent: &Intent) -> Arc<Observed> {
    let mut intent = intent.clone();
    intent.object["defaulted"] = json!(true);
    Arc::new(plan_tests::stored(&intent, 7))
}

fn predict(intents: &[Intent], children: &[Arc<Observed>]) -> Prediction {
    let (keep, memory) = (BTreeSet::new(), Memory::default());
    let plan = plan(&PlanInput {
        provider: "minio",
        parent: &parent(),
        intents,
        children,
        keep: &keep,
        memory: &memory,
        finalizer: FinalizerStep::Keep,
        unsure: &BTreeSet::new(),
        resting: &BTreeSet::new(),
    });
    Prediction { intents: intents.to_vec(), plan }
}

/// Each change as text.
fn words(changes: &[Change]) -> Vec<String> {
    let field = |field: &FieldChange| {
        let text = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        format!(" {} {} -> {}", field.path, text(&field.before), text(&field.after))
    };
    let word = |change: &Change| {
        let fields: String = change.fields.iter().map(field).collect();
        let because = change.because_of.as_ref().map(|field| format!(" for {field}")).unwrap_or_default();
        format!("{} {}{because}{fields}", change.action, change.child)
    };
    changes.iter().map(word).collect()
}

#[test]
fn what_both_versions_desire_is_no_change_whatever_exists() {
    let desired = [intent("ConfigMap", "a", &json!({"data": {"x": "1"}})), intent("ConfigMap", "b", &json!({}))];
    // One exists, one is still to be created, one is still to be deleted: with either version.
    let surplus = intent("Service", "c", &json!({}));
    let children = [stored(&desired[0]), stored(&surplus)];
    let version = predict(&desired, &children);
    assert_eq!(version.plan.deletes.len(), 1);
    assert_eq!(compare(&version, Some(&version), &children), []);
}

#[test]
fn changes_are_listed_by_child_and_field() {
    let before = [
        intent(
            "ConfigMap",
            "changed",
            &json!({"data": {"a": "1", "b/c": "2", "d": "3"}, "list": [{"x": 1}, {"x": 2}]}),
        ),
        intent("ConfigMap", "same", &json!({})),
        intent("ConfigMap", "dropped", &json!({})),
    ];
    let after = [
        intent(
            "ConfigMap",
            "changed",
            &json!({"data": {"a": "1", "b/c": "0", "e": "4"}, "list": [{"x": 1}, {"x": 3}]}),
        ),
        intent("ConfigMap", "same", &json!({})),
        intent("ConfigMap", "new", &json!({})),
    ];
    let children: Vec<_> = before.iter().map(stored).collect();
    let changes = compare(&predict(&after, &children), Some(&predict(&before, &children)), &children);
    let expected = [
        "update ConfigMap n/changed /data/b~1c \"2\" -> \"0\" /data/e nothing -> \"4\" /data/d \"3\" -> nothing \
         /list/1/x 2 -> 3",
        "create ConfigMap n/new",
        "delete ConfigMap n/dropped",
    ];
    assert_eq!(words(&changes), expected);
    // Without the active version, the live children stand in for it: removed fields are not detected.
    let changes = compare(&predict(&after, &children), None, &children);
    assert_eq!(words(&changes)[0], expected[0].replace(" /data/d \"3\" -> nothing", ""));
}

#[test]
fn a_change_of_an_immutable_field_is_a_recreation_or_a_refusal() {
    let before = [intent("StatefulSet", "db", &json!({"spec": {"serviceName": "a", "replicas": 1}}))];
    let mut after = [intent("StatefulSet", "db", &json!({"spec": {"serviceName": "b", "replicas": 2}}))];
    let children: Vec<_> = before.iter().map(stored).collect();
    let fields = " for /spec/serviceName /spec/replicas 1 -> 2 /spec/serviceName \"a\" -> \"b\"";
    for (on_immutable_change, action) in [
        (OnImmutableChange::Refuse, "refuse"),
        (OnImmutableChange::Recreate, "recreate"),
        (OnImmutableChange::RecreateOrphan, "recreate"),
    ] {
        after[0].on_immutable_change = on_immutable_change;
        for active in [Some(predict(&before, &children)), None] {
            let changes = compare(&predict(&after, &children), active.as_ref(), &children);
            assert_eq!(words(&changes), [format!("{action} StatefulSet n/db{fields}")]);
        }
    }
}

#[test]
fn values_of_secrets_are_never_shown() {
    let before = [intent("Secret", "s", &json!({"data": {"key": "cGxhbnRlZA==", "gone": "cGxhbnRlZA=="}}))];
    let after = [intent("Secret", "s", &json!({"data": {"key": "cGxhbnRlZDI=", "new": "cGxhbnRlZA=="}}))];
    let children: Vec<_> = before.iter().map(stored).collect();
    for active in [Some(predict(&before, &children)), None] {
        let changes = compare(&predict(&after, &children), active.as_ref(), &children);
        let text = serde_json::to_string(&changes).unwrap();
        assert!(text.contains("(secret)") && !text.contains("cGxhbnRlZ"), "{text}");
    }
}

#[test]
fn a_taken_name_is_refused_unless_it_was_before() {
    let before = [intent("ConfigMap", "mine", &json!({}))];
    let wanted = intent("ConfigMap", "theirs", &json!({}));
    let mut theirs = wanted.clone();
    theirs.object["metadata"]["labels"][OWNER_UID_LABEL] = json!("p-2");
    let children = [stored(&before[0]), stored(&theirs)];
    let after = [before[0].clone(), wanted];
    let (old, new) = (predict(&before, &children), predict(&after, &children));
    assert_eq!(words(&compare(&new, Some(&old), &children)), ["refuse ConfigMap n/theirs"]);
    assert_eq!(compare(&new, Some(&new), &children), []);
}

#[test]
fn a_failure_of_both_versions_is_no_change_if_it_is_the_same() {
    let failure = |reason| Err(NoPrediction { reason, message: format!("{reason}") });
    let fine = || Ok(Prediction::default());
    let as_before = |outlook| matches!(outlook, Outlook::AsBefore(_));
    let fails = |outlook| matches!(outlook, Outlook::Fails(_));
    for reason in [Reason::Held, Reason::Invalid, Reason::ProviderCrashed] {
        assert!(as_before(outlook(failure(reason), failure(reason), &[])));
        assert!(fails(outlook(failure(reason), failure(Reason::Refused), &[])), "another failure is a change");
        assert!(fails(outlook(failure(reason), fine(), &[])));
        assert!(as_before(outlook_alone(failure(reason), Some(reason), &[])));
        assert!(fails(outlook_alone(failure(reason), Some(Reason::Applied), &[])));
        assert!(fails(outlook_alone(failure(reason), None, &[])));
    }
    assert_eq!(outlook(fine(), failure(Reason::Invalid), &[]), Outlook::Changes(Vec::new()));
    assert!(as_before(outlook(failure(Reason::Held), failure(Reason::Invalid), &[])), "an invalid spec may be held");
    let unknown = |outlook| matches!(outlook, Outlook::Unknown(_));
    assert!(unknown(outlook(failure(Reason::HostBusy), failure(Reason::HostBusy), &[])), "nobody was asked");
    assert!(unknown(outlook_alone(failure(Reason::Held), Some(Reason::Paused), &[])));
}
