//! What is said of a Provider: by `Ready`, by events, and after a restart.

use bartizan_contract::provider::Grants;
use bartizan_contract::provider::condition_types::{READY, STATUS_BLOCKED, UPGRADE_HELD};
use bartizan_contract::{Condition, ConditionStatus};
use bartizan_engine::provider::event::{ControllerEvent, Effect};

use crate::served::{MINIO, alike, approve, ask_to_delete, find, first, greedy, served};
use crate::world::{FOREIGN, World};

/// What Argo CD, Flux and `kubectl wait` look at.
#[test]
fn ready_says_in_one_what_the_other_conditions_say() {
    let ready = |world: &World| {
        let (reason, message) = world.condition(MINIO, READY).unwrap();
        (reason, message.split(':').next().unwrap_or_default().to_owned())
    };
    let of = |reason: &str, condition: &str| (reason.to_owned(), condition.to_owned());
    let mut world = served();
    assert_eq!(ready(&world), of("Ready", "it serves as its spec wants it"));
    // A version that waits changes nothing: the one before serves.
    world.publish(MINIO, Some(Ok(alike())));
    find(&mut world, 1);
    assert_eq!(ready(&world), of("Ready", "it serves as its spec wants it"));
    // One that cannot be had is not what the spec wants.
    world.publish(MINIO, Some(Ok(greedy())));
    world.answer_all();
    assert_eq!(ready(&world), of("NotGranted", "Loaded"));
    world.publish(MINIO, Some(Ok(first())));
    world.report(world.last_run(MINIO), ControllerEvent::BreakerOpen { message: "it crashed".to_owned() });
    world.answer_all();
    assert_eq!(ready(&world), of("BreakerOpen", "Serving"));
    world.report(world.last_run(MINIO), ControllerEvent::BreakerClosed);
    world.edit(MINIO, |provider| provider.spec.suspend = true);
    world.answer_all();
    assert_eq!(ready(&world), of("Suspended", "Serving"));
}

/// Lists of conditions are maps by type: what somebody else applied, too, or alone, stays whatever the host applies.
#[test]
fn what_somebody_else_applied_to_a_status_is_no_reason_to_write_it_again() {
    let mut world = served();
    let writes = world.status_writes;
    let foreign = |reason: &str| Condition::new(FOREIGN, ConditionStatus::True, reason, "");
    world.edit(MINIO, |provider| provider.status.conditions.push(foreign("Passed")));
    world.answer_all();
    assert_eq!(world.status_writes, writes + 1);
    // Nothing of the host's changes.
    world.edit(MINIO, |_| {});
    world.answer_all();
    assert_eq!(world.status_writes, writes + 1);
    // What is to be said is written all the same, and what somebody overwrote is written again.
    world.report(world.last_run(MINIO), ControllerEvent::BreakerOpen { message: "it crashed".to_owned() });
    world.answer_all();
    assert_eq!(world.status_writes, writes + 2);
    world.edit(MINIO, |provider| provider.status.conditions.retain(|found| found.type_ == FOREIGN));
    world.answer_all();
    assert_eq!(world.status_writes, writes + 3);
    assert_eq!(world.condition(MINIO, READY).unwrap().0, "BreakerOpen");
}

/// Their `Synced` was true when somebody looked last.
#[test]
fn parents_are_told_once_that_nobody_serves_them_and_again_if_that_fails() {
    let mut world = served();
    let run = world.last_run(MINIO);
    world.edit(MINIO, |provider| provider.spec.suspend = true);
    let told = world.requests.iter().filter(|request| matches!(request, Effect::TellUnserved(_))).count();
    assert_eq!(told, 1);
    // It is to serve again before they were told: one writer at a time.
    world.edit(MINIO, |provider| provider.spec.suspend = false);
    assert_eq!(world.last_run(MINIO), run);
    world.answer_all();
    assert!(world.last_run(MINIO) != run && world.unserved == ["Suspended"], "{:?}", world.unserved);
    let started = world.last_run(MINIO);
    world.begin(started);
    world.answer_all();
    world.edit(MINIO, |provider| provider.spec.suspend = true);
    world.answer_all();
    world.edit(MINIO, |_| {});
    world.answer_all();
    assert_eq!(world.unserved, ["Suspended", "Suspended"]);
    // Its spec cannot be honoured either: that is the same to them.
    world.edit(MINIO, |provider| provider.spec.suspend = false);
    world.answer_all();
    let started = world.last_run(MINIO);
    world.begin(started);
    world.edit(MINIO, |provider| provider.spec.grants = Grants::default());
    while let Some(next) = world.requests.iter().position(|request| !matches!(request, Effect::TellUnserved(_))) {
        world.answer(next, true);
    }
    let failed = world.requests.iter().position(|request| matches!(request, Effect::TellUnserved(_)));
    world.answer(failed.expect("nobody is told"), false);
    assert_eq!(world.condition(MINIO, STATUS_BLOCKED).unwrap().0, "StatusRefused");
    world.answer_all();
    assert_eq!(world.unserved.len(), 3);
    world.advance(61);
    world.answer_all();
    assert_eq!(world.unserved.len(), 4);
    assert!(world.condition(MINIO, STATUS_BLOCKED).is_none());
}

#[test]
fn each_step_of_a_providers_life_is_an_event_on_it() {
    let mut world = served();
    assert_eq!(std::mem::take(&mut world.told), ["SourceMissing", "Loaded", "Serving"]);
    world.publish(MINIO, Some(Ok(alike())));
    find(&mut world, 1);
    assert_eq!(std::mem::take(&mut world.told), ["Deletes"]);
    let digest = alike().digest.to_string();
    let approval = world.server[MINIO].status.candidate.clone().unwrap().approval;
    approve(&mut world, &approval);
    assert_eq!(world.server[MINIO].status.active.as_ref().unwrap().digest, digest);
    let active = world.server[MINIO].status.active.clone().unwrap();
    assert_eq!(active.approved_by.as_deref(), Some("an unknown field manager (bartizan.dev/approve)"));
    assert!(active.since.is_some(), "{active:?}");
    let mut told = std::mem::take(&mut world.told);
    told.sort();
    assert_eq!(told, ["Approved", "NoneWaits", "Replaced"]);
    // What is told is told once.
    world.edit(MINIO, |_| {});
    world.answer_all();
    assert_eq!(world.told, Vec::<String>::new());
    world.edit(MINIO, ask_to_delete);
    world.answer_all();
    world.answer(0, true);
    assert_eq!(world.told, ["Removed"]);
}

/// As a GitOps tool does it, which would put an annotation of its own back.
#[test]
fn an_approval_in_the_spec_lets_one_version_take_over_and_stays() {
    let mut world = served();
    world.publish(MINIO, Some(Ok(alike())));
    find(&mut world, 1);
    world.edit(MINIO, |provider| provider.spec.upgrade.approved = Some("sha256:0".to_owned()));
    world.answer_all();
    assert_eq!(world.condition(MINIO, UPGRADE_HELD).unwrap().0, "Deletes", "another version was approved");
    world.told.clear();
    let approval = world.server[MINIO].status.candidate.clone().unwrap().approval;
    world.edit(MINIO, |provider| provider.spec.upgrade.approved = Some(approval.clone()));
    world.answer_all();
    assert_eq!(world.serving(MINIO), Some("1.1.0"));
    let mut told = std::mem::take(&mut world.told);
    told.sort();
    assert_eq!(told, ["Approved", "NoneWaits", "Replaced"]);
    assert_eq!(world.server[MINIO].spec.upgrade.approved.as_ref(), Some(&approval));
    // Other settings of the same module need one of their own.
    world.edit(MINIO, |provider| {
        provider.spec.settings.insert("image".to_owned(), "other".into());
    });
    find(&mut world, 1);
    assert_ne!(world.server[MINIO].status.candidate.clone().map(|waits| waits.approval), Some(approval));
}

/// Whoever starts anew must first look at the version that waits; until then it is not said that none does.
#[test]
fn a_restart_keeps_what_was_said_of_a_version_that_waits() {
    let mut world = served();
    world.publish(MINIO, Some(Ok(alike())));
    find(&mut world, 1);
    let waited = world.server[MINIO].status.candidate.clone();
    assert!(waited.is_some());
    world.told.clear();
    world.restart();
    world.answer_all();
    assert_eq!(world.condition(MINIO, UPGRADE_HELD).unwrap().0, "Deletes");
    assert_eq!(world.server[MINIO].status.candidate, waited);
    assert_eq!(world.told, Vec::<String>::new(), "it was said before");
}
