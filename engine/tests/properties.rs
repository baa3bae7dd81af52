//! What must hold of every plan, whatever was observed and whatever the provider answers.

mod model;

use std::collections::BTreeSet;

use bartizan_engine::{FinalizerStep, ObjectKey};
use model::{Event, Host, OURS, Server, State, Wish, answer, has_to_do_with_us, is_owned, key, observe};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Most children.
const CHILDREN: usize = 6;
/// Rounds in which everything must be as it will be: labels come back in one, a child that is in the way goes in another.
const ROUNDS: usize = 8;

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
    /// The provider is asked.
    Decide(Answered),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..CHILDREN, state()).prop_map(|(number, state)| Step::Set(number, state)),
        2 => (0..CHILDREN, any::<u8>()).prop_map(|(number, content)| Step::Edit(number, content)),
        1 => Just(Step::LetGo),
        4 => (1usize..6).prop_map(Step::Deliver),
        1 => Just(Step::Restart),
        5 => answered().prop_map(Step::Decide),
    ]
}

fn world(states: &[State]) -> Server {
    let mut server = Server::default();
    for (number, state) in states.iter().enumerate() {
        server.set(number, *state);
    }
    server
}

/// The objects that have nothing to do with this parent, as they are.
fn strangers(server: &Server) -> Vec<String> {
    let objects = server.objects().values().filter(|object| !has_to_do_with_us(&observe(object)));
    objects.map(ToString::to_string).collect()
}

fn relisted(server: &Server) -> Host {
    let mut host = Host::default();
    for object in server.objects().values() {
        host.index.apply(observe(object));
    }
    host
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// However old the cache is, whoever writes in between, and whenever the host starts anew: nothing is deleted or released
    /// that is not owned (the model's server sees to that), nothing that is applied or kept goes in the same round, and no
    /// stranger is written to. Left alone, one answer then comes to an end in which nothing is done any more.
    #[test]
    fn nothing_foreign_is_touched_and_every_sequence_ends_at_the_fixed_point(
        states in vec(state(), CHILDREN),
        steps in vec(step(), 0..24),
        last in answered(),
    ) {
        let mut server = world(&states);
        let mut host = Host::default();
        for step in steps {
            match step {
                Step::Set(number, state) => server.set(number, state),
                Step::Edit(number, content) => server.edit(number, content),
                Step::LetGo => server.let_go(),
                Step::Deliver(events) => host.deliver(&server, events),
                Step::Restart => host = relisted(&server),
                Step::Decide((wishes, kept)) => {
                    let before = strangers(&server);
                    host.round(&mut server, &answer(&wishes, &kept));
                    let after = strangers(&server);
                    prop_assert!(before.iter().all(|stranger| after.contains(stranger)), "{before:?}\n{after:?}");
                }
            }
        }

        let answer = answer(&last.0, &last.1);
        let mut rounds = 0;
        let fixed = loop {
            let all = server.events.len();
            host.deliver(&server, all);
            server.let_go();
            host.deliver(&server, server.events.len());
            let events = server.events.len();
            let plan = host.round(&mut server, &answer);
            if server.events.len() == events {
                break plan;
            }
            rounds += 1;
            prop_assert!(rounds < ROUNDS, "still at work after {ROUNDS} rounds: {plan}");
        };
        // What is left to say is only that names are taken; if none is, there is nothing at all, and all is as meant.
        let names_are_free = answer.intents.iter().all(|intent| server.live(&intent.key).is_none_or(|live| is_owned(&live)));
        if names_are_free {
            prop_assert!(fixed.is_settled(), "{fixed}");
            let meant: BTreeSet<&ObjectKey> = answer.intents.iter().map(|intent| &intent.key).collect();
            for object in server.objects().values().map(observe).filter(is_owned) {
                prop_assert!(meant.contains(&object.key) || answer.keep.contains(&object.key), "{} is left", object.key);
            }
            for intent in &answer.intents {
                let live = server.live(&intent.key);
                let data = |object: serde_json::Value| object["data"].clone();
                prop_assert_eq!(live.map(|live| data(live.value())), Some(data(intent.object.clone())));
            }
        } else {
            prop_assert!(fixed.deletes.is_empty() || !fixed.taken.is_empty() || !fixed.applies.is_empty(), "{fixed}");
        }
        // A host that knows nothing of all this comes to the same end.
        let mut anew = relisted(&server);
        let events = server.events.len();
        anew.round(&mut server, &answer);
        anew.deliver(&server, server.events.len());
        let noise = server.events.len() - events;
        prop_assert!(noise <= answer.intents.len(), "{noise} writes after a restart");
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
            server.set(number, state);
        }
        let mut events: Vec<Event> = server.events.clone();
        for (which, delay) in late {
            if server.events.is_empty() {
                break;
            }
            // A copy of an event that is a write's answer, at some time after the event itself or before.
            let copied = server.events[which.index(server.events.len())].clone();
            if let Event::Seen(_) = copied {
                events.insert(delay.index(events.len() + 1), copied);
            }
        }
        let mut host = Host::default();
        for event in events {
            match event {
                Event::Seen(object) => host.index.apply(*object),
                Event::Gone(object) => host.index.delete(&object.key, &object.uid, &object.resource_version),
            };
        }
        let fresh = relisted(&server);
        let names = |host: &Host| -> Vec<String> {
            let children = host.index.children(OURS);
            children.iter().map(|child| format!("{} {} {}", child.key, child.uid, child.resource_version)).collect()
        };
        prop_assert_eq!(names(&host), names(&fresh));
        let answer = answer(&last.0, &last.1);
        prop_assert_eq!(host.plan(&answer), fresh.plan(&answer));
    }

    /// At a parent's end the last wave goes first, each once the one after it is gone; what is retained stays; the finalizer
    /// goes only when no owned child is left that is not retained; and no stranger is touched.
    #[test]
    fn a_teardown_goes_from_the_last_wave_to_the_first_and_lets_go_of_the_parent_last(
        states in vec(state(), CHILDREN),
        slow in vec(any::<bool>(), 32),
    ) {
        let mut server = world(&states);
        let mut host = Host::default();
        let before = strangers(&server);
        let mut lowest = u32::MAX;
        for slow in slow.into_iter().chain(std::iter::repeat_n(false, 2 * CHILDREN)) {
            let doomed = |server: &Server| -> Vec<u32> {
                let owned = server.objects().values().map(observe).filter(is_owned);
                owned.filter(|child| child.marks.retained_for.is_none()).map(|child| child.marks.wave).collect()
            };
            let waves = doomed(&server);
            let plan = host.teardown(&mut server);
            prop_assert!(plan.applies.is_empty());
            for delete in &plan.deletes {
                prop_assert_eq!(Some(&delete.wave), waves.iter().max());
                prop_assert!(delete.wave <= lowest);
                lowest = delete.wave;
            }
            prop_assert_eq!(plan.finalizer == FinalizerStep::Remove, waves.is_empty(), "{}", plan);
            if plan.finalizer == FinalizerStep::Remove {
                break;
            }
            if !slow {
                server.let_go();
            }
        }
        let left: Vec<ObjectKey> = server.objects().values().map(observe).filter(is_owned).map(|child| child.key).collect();
        let going = |key: &ObjectKey| server.live(key).is_some_and(|live| live.deleting);
        prop_assert!(left.iter().all(going), "{left:?} are left");
        prop_assert_eq!(strangers(&server).into_iter().filter(|stranger| before.contains(stranger)).count(), before.len());
    }
}

#[test]
fn the_model_has_every_state() {
    let wish = (1, 1, false);
    let states = [State::Ours(wish), State::Given(wish, true), State::Forged(wish), State::Others(wish)];
    let server = world(&states);
    let owned: Vec<bool> = (0..4).map(|number| server.live(&key(number)).is_some_and(|live| is_owned(&live))).collect();
    assert_eq!(owned, [true, false, false, false]);
}
