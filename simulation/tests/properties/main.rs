//! What must hold of every reconcile, whatever was observed, whatever the provider answers, in whatever order replies come, and
//! wherever the host crashes. What is driven is the engine's own reconcile, as the host drives it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

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
    FINALIZER, State, Wish, check_trace, check_writes, children, host, is_owned, key, let_go, meant, observe,
    parent_key, parent_uid, response, server, set, strangers,
};

/// Most children.
const CHILDREN: usize = 6;
/// Rounds in which everything must be as it will be: what became of lost writes is read in one, labels come back in another, a
/// child that is in the way goes in a third.
const ROUNDS: usize = 10;

fn state() -> impl Strategy<Value = State> {
    let wished = || (0u8..3, 0u8..3, any::<bool>());
    prop_oneof![
        2 => Just(State::Absent),
        4 => wished().prop_map(State::Ours),
        2 => wished().prop_map(State::Edited),
        1 => wished().prop_map(State::Deleting),
        1 => wished().prop_map(State::Stripped),
        1 => wished().prop_map(State::Controlled),
        1 => wished().prop_map(State::Others),
        1 => (wished(), any::<bool>()).prop_map(|(wish, reference)| State::Given(wish, reference)),
        1 => wished().prop_map(State::Forged),
        1 => wished().prop_map(State::Foreign),
        1 => wished().prop_map(State::Retained),
    ]
}

/// What a provider may answer: children, and which of the others are to be kept.
type Answered = (Vec<Option<Wish>>, Vec<usize>);

fn answered() -> impl Strategy<Value = Answered> {
    let wish = (0u8..3, 0u32..3, any::<bool>()).prop_map(|(content, wave, retain)| Wish { content, wave, retain });
    (vec(option::of(wish), CHILDREN), vec(0..CHILDREN, 0..2))
}

/// What happens between two decisions, and the decisions themselves.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody makes a child be something else, or go.
    Set(usize, State),
    /// Somebody edits it.
    Edit(usize, u8),
    /// What is being deleted goes.
    LetGo,
    /// Watches deliver so many events.
    Deliver(usize),
    /// The host starts anew.
    Restart,
    /// The provider is asked, and what it answers is executed in this order, with these faults.
    Decide(Answered, Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..CHILDREN, state()).prop_map(|(number, state)| Step::Set(number, state)),
        2 => (0..CHILDREN, any::<u8>()).prop_map(|(number, content)| Step::Edit(number, content)),
        1 => Just(Step::LetGo),
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

/// What a host would do now.
fn plan(host: &Host, answer: &ReconcileResponse) -> Plan {
    match host.decide(&parent_uid(), answer.clone()) {
        Some(Decision::Execute(execute)) => execute.plan,
        other => unreachable!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// However old the cache is, whoever writes in between, whatever is lost on the way, and wherever the host crashes: nothing is
    /// deleted or released that is not owned, nothing that is applied or kept goes in the same round, nothing goes before what is
    /// meant is there, and no stranger is written to. Left alone, one answer then comes to an end in which nothing is done any more.
    #[test]
    fn nothing_foreign_is_touched_and_every_run_ends_at_the_fixed_point(
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
                Step::LetGo => let_go(&mut server),
                Step::Deliver(events) => host.deliver(&server, events),
                Step::Restart => host = host.restarted(&server),
                Step::Decide((wishes, kept), choices) => {
                    let before = strangers(&server);
                    let answer = response(&wishes, &kept);
                    let keep: Vec<ObjectKey> = kept.iter().copied().map(key).collect();
                    let keep = if wishes.is_empty() { Vec::new() } else { keep };
                    let name_taken = match host.decide(&parent_uid(), answer.clone()) {
                        Some(Decision::Execute(execute)) => !execute.plan.taken.is_empty(),
                        _ => false,
                    };
                    let provider = |_: &[u8]| answer.clone();
                    let ended = host.reconcile(&mut server, &parent_uid(), &provider, &mut Choices::new(choices));
                    let kept: Vec<ObjectKey> =
                        keep.into_iter().filter(|key| meant(answer.clone(), "x").keep.contains(key)).collect();
                    check_trace(&host.trace, &kept, name_taken).map_err(TestCaseError::fail)?;
                    check_writes(&mut server).map_err(TestCaseError::fail)?;
                    if let Outcome::Crashed = ended {
                        host = host.restarted(&server);
                    }
                    let after = strangers(&server);
                    prop_assert!(before.iter().all(|stranger| after.contains(stranger)), "{before:?}\n{after:?}");
                }
            }
        }

        let answer = response(&last.0, &last.1);
        let provider = |_: &[u8]| answer.clone();
        let mut rounds = 0;
        loop {
            host.deliver(&server, server.events.len());
            let_go(&mut server);
            host.deliver(&server, server.events.len());
            let events = server.events.len();
            let ended = host.reconcile(&mut server, &parent_uid(), &provider, &mut InOrder);
            check_writes(&mut server).map_err(TestCaseError::fail)?;
            let called = matches!(&ended, Outcome::Ended(report) if report.ended != bartizan_engine::reconcile::Ended::Undecided);
            if called && server.events.len() == events {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < ROUNDS, "still at work after {ROUNDS} rounds: {}", plan(&host, &answer));
        }
        let fixed = plan(&host, &answer);
        let meant = meant(answer.clone(), world::OURS);
        // What is left to say is only that names are taken; if none is, there is nothing at all, and all is as meant.
        let live = |key: &ObjectKey| server.get(key).map(observe);
        let names_are_free = meant.intents.iter().all(|intent| live(&intent.key).is_none_or(|live| is_owned(&live)));
        if names_are_free {
            prop_assert!(fixed.is_settled(), "{fixed}");
            let keys: BTreeSet<&ObjectKey> = meant.intents.iter().map(|intent| &intent.key).collect();
            for object in children(&server).filter(is_owned) {
                prop_assert!(keys.contains(&object.key) || meant.keep.contains(&object.key), "{} is left", object.key);
            }
            for intent in &meant.intents {
                // What others added beside it stays theirs.
                let content = |object: &serde_json::Value| object["data"]["content"].clone();
                prop_assert_eq!(server.get(&intent.key).map(content), Some(content(&intent.object)));
            }
        } else {
            prop_assert!(fixed.deletes.is_empty() || !fixed.taken.is_empty() || !fixed.applies.is_empty(), "{fixed}");
        }
        // A host that knows nothing of all this comes to the same end.
        let mut anew = host.restarted(&server);
        let events = server.events.len();
        anew.reconcile(&mut server, &parent_uid(), &provider, &mut InOrder);
        anew.deliver(&server, server.events.len());
        let noise = server.events.len() - events;
        prop_assert!(noise <= meant.intents.len(), "{noise} writes after a restart");
    }

    /// A watch delivers in order; the answers to the host's own writes come whenever they come, and more than once for all that
    /// is known. The index, and with it the plan, is the same as if each had come in time.
    #[test]
    fn a_plan_is_the_same_whatever_the_order_of_events(
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
            // A copy of an event that is a write's answer, at some time after the event itself or before.
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

    /// At a parent's end the last wave goes first, each once the one after it is gone; what is retained stays; the finalizer
    /// goes only when no owned child is left that is not retained; and no stranger is touched.
    #[test]
    fn a_teardown_goes_from_the_last_wave_to_the_first_and_lets_the_parent_go_last(
        states in vec(state(), CHILDREN),
        slow in vec(any::<bool>(), 32),
        choices in vec(any::<u8>(), 0..64),
    ) {
        let mut server = world(&states);
        let mut choices = Choices::new(choices);
        let mut object = server.get(&parent_key()).cloned().unwrap();
        object["metadata"]["finalizers"] = json!([FINALIZER]);
        server.store(&parent_key(), object);
        server.begin_deletion(&parent_key());
        let mut host = host(true);
        let before = strangers(&server);
        let mut lowest = u32::MAX;
        let finalized = |_: &[u8]| ReconcileResponse { finalized: true, ..ReconcileResponse::default() };
        for slow in slow.into_iter().chain(std::iter::repeat_n(false, 4 * CHILDREN)) {
            host.deliver(&server, server.events.len());
            let doomed = |server: &ApiServer| -> Vec<u32> {
                let owned = children(server).filter(is_owned);
                owned.filter(|child| child.marks.retained_for.is_none()).map(|child| child.marks.wave).collect()
            };
            let waves = doomed(&server);
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
            if server.get(&parent_key()).is_none() {
                prop_assert!(waves.is_empty(), "the parent went before {waves:?}");
                break;
            }
            if !slow {
                let_go(&mut server);
            }
        }
        prop_assert!(server.get(&parent_key()).is_none(), "the parent is left");
        let left: Vec<ObjectKey> = children(&server).filter(is_owned).map(|child| child.key).collect();
        let going = |key: &ObjectKey| server.get(key).map(observe).is_some_and(|live| live.deleting);
        prop_assert!(left.iter().all(going), "{left:?} are left");
        prop_assert_eq!(strangers(&server).into_iter().filter(|stranger| before.contains(stranger)).count(), before.len());
    }

    /// An answer that holds, or that the gate refuses, changes no child; the status says so.
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
fn the_world_has_every_state() {
    let wish = (1, 1, false);
    let states = [State::Ours(wish), State::Given(wish, true), State::Forged(wish), State::Others(wish)];
    let server = world(&states);
    let owned: Vec<bool> =
        (0..4).map(|number| server.get(&key(number)).map(observe).is_some_and(|live| is_owned(&live))).collect();
    assert_eq!(owned, [true, false, false, false]);
}
