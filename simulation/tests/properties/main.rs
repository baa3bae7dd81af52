//! Properties of every reconcile, whatever the cluster state, the provider's answer, the order of replies, and the point at which
//! the host crashes. The simulation drives the engine's own reconcile, as the host does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

mod closure;
mod faults;
mod world;

use std::collections::BTreeSet;

use bartizan_contract::ReconcileResponse;
use bartizan_engine::plan::Plan;
use bartizan_engine::{Decision, ObjectKey};
use bartizan_simulation::host::Outcome;
use bartizan_simulation::{ApiServer, Choices, Host, InOrder, WatchEvent};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;
use world::{
    DesiredChild, FINALIZER, State, blocked, check_trace, check_writes, children, desired, finish_deletions,
    foreign_objects, host, is_owned, key, observe, parent_key, parent_uid, response, server, set,
};

/// Number of children.
const CHILDREN: usize = 6;
/// Rounds within which the cluster must converge: one reads the result of lost writes, another restores labels, a third waits for
/// a deletion.
const ROUNDS: usize = 8;

fn state() -> impl Strategy<Value = State> {
    let desired_child = || (0u8..3, 0u8..3, any::<bool>());
    prop_oneof![
        2 => Just(State::Absent),
        4 => desired_child().prop_map(State::Ours),
        2 => desired_child().prop_map(State::Edited),
        1 => desired_child().prop_map(State::Deleting),
        1 => desired_child().prop_map(State::Stripped),
        1 => desired_child().prop_map(State::Controlled),
        1 => desired_child().prop_map(State::Others),
        1 => (desired_child(), any::<bool>()).prop_map(|(child, reference)| State::Given(child, reference)),
        1 => desired_child().prop_map(State::Forged),
        1 => desired_child().prop_map(State::Foreign),
        1 => desired_child().prop_map(State::Retained),
    ]
}

/// An answer of the provider: desired children, and which of the others to keep.
type Answered = (Vec<Option<DesiredChild>>, Vec<usize>);

fn answered() -> impl Strategy<Value = Answered> {
    let child =
        (0u8..3, 0u32..3, any::<bool>()).prop_map(|(content, wave, retain)| DesiredChild { content, wave, retain });
    (vec(option::of(child), CHILDREN), vec(0..CHILDREN, 0..2))
}

/// One step of a run: an event between two decisions, or a decision.
#[derive(Clone, Debug)]
enum Step {
    /// A child is replaced or removed.
    Set(usize, State),
    /// A child is edited by hand.
    Edit(usize, u8),
    /// Pending deletions complete.
    FinishDeletions,
    /// Watches deliver this many events.
    Deliver(usize),
    /// The host restarts.
    Restart,
    /// The parent is reconciled with this answer, in this order of effects and with these faults.
    Decide(Answered, Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..CHILDREN, state()).prop_map(|(number, state)| Step::Set(number, state)),
        2 => (0..CHILDREN, any::<u8>()).prop_map(|(number, content)| Step::Edit(number, content)),
        1 => Just(Step::FinishDeletions),
        4 => (1usize..6).prop_map(Step::Deliver),
        1 => Just(Step::Restart),
        5 => (answered(), vec(any::<u8>(), 0..32)).prop_map(|(answer, choices)| Step::Decide(answer, choices)),
    ]
}

fn world(states: &[State]) -> ApiServer {
    let mut server = server();
    for (number, state) in states.iter().enumerate() {
        set(&mut server, number, *state);
    }
    server
}

/// The plan that a host would execute now.
fn plan(host: &Host, answer: &ReconcileResponse) -> Plan {
    match host.decide(&parent_uid(), answer.clone()) {
        Some(Decision::Execute(execute)) => execute.plan,
        other => unreachable!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// However stale the cache is, whoever else writes, whatever requests or responses are lost, and wherever the host crashes:
    /// only owned children are deleted or released, none that the same reconcile applies or keeps, none before the desired children
    /// are applied, and no foreign object is written. Left undisturbed, one answer then leads to a fixed point.
    #[test]
    fn no_foreign_object_is_touched_and_every_run_converges(
        states in vec(state(), CHILDREN),
        steps in vec(step(), 0..24),
        last in answered(),
    ) {
        let mut server = world(&states);
        let mut host = host(false);
        for step in steps {
            match step {
                Step::Set(number, state) => set(&mut server, number, state),
                Step::Edit(number, content) => world::edit(&mut server, number, content),
                Step::FinishDeletions => finish_deletions(&mut server),
                Step::Deliver(events) => host.deliver(&server, events),
                Step::Restart => host = host.restarted(&server),
                Step::Decide((children, kept), choices) => {
                    let before = foreign_objects(&server);
                    let answer = response(&children, &kept);
                    let blocked = blocked(&host, world::PROVIDER, world::OURS, &desired(answer.clone(), world::OURS));
                    let provider = |_: &[u8]| answer.clone();
                    let ended = host.reconcile(&mut server, &parent_uid(), &provider, &mut Choices::new(choices));
                    let kept: Vec<ObjectKey> = desired(answer.clone(), world::OURS).keep.into_iter().collect();
                    check_trace(&host.trace, &kept, blocked).map_err(TestCaseError::fail)?;
                    check_writes(&mut server).map_err(TestCaseError::fail)?;
                    if let Outcome::Crashed = ended {
                        host = host.restarted(&server);
                    }
                    let after = foreign_objects(&server);
                    prop_assert!(before.iter().all(|object| after.contains(object)), "{before:?}\n{after:?}");
                }
            }
        }

        let answer = response(&last.0, &last.1);
        let provider = |_: &[u8]| answer.clone();
        let mut rounds = 0;
        loop {
            host.deliver(&server, server.events.len());
            finish_deletions(&mut server);
            host.deliver(&server, server.events.len());
            let events = server.events.len();
            let ended = host.reconcile(&mut server, &parent_uid(), &provider, &mut InOrder);
            check_writes(&mut server).map_err(TestCaseError::fail)?;
            let called = matches!(&ended, Outcome::Ended(report) if report.ended != bartizan_engine::reconcile::Ended::Undecided);
            if called && server.events.len() == events {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < ROUNDS, "not converged after {ROUNDS} rounds: {}", plan(&host, &answer));
        }
        let fixed = plan(&host, &answer);
        let desired = desired(answer.clone(), world::OURS);
        // The plan may still report taken names; if none is taken, it is settled, and the children match the desired ones.
        let live = |key: &ObjectKey| server.get(key).map(observe);
        let names_are_free = desired.intents.iter().all(|intent| live(&intent.key).is_none_or(|live| is_owned(&live)));
        if names_are_free {
            prop_assert!(fixed.is_settled(), "{fixed}");
            let keys: BTreeSet<&ObjectKey> = desired.intents.iter().map(|intent| &intent.key).collect();
            for object in children(&server).filter(is_owned) {
                prop_assert!(keys.contains(&object.key) || desired.keep.contains(&object.key), "{} still exists", object.key);
            }
            for intent in &desired.intents {
                // Fields that others added are left alone.
                let content = |object: &serde_json::Value| object["data"]["content"].clone();
                prop_assert_eq!(server.get(&intent.key).map(content), Some(content(&intent.object)));
            }
        } else {
            prop_assert!(fixed.deletes.is_empty() || !fixed.taken.is_empty() || !fixed.applies.is_empty(), "{fixed}");
        }
        // A restarted host converges to the same state.
        let mut restarted = host.restarted(&server);
        let events = server.events.len();
        restarted.reconcile(&mut server, &parent_uid(), &provider, &mut InOrder);
        restarted.deliver(&server, server.events.len());
        let noise = server.events.len() - events;
        prop_assert!(noise <= desired.intents.len(), "{noise} writes after a restart");
    }

    /// A watch delivers in order; the responses to the host's own writes may arrive early, late or repeatedly. The index, and with
    /// it the plan, is the same as if each had arrived in order.
    #[test]
    fn a_plan_does_not_depend_on_the_order_of_events(
        states in vec(state(), CHILDREN),
        changes in vec((0..CHILDREN, state()), 0..12),
        late in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..12),
        last in answered(),
    ) {
        let mut server = world(&states);
        for (number, state) in changes {
            set(&mut server, number, state);
        }
        let mut events: Vec<WatchEvent> = server.events.clone();
        for (which, delay) in late {
            // A copy of an event, as the response to a write, at some time before or after the event itself.
            let copied = server.events[which.index(server.events.len())].clone();
            if let WatchEvent::Applied(_) = copied {
                events.insert(delay.index(events.len() + 1), copied);
            }
        }
        let mut host = host(false);
        events.iter().for_each(|event| host.see(event));
        let fresh = host.restarted(&server);
        let names = |host: &Host| -> Vec<String> {
            let children = host.index.children(world::OURS);
            children.iter().map(|child| format!("{} {} {}", child.key, child.uid, child.resource_version)).collect()
        };
        prop_assert_eq!(names(&host), names(&fresh));
        let answer = response(&last.0, &last.1);
        prop_assert_eq!(plan(&host, &answer), plan(&fresh, &answer));
    }

    /// When a parent is deleted, its waves are deleted in reverse order, each once the later one is gone; retained children stay;
    /// the finalizer is removed only once all other owned children are gone; and no foreign object is touched.
    #[test]
    fn a_teardown_deletes_waves_in_reverse_order_and_the_parent_last(
        states in vec(state(), CHILDREN),
        slow in vec(any::<bool>(), 32),
        choices in prop_oneof![Just(Vec::new()), vec(any::<u8>(), 0..64)],
    ) {
        let mut server = world(&states);
        let is_undisturbed = choices.is_empty();
        // Lost requests and crashes take rounds of their own.
        let rounds = if is_undisturbed { 2 } else { 4 } * CHILDREN;
        let mut choices = Choices::new(choices);
        let mut object = server.get(&parent_key()).cloned().unwrap();
        object["metadata"]["finalizers"] = json!([FINALIZER]);
        server.store(&parent_key(), object);
        server.begin_deletion(&parent_key());
        let mut host = host(true);
        let before = foreign_objects(&server);
        let mut lowest = u32::MAX;
        let finalized = |_: &[u8]| ReconcileResponse { finalized: true, ..ReconcileResponse::default() };
        for slow in slow.into_iter().chain(std::iter::repeat_n(false, rounds)) {
            host.deliver(&server, server.events.len());
            let doomed = |server: &ApiServer| -> Vec<u32> {
                let owned = children(server).filter(is_owned);
                owned.filter(|child| child.marks.retained_for.is_none()).map(|child| child.marks.wave).collect()
            };
            let waves = doomed(&server);
            let parent = server.get(&parent_key()).map(observe);
            let is_finalized = parent.is_some_and(|parent| parent.marks.finalized.is_some());
            if let Outcome::Crashed = host.reconcile(&mut server, &parent_uid(), &finalized, &mut choices) {
                host = host.restarted(&server);
            }
            for write in server.writes.iter().filter(|write| write.verb == "delete") {
                let wave = write.before.as_ref().map(observe).map(|child| child.marks.wave);
                prop_assert_eq!(wave, waves.iter().max().copied());
                prop_assert!(wave.is_some_and(|wave| wave <= lowest));
                lowest = wave.unwrap_or(lowest);
            }
            prop_assert!(server.writes.iter().all(|write| !matches!(write.verb, "create" | "apply")));
            check_writes(&mut server).map_err(TestCaseError::fail)?;
            if is_undisturbed && is_finalized {
                prop_assert_eq!(server.get(&parent_key()).is_none(), waves.is_empty(), "{:?}", waves);
            }
            if server.get(&parent_key()).is_none() {
                prop_assert!(waves.is_empty(), "the parent was deleted before {waves:?}");
                break;
            }
            if !slow {
                finish_deletions(&mut server);
            }
        }
        prop_assert!(server.get(&parent_key()).is_none(), "the parent still exists");
        let left: Vec<ObjectKey> = children(&server).filter(is_owned).map(|child| child.key).collect();
        let terminating = |key: &ObjectKey| server.get(key).map(observe).is_some_and(|live| live.deleting);
        prop_assert!(left.iter().all(terminating), "{left:?} still exist");
        prop_assert_eq!(foreign_objects(&server).into_iter().filter(|object| before.contains(object)).count(), before.len());
    }

    /// While a parent is deleted with orphaning, the garbage collector removes its owner reference from one child after the other. The
    /// watch of the children may report that long before the watch of the parents reports the deletion, or after it: a child that is
    /// orphaned stays so, or it would be deleted as soon as the parent is gone.
    #[test]
    fn an_orphaned_child_stays_and_never_gets_its_owner_back(
        states in vec(state(), CHILDREN),
        seen in vec(any::<bool>(), CHILDREN),
        answers in vec((answered(), vec(any::<u8>(), 0..16)), CHILDREN + 1),
    ) {
        let mut server = world(&states);
        let mut host = host(false);
        host.deliver(&server, server.events.len());
        let known = server.events.len();
        let mut object = server.get(&parent_key()).cloned().unwrap();
        object["metadata"]["finalizers"] = json!(["orphan"]);
        server.store(&parent_key(), object);
        server.begin_deletion(&parent_key());
        let mut orphaned = BTreeSet::new();
        for (number, ((children, kept), choices)) in answers.into_iter().enumerate() {
            let answer = response(&children, &kept);
            host.reconcile(&mut server, &parent_uid(), &|_: &[u8]| answer.clone(), &mut Choices::new(choices));
            for (key, uid) in &orphaned {
                let live = server.get(key).map(observe).filter(|live| live.uid == *uid);
                prop_assert!(live.is_some_and(|live| live.controller_uid.is_none()), "{key} is gone or has an owner again");
            }
            let key = key(number);
            let child = server.get(&key).map(observe).filter(|child| child.controller_uid.as_deref() == Some(world::OURS));
            if let Some(child) = child.filter(|child| number < CHILDREN && !child.deleting) {
                server.update("kube-controller-manager", &key, |object| object["metadata"]["ownerReferences"] = json!([]));
                orphaned.insert((key.clone(), child.uid));
            }
            if number < CHILDREN && seen[number] && let Some(object) = server.get(&key) {
                host.see(&WatchEvent::Applied(std::sync::Arc::new(object.clone())));
            }
        }
        prop_assert!(known < server.events.len());
    }

    /// An answer with `hold`, or one that the gate refuses, changes no child; the status reports it.
    #[test]
    fn a_hold_and_a_refused_answer_write_no_child(states in vec(state(), CHILDREN), answer in answered(), refuse in any::<bool>()) {
        let mut server = world(&states);
        let mut host = host(false);
        host.deliver(&server, server.events.len());
        let answer = ReconcileResponse { hold: !refuse, finalized: refuse, ..response(&answer.0, &answer.1) };
        host.reconcile(&mut server, &parent_uid(), &|_: &[u8]| answer.clone(), &mut InOrder);
        prop_assert!(server.writes.iter().all(|write| write.verb == "status"), "{:?}", server.writes);
        let synced = server.get(&parent_key()).unwrap()["status"]["conditions"].clone();
        let reasons: Vec<&str> = synced.as_array().unwrap().iter().filter_map(|c| c["reason"].as_str()).collect();
        prop_assert!(reasons.contains(if refuse { &"Refused" } else { &"Held" }), "{reasons:?}");
    }
}

#[test]
fn the_initial_states_are_owned_as_intended() {
    let child = (1, 1, false);
    let states = [State::Ours(child), State::Given(child, true), State::Forged(child), State::Others(child)];
    let server = world(&states);
    let owned: Vec<bool> =
        (0..4).map(|number| server.get(&key(number)).map(observe).is_some_and(|live| is_owned(&live))).collect();
    assert_eq!(owned, [true, false, false, false]);
}
