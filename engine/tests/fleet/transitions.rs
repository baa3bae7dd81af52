//! What each event does to a Provider that is served with version 1.0.0.

use bartizan_contract::Kind;
use bartizan_contract::provider::condition_types::{ACCEPTED, LOADED, REMOVAL_BLOCKED, SERVING, UPGRADE_HELD};
use bartizan_contract::provider::{Grants, OnRemoval, Provider, UpgradePolicy};
use bartizan_engine::provider::event::ControllerEvent;
use bartizan_engine::provider::module::ModuleInfo;
use bartizan_engine::provider::source::Trouble;
use rstest::rstest;
use serde_json::json;

use crate::served::{MINIO, alike, approve, ask_to_delete, find, first, greedy, other, served, wanting};
use crate::world::{World, module, provider};

#[test]
fn a_provider_starts_once_its_finalizer_and_its_kinds_are_written() {
    let mut world = World::new(&[provider(MINIO, 2)]);
    assert_eq!(world.condition(MINIO, LOADED).unwrap().0, "SourceMissing");
    world.answer_all();
    world.done(MINIO);
    world.publish(MINIO, Some(Ok(first())));
    assert_eq!(world.done(MINIO), ["not ready: starting", "add finalizer"]);
    world.answer(0, true);
    assert!(world.live(MINIO).is_empty() && world.requests.len() == 1, "the kinds are written first");
    world.answer_all();
    assert_eq!(world.done(MINIO), ["start 1.0.0"]);
    assert_eq!(world.server[MINIO].status.kinds.len(), 1);
    world.begin(world.last_run(MINIO));
    world.answer_all();
    assert_eq!(world.done(MINIO), ["ready"]);
    assert_eq!(world.server[MINIO].status.active.as_ref().unwrap().version, "1.0.0");
    assert_eq!(world.server[MINIO].status.parents, Some(0));
}

#[rstest]
#[case::finalizer(0)]
#[case::kinds(1)]
fn a_request_without_which_it_cannot_start_is_made_again(#[case] fails: usize) {
    let mut world = World::new(&[provider(MINIO, 2)]);
    world.answer_all();
    world.publish(MINIO, Some(Ok(first())));
    for _ in 0..fails {
        world.answer(0, true);
    }
    world.answer(0, false);
    assert!(world.done(MINIO).contains(&"not ready: the API server cannot be reached".to_owned()));
    assert!(world.live(MINIO).is_empty());
    world.answer_all();
    world.advance(5);
    world.answer_all();
    assert_eq!(world.live(MINIO).len(), 1);
}

#[test]
fn kinds_that_the_crd_of_provider_does_not_keep_are_said_and_written_again_after_a_while() {
    let mut world = World::new(&[provider(MINIO, 2)]);
    world.drops_kinds = true;
    world.answer_all();
    world.publish(MINIO, Some(Ok(first())));
    world.answer(0, true);
    world.answer(0, true);
    let said = "not ready: status.kinds of Provider minio does not keep ";
    assert!(world.done(MINIO).iter().any(|done| done.starts_with(said)));
    world.answer_all();
    assert!(world.live(MINIO).is_empty() && world.requests.is_empty(), "what it writes must be on record first");
    world.drops_kinds = false;
    world.advance(5);
    world.answer_all();
    assert_eq!(world.live(MINIO).len(), 1);
}

#[test]
fn kinds_that_are_lost_after_a_restart_are_written_at_a_pace_and_the_status_says_that_nothing_serves() {
    let before = served();
    let mut world = World::new(&before.server.values().cloned().collect::<Vec<_>>());
    world.drops_kinds = true;
    world.server.get_mut(MINIO).unwrap().status.kinds.clear();
    world.edit(MINIO, |provider| provider.status.kinds.clear());
    let writes = world.status_writes;
    world.publish(MINIO, Some(Ok(first())));
    world.answer_all();
    assert!(world.status_writes < writes + 6, "{} writes", world.status_writes);
    assert_eq!(world.condition(MINIO, SERVING).unwrap().0, "NotReady");
    for _ in 0..3 {
        world.advance(5);
        world.answer_all();
    }
    assert!(world.status_writes < writes + 16, "{} writes", world.status_writes);
}

/// What is done, which version serves then, and the reason of a condition.
#[rstest]
#[case::suspended(
    |world: &mut World| world.edit(MINIO, |provider| provider.spec.suspend = true),
    &["stop", "forget"], None, SERVING, Some("Suspended")
)]
#[case::gone(|world: &mut World| world.delete(MINIO), &["stop", "forget"], None, SERVING, None)]
#[case::no_longer_granted(
    |world: &mut World| world.edit(MINIO, |provider| provider.spec.grants = Grants::default()),
    &["stop", "forget"], None, ACCEPTED, Some("NotGranted")
)]
#[case::other_limits(
    |world: &mut World| world.edit(MINIO, |provider| provider.spec.limits.concurrency = Some(2)),
    &["not ready: starting", "start 1.0.0"], None, ACCEPTED, Some("Accepted")
)]
#[case::an_older_one_claims_its_parents(
    |world: &mut World| world.create(provider("older", 1)),
    &["stop", "forget"], None, ACCEPTED, Some("Conflict")
)]
#[case::a_younger_one_claims_its_parents(
    |world: &mut World| world.create(provider("younger", 3)),
    // Its controller must know to whom each parent belongs.
    &["not ready: starting", "start 1.0.0"], None, ACCEPTED, Some("Accepted")
)]
#[case::its_file_is_gone(
    |world: &mut World| world.publish(MINIO, None),
    &[], Some("1.0.0"), LOADED, Some("SourceMissing")
)]
#[case::its_file_is_broken(
    |world: &mut World| world.publish(MINIO, Some(Err(Trouble::Invalid("no module".to_owned())))),
    &[], Some("1.0.0"), LOADED, Some("ModuleInvalid")
)]
#[case::its_source_cannot_be_asked(
    |world: &mut World| world.publish(MINIO, Some(Err(Trouble::Unavailable("no answer".to_owned())))),
    &[], Some("1.0.0"), LOADED, Some("SourceUnavailable")
)]
#[case::the_next_module_is_not_granted(
    |world: &mut World| world.publish(MINIO, Some(Ok(greedy()))),
    &[], Some("1.0.0"), LOADED, Some("NotGranted")
)]
#[case::a_module_of_the_same_shape(
    |world: &mut World| world.publish(MINIO, Some(Ok(alike()))),
    &["preview 1.1.0"], Some("1.0.0"), UPGRADE_HELD, Some("NoneWaits")
)]
#[case::a_module_of_another_shape(
    |world: &mut World| world.publish(MINIO, Some(Ok(other()))),
    &["preview 2.0.0 alone"], Some("1.0.0"), UPGRADE_HELD, Some("NoneWaits")
)]
#[case::the_breaker_opens(
    |world: &mut World| {
        world.report(world.last_run(MINIO), ControllerEvent::BreakerOpen { message: "it crashed".to_owned() });
    },
    &[], Some("1.0.0"), SERVING, Some("BreakerOpen")
)]
#[case::deleted_while_it_has_parents(
    |world: &mut World| {
        world.report(world.last_run(MINIO), ControllerEvent::Parents(2));
        world.edit(MINIO, ask_to_delete);
    },
    &[], Some("1.0.0"), REMOVAL_BLOCKED, Some("ParentsExist")
)]
#[case::deleted_without_parents(
    |world: &mut World| world.edit(MINIO, ask_to_delete),
    &["remove"], Some("1.0.0"), REMOVAL_BLOCKED, None
)]
#[case::deleted_to_be_released(
    |world: &mut World| {
        world.report(world.last_run(MINIO), ControllerEvent::Parents(2));
        world.edit(MINIO, |provider| {
            provider.spec.on_removal = OnRemoval::Release;
            ask_to_delete(provider);
        });
    },
    &["remove"], Some("1.0.0"), REMOVAL_BLOCKED, None
)]
fn each_event_has_its_effects(
    #[case] happens: fn(&mut World),
    #[case] done: &[&str],
    #[case] serving: Option<&str>,
    #[case] condition: &str,
    #[case] reason: Option<&str>,
) {
    let mut world = served();
    happens(&mut world);
    world.answer_all();
    assert_eq!(world.done(MINIO), done);
    assert_eq!(world.serving(MINIO), serving);
    assert_eq!(world.condition(MINIO, condition).map(|(reason, _)| reason).as_deref(), reason);
}

#[test]
fn a_harmless_version_of_the_same_shape_is_swapped_in() {
    let mut world = served();
    world.publish(MINIO, Some(Ok(alike())));
    world.done(MINIO);
    find(&mut world, 0);
    assert_eq!(world.done(MINIO), ["show plan", "swap to 1.1.0", "hide plan", "preview nothing"]);
    assert_eq!(world.serving(MINIO), Some("1.1.0"));
    let status = &world.server[MINIO].status;
    assert_eq!(status.active.as_ref().unwrap().version, "1.1.0");
    assert_eq!(status.previous.as_ref().unwrap().version, "1.0.0");
    // The way back needs no cache.
    assert!(world.modules().contains("sha256:1"));
}

#[test]
fn a_harmless_version_of_another_shape_takes_over_once_it_can() {
    let mut world = served();
    let before = world.last_run(MINIO);
    world.publish(MINIO, Some(Ok(other())));
    world.done(MINIO);
    find(&mut world, 0);
    assert_eq!(world.done(MINIO), ["show plan", "start 2.0.0 to take over"]);
    assert_eq!(world.serving(MINIO), Some("1.0.0"));
    let next = world.last_run(MINIO);
    world.report(next, ControllerEvent::waiting("a kind is missing".to_owned()));
    let (reason, message) = world.condition(MINIO, LOADED).unwrap();
    assert_eq!(reason, "NotReady");
    assert_eq!(message, "version 2.0.0 cannot start yet: a kind is missing; version 1.0.0 keeps serving");
    // It is the one that serves whose readiness counts.
    assert_eq!(world.condition(MINIO, SERVING).unwrap().0, "Serving");
    world.begin(next);
    world.answer_all();
    assert_eq!((world.done(MINIO), world.serving(MINIO)), (vec!["hide plan".to_owned()], Some("2.0.0")));
    assert_eq!(world.condition(MINIO, LOADED).unwrap().0, "Loaded");
    // What the one before still reports is no longer about this Provider.
    world.report(before, ControllerEvent::waiting("late".to_owned()));
    assert!(world.done(MINIO).is_empty());
}

#[test]
fn a_version_that_asks_for_more_of_what_is_granted_waits_until_it_is_approved() {
    let mut world = served();
    world.publish(MINIO, Some(Ok(wanting())));
    find(&mut world, 0);
    let (reason, message) = world.condition(MINIO, UPGRADE_HELD).unwrap();
    assert_eq!(reason, "MoreRights");
    assert!(message.contains("; it asks for more rights than the version before: to write Service; see"), "{message}");
    assert_eq!(world.serving(MINIO), Some("1.0.0"));
    approve(&mut world, "sha256:3");
    assert!(world.done(MINIO).contains(&"start 2.0.0 to take over".to_owned()));
}

#[test]
fn a_replaced_controller_that_begins_first_is_the_one_that_serves() {
    // An approved version waits to take over when another one is published, and is replaced.
    let mut world = served();
    world.publish(MINIO, Some(Ok(other())));
    find(&mut world, 1);
    approve(&mut world, "sha256:3");
    let second = world.last_run(MINIO);
    world.publish(MINIO, Some(Ok(module("sha256:5", "4.0.0", &["Job"]))));
    world.answer_all();
    assert_ne!(world.last_run(MINIO), second);

    world.begin(second);
    world.answer_all();
    assert_eq!(world.server[MINIO].status.active.as_ref().unwrap().version, "2.0.0");
    world.report(second, ControllerEvent::Parents(7));
    world.advance(5);
    world.answer_all();
    assert_eq!(world.server[MINIO].status.parents, Some(7));
    assert_eq!(world.condition(MINIO, SERVING).unwrap().0, "Serving");

    let last = world.live(MINIO).into_iter().next_back().unwrap();
    world.begin(last);
    world.answer_all();
    let active = world.server[MINIO].status.active.as_ref().map(|active| active.version.clone());
    assert_eq!((active.as_deref(), active.is_some()), (world.serving(MINIO), true));
}

#[rstest]
#[case::of_the_same_shape(alike(), "preview 1.1.0", &["swap to 1.1.0", "hide plan", "preview nothing", "remove approval"])]
#[case::of_another_shape(other(), "preview 2.0.0 alone", &["start 2.0.0 to take over", "hide plan", "remove approval"])]
fn a_version_that_deletes_waits_for_its_approval(
    #[case] next: ModuleInfo,
    #[case] asked: &str,
    #[case] approved: &[&str],
) {
    let (mut world, digest) = (served(), next.digest.to_string());
    world.publish(MINIO, Some(Ok(next)));
    assert_eq!(world.done(MINIO), [asked]);
    find(&mut world, 1);
    assert_eq!(world.done(MINIO), ["show plan"]);
    assert_eq!(world.condition(MINIO, UPGRADE_HELD).unwrap().0, "Deletes");
    assert_eq!(world.server[MINIO].status.candidate.as_ref().unwrap().approval, digest);
    approve(&mut world, "sha256:another");
    assert_eq!(world.serving(MINIO), Some("1.0.0"));
    approve(&mut world, &digest);
    if world.last_run(MINIO) != world.live(MINIO)[0] {
        world.begin(world.last_run(MINIO));
        world.answer_all();
    }
    assert_eq!(world.done(MINIO), approved);
    assert_eq!(world.server[MINIO].status.active.as_ref().unwrap().digest, digest);
    assert!(world.server[MINIO].metadata.annotations.is_empty(), "the next version needs an approval of its own");
}

#[test]
fn a_version_that_waits_is_dropped_when_its_source_holds_another() {
    let mut world = served();
    world.publish(MINIO, Some(Ok(other())));
    find(&mut world, 1);
    world.done(MINIO);
    world.publish(MINIO, Some(Ok(first())));
    world.answer_all();
    assert_eq!(world.done(MINIO), ["hide plan"]);
    assert_eq!(world.condition(MINIO, UPGRADE_HELD).unwrap().0, "NoneWaits");
}

#[test]
fn a_preview_ends_with_its_version() {
    let mut world = served();
    world.publish(MINIO, Some(Ok(other())));
    let preview = world.last_run(MINIO);
    world.publish(MINIO, Some(Ok(first())));
    assert_eq!(world.done(MINIO), ["preview 2.0.0 alone", "stop preview"]);
    // What it finds all the same is nobody's.
    world.find(preview, |_| 0);
    assert!(world.done(MINIO).is_empty());
}

#[test]
fn every_version_waits_if_the_policy_is_manual() {
    let mut world = served();
    world.edit(MINIO, |provider| provider.spec.upgrade.policy = UpgradePolicy::Manual);
    world.publish(MINIO, Some(Ok(alike())));
    find(&mut world, 0);
    assert_eq!(world.condition(MINIO, UPGRADE_HELD).unwrap().0, "Manual");
    assert_eq!(world.serving(MINIO), Some("1.0.0"));
}

#[test]
fn a_version_that_waits_is_previewed_again_after_a_while() {
    let mut world = served();
    world.publish(MINIO, Some(Ok(alike())));
    find(&mut world, 1);
    world.done(MINIO);
    world.advance(299);
    assert!(world.done(MINIO).is_empty());
    world.advance(1);
    assert_eq!(world.done(MINIO), ["preview 1.1.0"]);
    assert_eq!(world.condition(MINIO, UPGRADE_HELD).unwrap().0, "Deletes");
}

#[test]
fn a_removal_that_finds_a_parent_late_serves_on() {
    let mut world = served();
    world.edit(MINIO, ask_to_delete);
    world.answer_all();
    world.done(MINIO);
    world.find_parents(1);
    world.answer_all();
    assert_eq!(world.done(MINIO), ["stop", "forget", "not ready: starting", "start 1.0.0"]);
    assert_eq!(world.condition(MINIO, REMOVAL_BLOCKED).unwrap().0, "ParentsExist");
    world.advance(5);
    world.answer_all();
    assert_eq!(world.done(MINIO), ["remove"]);
    world.answer(0, true);
    world.answer_all();
    assert_eq!(world.done(MINIO), ["stop", "forget"]);
    world.delete(MINIO);
    assert!(world.live(MINIO).is_empty());
}

#[test]
fn a_removal_that_fails_is_tried_again() {
    let mut world = served();
    world.edit(MINIO, ask_to_delete);
    world.answer_all();
    world.answer(0, false);
    assert_eq!(world.condition(MINIO, REMOVAL_BLOCKED).unwrap().0, "RemovalFailed");
    world.answer_all();
    world.done(MINIO);
    world.advance(5);
    world.answer_all();
    assert_eq!(world.done(MINIO), ["remove"]);
}

#[test]
fn a_controller_has_some_time_to_start_before_the_status_says_so() {
    let mut world = World::new(&[provider(MINIO, 2)]);
    world.publish(MINIO, Some(Ok(first())));
    world.answer_all();
    let run = world.last_run(MINIO);
    world.report(run, ControllerEvent::waiting("a kind is missing".to_owned()));
    assert_eq!(world.condition(MINIO, SERVING).map(|(reason, _)| reason).as_deref(), Some("NotStarted"));
    world.advance(10);
    assert_eq!(world.condition(MINIO, SERVING).unwrap(), ("NotReady".to_owned(), "a kind is missing".to_owned()));
    world.begin(run);
    let kind = Kind::new("", "v1", "Pod");
    world.report(run, ControllerEvent::WatchBroken { kind, reason: "it broke".to_owned(), is_denied: false });
    assert_eq!(world.condition(MINIO, SERVING).unwrap().1, "watch of Pod.v1 broke: it broke");
    world.report(run, ControllerEvent::Serving);
    assert_eq!(world.condition(MINIO, SERVING).unwrap().0, "Serving");
    let example = "ObjectStore n/s: it cannot patch resource \"services\"".to_owned();
    world.report(run, ControllerEvent::Denied { parents: 2, example });
    let message = "the account of the provider lacks a right that 2 parents need; ObjectStore n/s: it cannot patch resource \"services\"";
    assert_eq!(world.condition(MINIO, SERVING).unwrap(), ("Forbidden".to_owned(), message.to_owned()));
    world.report(run, ControllerEvent::Denied { parents: 0, example: String::new() });
    assert_eq!(world.condition(MINIO, SERVING).unwrap().0, "Serving");
}

#[test]
fn a_provider_that_comes_again_under_its_name_starts_from_the_beginning() {
    let mut world = served();
    let old = world.last_run(MINIO);
    world.delete(MINIO);
    world.create(provider(MINIO, 9));
    world.answer_all();
    assert_eq!(world.done(MINIO), ["stop", "forget", "not ready: starting", "add finalizer", "start 1.0.0"]);
    world.report(old, ControllerEvent::Serving);
    assert!(world.done(MINIO).is_empty());
}

#[test]
fn a_status_that_could_not_be_written_is_written_again() {
    let mut world = served();
    world.edit(MINIO, |provider| provider.spec.suspend = true);
    let serving = |world: &World| {
        let conditions = &world.server[MINIO].status.conditions;
        conditions.iter().find(|condition| condition.type_ == SERVING).map(|condition| condition.reason.clone())
    };
    while !world.requests.is_empty() {
        world.answer(0, false);
    }
    assert_eq!(serving(&world).as_deref(), Some("Serving"));
    world.advance(5);
    world.answer_all();
    assert_eq!(serving(&world).as_deref(), Some("Suspended"));
}

#[test]
fn controllers_know_which_version_the_status_names() {
    let mut world = served();
    let recorded = |world: &World| world.recorded.get(MINIO).cloned().flatten();
    let serves = world.served[MINIO].clone();
    assert_eq!(recorded(&world), Some(serves.clone()));
    // Another host says that it serves with another version.
    let other = |provider: &mut Provider| {
        if let Some(active) = &mut provider.status.active {
            active.digest = "sha256:other".to_owned();
        }
    };
    world.edit(MINIO, other);
    assert_eq!(
        recorded(&world).as_deref(),
        Some("sha256:other"),
        "until the status names this one, nothing is decided"
    );
    world.answer_all();
    assert_eq!(recorded(&world).as_deref(), Some("sha256:other"), "two hosts do not answer each other at once");
    world.advance(5);
    world.answer_all();
    assert_eq!(recorded(&world), Some(serves));
}

#[test]
fn a_claim_holds_over_a_restart_without_the_module() {
    let mut older = provider("older", 1);
    older.spec.parents.clear();
    let active = json!({"version": "1.0.0", "digest": "sha256:lost", "owns": ["ObjectStore.minio.rook.io"]});
    older.status.active = Some(serde_json::from_value(active).unwrap());
    let mut world = World::new(&[older, provider(MINIO, 2)]);
    world.publish(MINIO, Some(Ok(first())));
    world.answer_all();
    assert_eq!(world.condition(MINIO, ACCEPTED).unwrap().0, "Conflict");
    assert_eq!(world.condition("older", LOADED).unwrap().0, "SourceMissing");
    assert!(world.runs.is_empty());
}

#[test]
fn a_version_that_serves_claims_its_own_kinds_while_one_that_owns_fewer_waits() {
    let mut manifest = (*first().manifest).clone();
    let mut tenant = manifest.crds[0].clone();
    tenant["metadata"]["name"] = json!("tenants.minio.rook.io");
    tenant["spec"]["names"]["kind"] = json!("Tenant");
    manifest.crds.push(tenant);
    let mut of_all = provider(MINIO, 2);
    of_all.spec.parents.clear();
    let mut world = World::new(&[of_all]);
    world.publish(MINIO, Some(Ok(ModuleInfo::new(manifest, "sha256:9").unwrap())));
    world.answer_all();
    world.begin(world.last_run(MINIO));
    world.publish(MINIO, Some(Ok(alike())));
    world.answer_all();
    world.edit(MINIO, |provider| provider.spec.limits.concurrency = Some(2));
    world.answer_all();
    let restarted = world.runs.values().rev().find(|run| run.serves()).unwrap();
    assert_eq!(restarted.version.digest(), "sha256:9");
    let kinds: Vec<String> =
        restarted.start.claims.iter().flat_map(|claim| claim.kinds()).map(|kind| kind.to_string()).collect();
    assert_eq!(kinds, ["ObjectStore.minio.rook.io", "Tenant.minio.rook.io"]);
}

#[test]
fn asking_for_the_status_changes_nothing() {
    let world = served();
    assert_eq!(world.condition(MINIO, SERVING), world.condition(MINIO, SERVING));
    assert_eq!(world.next_due_in(), world.next_due_in());
    assert!(world.requests.is_empty());
}
