use std::sync::LazyLock;

use super::*;

const THEN: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-01-02T00:00:00Z";

/// A status without limits.
static SHAPE: LazyLock<StatusShape> = LazyLock::new(StatusShape::default);

fn input<'a>(owned: &'a Value, reported: ReportedStatus<'a>, outcome: &'a Outcome) -> StatusInput<'a> {
    StatusInput {
        owned,
        live: owned,
        shape: &SHAPE,
        written: &[],
        keeps_ready: false,
        reported,
        outcome,
        generation: Some(3),
        now: NOW,
    }
}

#[test]
fn a_manager_takes_back_its_own_fields_and_conditions_only() {
    let live = json!({"ready": 4, "other": 1, "nested": {"ours": 1, "theirs": 2}, "conditions": [{"type": "A"}, {"type": "B"}]});
    let owned = json!({"ready": 4, "nested": {"ours": 1}, "conditions": [{"type": "A"}]});
    let expected = json!({"ready": null, "nested": {"ours": null}, "conditions": [{"type": "B"}]});
    assert_eq!(without(&live, &owned, false), expected);
    assert_eq!(without(&json!({"conditions": [{"type": "A"}]}), &owned, false)["conditions"], Value::Null);
}

#[test]
fn an_unchanged_status_is_not_written_again() {
    let reported =
        json!({"ready": 4, "gone": null, "conditions": [{"type": "Ready", "status": "True", "reason": "R"}]});
    let first = next(&input(&Value::Null, ReportedStatus::Status(Some(&reported)), &Outcome::Applied)).unwrap();
    assert_eq!(first["conditions"][0]["lastTransitionTime"], NOW);
    assert_eq!(next(&input(&first, ReportedStatus::Status(Some(&reported)), &Outcome::Applied)), None);
}

#[test]
fn a_transition_time_moves_only_with_the_status_of_its_condition() {
    let owned = json!({"conditions": [
        {"type": "Ready", "status": "False", "reason": "A", "message": "", "lastTransitionTime": THEN},
        {"type": "Valid", "status": "True", "reason": "A", "message": "", "lastTransitionTime": THEN},
    ]});
    let reported = json!({"conditions": [
        {"type": "Ready", "status": "True", "reason": "B"}, {"type": "Valid", "status": "True", "reason": "B"},
    ]});
    let status = next(&input(&owned, ReportedStatus::Status(Some(&reported)), &Outcome::Applied)).unwrap();
    assert_eq!(status["conditions"][0]["lastTransitionTime"], NOW);
    assert_eq!(status["conditions"][1]["lastTransitionTime"], THEN);
    assert_eq!(status["conditions"][1]["observedGeneration"], 3);
}

#[test]
fn without_an_answer_the_reported_status_stays_and_the_reason_is_added() {
    let owned = json!({"ready": 4, "conditions": [
        {"type": "Ready", "status": "True", "reason": "A", "message": "", "observedGeneration": 2, "lastTransitionTime": THEN},
        {"type": "Synced", "status": "True", "reason": "Applied", "message": "", "observedGeneration": 2, "lastTransitionTime": THEN},
    ]});
    let failed = Outcome::Failed { reason: Reason::ProviderCrashed, message: "boom".to_owned(), stalled: false };
    let status = next(&input(&owned, ReportedStatus::NoAnswer, &failed)).unwrap();
    assert_eq!(status["ready"], 4);
    let types: Vec<&str> = status["conditions"].as_array().unwrap().iter().filter_map(|c| c["type"].as_str()).collect();
    assert_eq!(types, ["Ready", "Synced", "Reconciling"]);
    let generation = |status: &Value| status["conditions"][0]["observedGeneration"].clone();
    assert_eq!((&status["conditions"][0]["status"], generation(&status)), (&json!("Unknown"), json!(3)));
    let kept = next(&StatusInput { keeps_ready: true, ..input(&owned, ReportedStatus::NoAnswer, &failed) }).unwrap();
    assert_eq!((&kept["conditions"][0]["status"], generation(&kept)), (&json!("True"), json!(2)));
    assert_eq!(status["conditions"][1]["reason"], "ProviderCrashed");
}

#[test]
fn ready_is_lowered_while_the_parent_is_not_synced() {
    let reported = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "R", "message": "all 4"}]});
    let failed = |stalled| Outcome::Failed { reason: Reason::ApplyFailed, message: "m".to_owned(), stalled };
    let ready = |owned: &Value, reported, outcome: &Outcome, keeps_ready| {
        let status = next(&StatusInput { keeps_ready, ..input(owned, reported, outcome) }).unwrap();
        let ready = &status["conditions"][0];
        (ready["status"].as_str().unwrap().to_owned(), ready["reason"].as_str().unwrap().to_owned(), status)
    };
    let answered = ReportedStatus::Status(Some(&reported));
    let waiting = Outcome::Waiting { message: "m".to_owned() };
    for (outcome, expected, reason) in [
        (Outcome::Applied, "True", "R"),
        (failed(true), "False", "ApplyFailed"),
        (failed(false), "Unknown", "ApplyFailed"),
        (waiting, "Unknown", "Waiting"),
        (Outcome::Held, "Unknown", "Held"),
    ] {
        let (status, found, _) = ready(&Value::Null, answered, &outcome, false);
        assert_eq!((status.as_str(), found.as_str()), (expected, reason));
        assert_eq!(ready(&Value::Null, answered, &outcome, true).0, "True", "its provider wants it so");
    }
    // Without an answer, too, and once only.
    let owned = ready(&Value::Null, answered, &Outcome::Applied, false).2;
    let (status, reason, first) = ready(&owned, ReportedStatus::NoAnswer, &Outcome::Paused, false);
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "Paused"));
    let message = "Synced is not True (Paused); the provider reports: all 4";
    assert_eq!(first["conditions"][0]["message"], message);
    assert_eq!(next(&input(&first, ReportedStatus::NoAnswer, &Outcome::Paused)), None);
    let (status, reason, later) = ready(&first, ReportedStatus::NoAnswer, &failed(true), false);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ApplyFailed"));
    assert_eq!(later["conditions"][0]["message"], message.replace("Paused", "ApplyFailed"));
    assert_eq!(ready(&first, answered, &Outcome::Applied, false).0, "True");
}

#[test]
fn a_field_that_the_provider_no_longer_reports_is_removed() {
    let owned = json!({"old": 1, "conditions": []});
    let status = next(&input(&owned, ReportedStatus::Status(None), &Outcome::Held)).unwrap();
    assert_eq!(status.get("old"), None);
    assert_eq!(status["conditions"][0]["reason"], "Held");
}

#[test]
fn a_transition_emits_an_event_and_a_first_success_does_not() {
    let synced =
        |status: &str, reason: &str| json!({"conditions": [{"type": "Synced", "status": status, "reason": reason}]});
    let failed = Outcome::Failed { reason: Reason::NameTaken, message: "m".to_owned(), stalled: true };
    assert_eq!(event(&Value::Null, &Outcome::Applied), None);
    assert_eq!(event(&synced("True", "Applied"), &Outcome::Applied), None);
    assert_eq!(event(&synced("False", "Waiting"), &Outcome::Applied), None);
    assert_eq!(event(&synced("False", "NameTaken"), &failed), None);
    let first = event(&synced("True", "Applied"), &failed).unwrap();
    assert_eq!((first.type_, first.reason.as_str(), first.message.as_str()), (EventType::Warning, "NameTaken", "m"));
    let recovered = event(&synced("False", "NameTaken"), &Outcome::Applied).unwrap();
    assert_eq!((recovered.type_, recovered.reason.as_str()), (EventType::Normal, "Applied"));
}

#[test]
fn a_message_that_is_too_long_is_truncated() {
    let failed = Outcome::Failed { reason: Reason::Refused, message: "é".repeat(10_000), stalled: true };
    let status = next(&input(&Value::Null, ReportedStatus::NoAnswer, &failed)).unwrap();
    assert_eq!(status["conditions"][0]["message"].as_str().unwrap().chars().count(), MAX_MESSAGE + 1);
    assert_eq!(status["conditions"][1]["type"], "Stalled");
}

/// A shape whose conditions are one list, with room for type and status alone.
fn atomic() -> StatusShape {
    let fields = json!({"type": {"type": "string"}, "status": {"type": "string"}});
    let conditions = json!({"type": "array", "items": {"type": "object", "properties": fields}});
    let status = json!({"type": "object", "properties": {"conditions": conditions}});
    let schema = json!({"type": "object", "properties": {"status": status}});
    StatusShape::of(&json!({"subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}))
}

#[test]
fn a_list_of_conditions_is_written_once_and_again_if_somebody_takes_ours_out_of_it() {
    let (shape, theirs) = (atomic(), json!({"type": "Theirs", "status": "True"}));
    let next_of = |owned: &Value, live: &Value| {
        let reported = ReportedStatus::Status(None);
        next(&StatusInput { live, shape: &shape, ..input(owned, reported, &Outcome::Applied) })
    };
    let live = json!({"conditions": [theirs]});
    let both = json!({"conditions": [theirs, {"type": "Synced", "status": "True"}]});
    assert_eq!(next_of(&Value::Null, &live), Some(both.clone()));
    assert_eq!(next_of(&both, &both), None);
    // Another writer owns the list now, and has kept ours.
    assert_eq!(next_of(&Value::Null, &both), None);
    assert_eq!(next_of(&both, &live), Some(both));
}

/// One that the provider gave, in a list that may hold those of others; and a kind that knows no `Unknown`.
#[test]
fn ready_is_lowered_in_a_list_that_is_written_as_a_whole() {
    let (mut shape, written) = (atomic(), ["Ready".to_owned()]);
    let live = json!({"conditions": [{"type": "Theirs", "status": "True"}, {"type": "Ready", "status": "True"}]});
    let ready = |shape: &StatusShape, written: &[String]| {
        let input = input(&live, ReportedStatus::NoAnswer, &Outcome::Paused);
        next(&StatusInput { shape, written, ..input }).unwrap()["conditions"][1]["status"].clone()
    };
    assert_eq!(ready(&shape, &written), "Unknown");
    assert_eq!(ready(&shape, &[]), "True", "it is somebody else's");
    let fields = json!({"type": {"type": "string"}, "status": {"type": "string", "enum": ["True", "False"]}});
    let conditions = json!({"type": "array", "items": {"type": "object", "properties": fields}});
    let status = json!({"type": "object", "properties": {"conditions": conditions}});
    let schema = json!({"type": "object", "properties": {"status": status}});
    shape = StatusShape::of(&json!({"subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}));
    assert_eq!(ready(&shape, &written), "False");
}

#[test]
fn a_ready_that_was_lowered_in_such_a_list_keeps_what_others_added_to_it() {
    let conditions =
        json!({"type": "array", "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let status = json!({"type": "object", "properties": {"conditions": conditions}});
    let schema = json!({"type": "object", "properties": {"status": status}});
    let shape = StatusShape::of(&json!({"subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}));
    let (written, outcome) = (["Ready".to_owned()], Outcome::Paused);
    let next_of = |live: &Value| {
        let input = input(live, ReportedStatus::NoAnswer, &outcome);
        next(&StatusInput { shape: &shape, written: &written, live, ..input })
    };
    let live = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "it runs"}]});
    let mut lowered = next_of(&live).unwrap();
    let ready = |status: &Value| {
        let mut found = status["conditions"].as_array().unwrap().iter();
        found.find(|condition| condition["type"] == "Ready").unwrap().clone()
    };
    assert_eq!(ready(&lowered)["status"], "Unknown");
    for condition in lowered["conditions"].as_array_mut().unwrap() {
        condition["severity"] = json!("Warning");
    }
    let next = next_of(&lowered);
    let kept = next.as_ref().map_or_else(|| ready(&lowered), ready);
    assert_eq!(kept["severity"], "Warning", "{next:?}");
}

#[test]
fn of_a_list_that_others_share_only_the_hosts_own_conditions_are_taken_back() {
    let both = json!({"conditions": [{"type": "Theirs", "status": "True"}, {"type": "Synced", "status": "True"}]});
    let expected = json!({"conditions": [{"type": "Theirs", "status": "True"}]});
    assert_eq!(without(&both, &both, true), expected);
}
