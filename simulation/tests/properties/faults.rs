//! Single faults, step by step: what follows from one reply of the API server.

use std::sync::Arc;
use std::time::Instant;

use bartizan_contract::{OnImmutableChange, Reason, ReconcileResponse};
use bartizan_engine::patch::MergePatch;
use bartizan_engine::queue::Finished;
use bartizan_engine::reconcile::{Clock, Effect, Ended, Next, Reconcile, Reply, Report, Ticket};
use bartizan_engine::snapshot::{Kept, Left, Supplied, Unread};
use bartizan_engine::status::Outcome;
use bartizan_engine::{ApiError, InvalidField, Observed};
use bartizan_simulation::{ApiServer, InOrder};
use serde_json::{Value, json};

use crate::world::{self, DesiredChild, State, key, kind, parent_key, parent_uid};

struct Frozen;

impl Clock for Frozen {
    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn timestamp(&self) -> String {
        "2026-01-01T00:00:00Z".to_owned()
    }
}

fn child(content: u8) -> Option<DesiredChild> {
    Some(DesiredChild { content, wave: 0, retain: false })
}

/// A reconcile of the parent as it is on the server, with what was kept, and children whose last write is unsure.
fn reconcile(server: &ApiServer, kept: Kept, unsure: &[usize]) -> Reconcile {
    let mut host = world::host(false);
    host.deliver(server, server.events.len());
    let snapshot = host.snapshot(&parent_uid(), Supplied::default()).unwrap();
    let unsure = unsure.iter().map(|number| (kind(*number), key(*number))).collect();
    Reconcile::new(world::context(false), snapshot, kept, unsure)
}

/// Drives it with these replies, and returns what was asked for, in words, and the report.
fn run(mut reconcile: Reconcile, reply: impl Fn(&Effect) -> Reply) -> (Vec<String>, Report) {
    let mut seen = Vec::new();
    let mut pending: Vec<(Ticket, Effect)> = Vec::new();
    loop {
        pending.extend(reconcile.effects(&Frozen));
        if pending.is_empty() {
            return (seen, reconcile.into_report().unwrap());
        }
        let (ticket, effect) = pending.remove(0);
        seen.push(match &effect {
            Effect::Get { key, .. } => format!("get {key}"),
            Effect::Call(_) => "call".to_owned(),
            Effect::Apply { apply, .. } => format!("apply {}", apply.intent.key),
            Effect::Delete { delete, .. } => format!("delete {}", delete.key),
            Effect::ApplyStatus { status, .. } => {
                format!("status {}", status["conditions"].as_array().map_or(0, Vec::len))
            }
            Effect::SendEvent(event) => format!("event {}", event.reason),
            Effect::Patch(MergePatch { key, .. }) => format!("patch {key}"),
            other => format!("{other:?}"),
        });
        let reply = reply(&effect);
        reconcile.reply(ticket, reply, &Frozen);
    }
}

fn error(message: &str) -> ApiError {
    ApiError::transient(message.to_owned())
}

fn answered(answer: &ReconcileResponse) -> Reply {
    Reply::Called(Ok(Ok(answer.clone())))
}

/// The parent as the API server would return it, with this status of the host's.
fn parent_with(server: &ApiServer, status: &Value) -> Observed {
    let mut object = server.get(&parent_key()).cloned().unwrap();
    object["status"] = status.clone();
    let mut parent = world::observe(&object);
    parent.owned_status = status.clone();
    parent
}

fn outcome(report: &Report) -> &Outcome {
    match &report.ended {
        Ended::Decided(decided) => &decided.outcome,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_child_that_cannot_be_read_blocks_no_edit_and_is_left_alone() {
    let mut server = world::server();
    for number in [0, 1, 2] {
        world::set(&mut server, number, State::Ours((0, 0, false)));
    }
    // 0 and 3 are wanted with other content, 1 no longer is.
    let answer = world::response(&[child(5), None, child(5), child(5)], &[]);
    let reply = |effect: &Effect| match effect {
        Effect::Get { .. } => Reply::Object(Err(error("no answer"))),
        Effect::Call(_) => answered(&answer),
        Effect::Apply { apply, .. } => Reply::Object(Ok(world::observe(&with_identity(&apply.intent.object)))),
        Effect::ApplyStatus { status, .. } => Reply::Object(Ok(parent_with(&server, status))),
        _ => Reply::Done(Ok(())),
    };
    let (seen, report) = run(reconcile(&server, Kept::default(), &[0]), reply);
    let expected = [
        "get ConfigMap n/c0",
        "call",
        "apply ConfigMap n/c2",
        "apply StatefulSet n/c3",
        "status 3",
        "event ApplyFailed",
    ];
    assert_eq!(seen, expected, "the others are applied, nothing is deleted, and it is said");
    assert_eq!(report.unsure, [(kind(0), key(0))], "it is read again");
    assert!(matches!(report.next, Next::Finish(Finished::Retry { .. })), "{:?}", report.next);
}

#[test]
fn what_a_decision_needs_and_cannot_be_read_is_said_and_nothing_is_done() {
    let mut server = world::server();
    world::set(&mut server, 0, State::Ours((1, 0, false)));
    let mut host = world::host(false);
    host.deliver(&server, server.events.len());
    let reply = |effect: &Effect| match effect {
        Effect::ApplyStatus { status, .. } => Reply::Object(Ok(parent_with(&server, status))),
        _ => Reply::Done(Ok(())),
    };
    for error in [error("no answer"), ApiError::Forbidden("no".to_owned())] {
        let mut snapshot = host.snapshot(&parent_uid(), Supplied::default()).unwrap();
        snapshot.unread = Some(Unread { what: "related objects".to_owned(), error: error.clone() });
        let (seen, report) = run(Reconcile::new(world::context(false), snapshot, Kept::default(), vec![]), reply);
        assert_eq!(seen, ["status 2", "event ReadFailed"]);
        let Outcome::Failed { reason, message, .. } = outcome(&report) else { unreachable!("{report:?}") };
        assert_eq!(
            (*reason, message.clone()),
            (Reason::ReadFailed, format!("related objects cannot be read: {error}"))
        );
        assert!(matches!(report.next, Next::Finish(Finished::Retry { .. })), "{:?}", report.next);
    }
}

/// What the API server adds to an object that it stores.
fn with_identity(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"]["uid"] = json!("u");
    object["metadata"]["resourceVersion"] = json!("99");
    object
}

#[test]
fn a_conflict_that_persists_backs_off_and_is_said_in_the_words_of_who_reports_it() {
    let server = world::server();
    let answer = world::response(&[child(1)], &[]);
    let reply = |effect: &Effect| match effect {
        Effect::Call(_) => answered(&answer),
        Effect::Apply { .. } => Reply::Object(Err(ApiError::Conflict("the webhook says no".to_owned()))),
        Effect::Get { .. } => Reply::Object(Err(ApiError::NotFound("not there".to_owned()))),
        Effect::ApplyStatus { status, .. } => Reply::Object(Ok(parent_with(&server, status))),
        _ => Reply::Done(Ok(())),
    };
    let mut kept = Kept::default();
    let mut rounds = 0;
    let message = loop {
        let (_, report) = run(reconcile(&server, kept, &[]), reply);
        rounds += 1;
        assert!(rounds < 20, "it never backs off");
        kept = report.kept.clone();
        if let (Outcome::Failed { message, .. }, Next::Finish(Finished::Retry { .. })) =
            (outcome(&report), &report.next)
        {
            break message.clone();
        }
    };
    assert!(message.ends_with(": the webhook says no"), "{message}");
}

#[test]
fn an_orphaned_child_is_released_although_no_watch_has_reported_the_deletion() {
    let mut server = world::server();
    world::set(&mut server, 0, State::Ours((1, 0, false)));
    world::set(&mut server, 2, State::Ours((1, 0, false)));
    // The garbage collector has come to the first child, and not to the second.
    server.update("kube-controller-manager", &key(0), |object| object["metadata"]["ownerReferences"] = json!([]));
    let children = || world::children(&server).map(Arc::new).collect::<Vec<_>>();
    let answer = world::response(&[child(5), None, child(1)], &[]);
    let mut parent = world::observe(server.get(&parent_key()).unwrap());
    (parent.deleting, parent.finalizers) = (true, vec!["orphan".to_owned()]);
    let waiting = Observed { finalizers: vec!["somebody/waits".to_owned()], ..parent.clone() };
    for (found, released) in [
        (Some(parent), &["patch ConfigMap n/c0", "patch ConfigMap n/c2"][..]),
        // One that is gone leaves those that still refer to it to the garbage collector.
        (None, &["patch ConfigMap n/c0"]),
        (Some(waiting), &[]),
    ] {
        let reply = |effect: &Effect| match effect {
            Effect::Call(_) => answered(&answer),
            Effect::FindParent(_) => Reply::Parent(Ok(found.clone().map(Box::new))),
            Effect::ListChildren => Reply::Children(Ok(children())),
            Effect::Patch(_) => Reply::Object(Ok(world::observe(server.get(&key(0)).unwrap()))),
            other => unreachable!("{other:?}"),
        };
        let (seen, report) = run(reconcile(&server, Kept::default(), &[]), reply);
        let patches: Vec<&String> = seen.iter().filter(|step| step.starts_with("patch")).collect();
        assert_eq!(patches, released, "{seen:?}");
        assert!(matches!(report.next, Next::Finish(Finished::Again { .. })), "{:?}", report.next);
    }
}

#[test]
fn a_status_is_written_to_the_observed_parent_alone_and_again_if_only_the_status_changed() {
    let mut server = world::server();
    world::set(&mut server, 0, State::Ours((1, 0, false)));
    let mut live = world::observe(server.get(&parent_key()).unwrap());
    let observed = live.resource_version.clone();
    live.resource_version = "77".to_owned();
    let answer = world::response(&[child(1)], &[]);
    let reply = |live: Observed| {
        let (answer, observed) = (answer.clone(), observed.clone());
        move |effect: &Effect| match effect {
            Effect::Call(_) => answered(&answer),
            Effect::ApplyStatus { resource_version, .. } if *resource_version == observed => {
                Reply::Object(Err(ApiError::Conflict("it changed".to_owned())))
            }
            Effect::ApplyStatus { resource_version, .. } => {
                assert_eq!(resource_version, "77");
                Reply::Object(Ok(live.clone()))
            }
            Effect::FindParent(_) => Reply::Parent(Ok(Some(Box::new(live.clone())))),
            _ => Reply::Done(Ok(())),
        }
    };
    let steps = |seen: &[String]| seen.iter().filter(|step| step.starts_with("status")).count();
    let (seen, report) = run(reconcile(&server, Kept::default(), &[]), reply(live.clone()));
    assert_eq!(steps(&seen), 2, "{seen:?}");
    assert!(matches!(report.next, Next::Finish(Finished::Done { .. })), "{:?}", report.next);
    // It was edited: the next decision is on what it is now.
    let edited = Observed { digest: [7; 32], ..live };
    let (seen, report) = run(reconcile(&server, Kept::default(), &[]), reply(edited));
    assert_eq!(steps(&seen), 1, "{seen:?}");
    let Ended::Decided(decided) = &report.ended else { unreachable!("{report:?}") };
    assert_eq!(decided.status_error, None, "a lost race is no error");
    assert!(matches!(report.next, Next::Finish(Finished::Again { .. })), "{:?}", report.next);
}

#[test]
fn a_failure_is_said_by_an_event_once_if_the_status_cannot_be_written() {
    let server = world::server();
    let answer = world::response(&[child(1)], &[]);
    let reply = |effect: &Effect| match effect {
        Effect::Call(_) => answered(&answer),
        Effect::Apply { .. } => Reply::Object(Err(ApiError::Forbidden("no".to_owned()))),
        Effect::ApplyStatus { .. } => {
            Reply::Object(Err(ApiError::Invalid { message: "required".to_owned(), fields: vec![] }))
        }
        _ => Reply::Done(Ok(())),
    };
    let (seen, report) = run(reconcile(&server, Kept::default(), &[]), reply);
    assert_eq!(seen, ["call", "apply ConfigMap n/c0", "status 3", "status 2", "event Forbidden"]);
    assert!(matches!(report.next, Next::Finish(Finished::Retry { .. })), "{:?}", report.next);
    let (seen, _) = run(reconcile(&server, report.kept, &[]), reply);
    assert_eq!(seen, ["call", "apply ConfigMap n/c0", "status 3", "status 2"], "once");
}

#[test]
fn a_status_that_is_too_large_is_left_out_and_said() {
    let server = world::server();
    let answer = world::response(&[], &[]);
    let stored = parent_with(&server, &json!({}));
    let tried = std::cell::Cell::new(0);
    let reply = |effect: &Effect| match effect {
        Effect::Call(_) => answered(&answer),
        Effect::ApplyStatus { .. } if tried.replace(tried.get() + 1) == 0 => {
            let message = "etcdserver: request is too large".to_owned();
            Reply::Object(Err(ApiError::Transient { message, retry_after: None, is_busy: false }))
        }
        Effect::ApplyStatus { status, .. } => {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let mut reasons = conditions.map(|condition| condition["reason"].as_str().unwrap_or_default());
            assert!(reasons.any(|reason| reason == "StatusRefused"), "{status}");
            assert!(status.to_string().contains("etcdserver: request is too large"), "{status}");
            Reply::Object(Ok(stored.clone()))
        }
        _ => Reply::Done(Ok(())),
    };
    let (seen, report) = run(reconcile(&server, Kept::default(), &[]), reply);
    assert_eq!(seen, ["call", "status 2", "status 2", "event StatusRefused"]);
    assert!(matches!(report.next, Next::Finish(Finished::Retry { .. })), "{:?}", report.next);
}

#[test]
fn a_status_of_which_the_api_server_makes_something_else_is_written_once() {
    let mut server = world::server();
    world::set(&mut server, 0, State::Ours((1, 0, false)));
    let answer = world::response(&[child(1)], &[]);
    // It prunes the conditions of the host and defaults a field.
    let pruned = json!({"defaulted": true});
    let stored = parent_with(&server, &pruned);
    let reply = |effect: &Effect| match effect {
        Effect::Call(_) => answered(&answer),
        Effect::ApplyStatus { .. } => Reply::Object(Ok(stored.clone())),
        _ => Reply::Done(Ok(())),
    };
    let (seen, report) = run(reconcile(&server, Kept::default(), &[]), reply);
    assert_eq!(seen, ["call", "status 2"]);
    let mut object = server.get(&parent_key()).cloned().unwrap();
    object["status"] = pruned.clone();
    object["metadata"]["managedFields"] = json!([{
        "manager": world::MANAGER, "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {"f:defaulted": {}}},
    }]);
    server.store(&parent_key(), object);
    let mut kept = report.kept;
    kept.settled = None;
    let (seen, _) = run(reconcile(&server, kept, &[]), reply);
    assert_eq!(seen, ["call"]);
}

#[test]
fn a_recreation_waits_until_every_other_child_of_its_wave_is_as_desired() {
    let mut server = world::server();
    world::set(&mut server, 0, State::Ours((0, 0, false)));
    server.update("kubectl", &key(0), |object| object["immutable"] = json!(true));
    let mut answer = world::response(&[child(5), None, child(5)], &[]);
    answer.children[0].on_immutable_change = OnImmutableChange::Recreate;
    let immutable = || InvalidField { path: "data".to_owned(), is_forbidden: true };
    let reply = |other: Result<(), ApiError>| {
        let (server, answer) = (&server, &answer);
        move |effect: &Effect| match effect {
            Effect::Call(_) => answered(answer),
            Effect::Apply { apply, .. } if apply.intent.key == key(0) => {
                Reply::Object(Err(ApiError::Invalid { message: "immutable".to_owned(), fields: vec![immutable()] }))
            }
            Effect::Apply { apply, .. } => {
                Reply::Object(other.clone().map(|()| world::observe(&with_identity(&apply.intent.object))))
            }
            Effect::ApplyStatus { status, .. } => Reply::Object(Ok(parent_with(server, status))),
            // Drift is claimed first.
            Effect::ClaimItems { .. } => Reply::Claimed(Ok(None)),
            _ => Reply::Done(Ok(())),
        }
    };
    let deletes = |seen: &[String]| seen.iter().any(|step| step.starts_with("delete"));
    let (seen, _) = run(reconcile(&server, Kept::default(), &[]), reply(Err(ApiError::Forbidden("quota".to_owned()))));
    assert!(!deletes(&seen), "it is deleted while another cannot be made: {seen:?}");
    let (seen, report) = run(reconcile(&server, Kept::default(), &[]), reply(Ok(())));
    assert!(deletes(&seen) && seen.iter().any(|step| step.starts_with("TryCreate")), "{seen:?}");
    assert!(matches!(outcome(&report), Outcome::Waiting { .. }), "{report:?}");
}

#[test]
fn a_parent_that_has_left_is_let_go_of_with_its_children_status_and_finalizer() {
    let mut server = world::server();
    world::set(&mut server, 0, State::Ours((0, 0, false)));
    world::set(&mut server, 1, State::Forged((0, 0, false)));
    let mut object = server.get(&parent_key()).cloned().unwrap();
    object["metadata"]["finalizers"] = json!([world::FINALIZER]);
    object["status"] = json!({"ready": true});
    object["metadata"]["managedFields"] = json!([{
        "manager": world::MANAGER, "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {"f:ready": {}}},
    }]);
    server.store(&parent_key(), object);
    let mut host = world::host(true);
    host.left = Some(Left { successor: Some("other".to_owned()) });
    host.deliver(&server, server.events.len());
    let never = |_: &[u8]| -> ReconcileResponse { unreachable!("its provider is not asked") };
    for _ in 0..3 {
        host.reconcile(&mut server, &parent_uid(), &never, &mut InOrder);
        host.deliver(&server, server.events.len());
    }
    let parent = server.get(&parent_key()).map(world::observe).unwrap();
    let is_clear = parent.owned_status.as_object().is_none_or(serde_json::Map::is_empty);
    assert!(parent.finalizers.is_empty() && is_clear, "{parent:?}");
    let child = server.get(&key(0)).map(world::observe).unwrap();
    assert_eq!((child.owner_uid, child.provider), (None, None));
    assert_eq!(child.marks.retained_for, Some(parent_key().title()));
    assert!(server.writes.iter().all(|write| write.key != key(1) && write.verb != "delete"), "{:?}", server.writes);
}
