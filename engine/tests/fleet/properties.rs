//! What holds whatever happens in whatever order: the older serves, the last good version serves, what is held stays held.

use bartizan_contract::names::APPROVE_ANNOTATION;
use bartizan_contract::provider::OnRemoval;
use bartizan_engine::provider::event::{ControllerEvent, RunId};
use bartizan_engine::provider::module::ModuleInfo;
use bartizan_engine::provider::source::Trouble;
use bartizan_engine::provider::version::Version;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::world::{World, module, provider};

const NAMES: [&str; 2] = ["older", "younger"];
const OLDER: usize = 0;

/// Something that happens.
#[derive(Clone, Debug)]
enum Op {
    /// The source of a Provider holds this.
    Publish(usize, Held),
    /// A request is answered.
    Answer(usize, bool),
    /// A controller begins to serve.
    Begin(usize),
    /// A controller reports that it waits, or that it serves.
    Report(usize, bool),
    /// A controller has previewed what it was asked to.
    Find(usize),
    /// A controller ends without a word.
    End(usize),
    /// Time passes.
    Advance(u64),
    /// Somebody edits the spec of a Provider.
    Suspend(usize, bool),
    /// So that it starts anew.
    Limit(usize, u32),
    /// Somebody approves a version.
    Approve(usize, usize),
    /// Somebody deletes a Provider, which then is removed.
    Delete(usize),
    /// A Provider is there again, or for the first time.
    Create(usize),
}

/// What the source of a module holds.
#[derive(Clone, Copy, Debug)]
enum Held {
    Module(usize),
    Invalid,
    Unavailable,
    Nothing,
}

/// The modules: alike or of another shape, harmless or not, and one that is not granted.
fn modules() -> [ModuleInfo; 6] {
    [
        module("sha256:0", "1.0.0", &[]),
        module("sha256:1", "1.1.0", &[]),
        module("sha256:2", "1.2.0", &[]),
        module("sha256:3", "2.0.0", &["Service"]),
        module("sha256:4", "2.1.0", &["Service"]),
        module("sha256:5", "3.0.0", &["Secret"]),
    ]
}

/// Children that a version would delete.
fn deletes(version: &Version) -> u32 {
    u32::from(matches!(version.digest(), "sha256:2" | "sha256:4"))
}

fn held() -> impl Strategy<Value = Held> {
    prop_oneof![
        8 => (0usize..6).prop_map(Held::Module),
        1 => Just(Held::Invalid),
        1 => Just(Held::Unavailable),
        1 => Just(Held::Nothing),
    ]
}

/// What does not depend on what somebody wants.
fn event() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0usize..2, held()).prop_map(|(provider, held)| Op::Publish(provider, held)),
        8 => (0usize..3, prop::bool::weighted(0.8)).prop_map(|(request, succeeds)| Op::Answer(request, succeeds)),
        4 => (0usize..4).prop_map(Op::Begin),
        2 => (0usize..4, any::<bool>()).prop_map(|(run, serves)| Op::Report(run, serves)),
        6 => (0usize..4).prop_map(Op::Find),
        1 => (0usize..4).prop_map(Op::End),
        3 => prop_oneof![Just(1u64), Just(5), Just(10), Just(300)].prop_map(Op::Advance),
    ]
}

fn wish() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0usize..2, any::<bool>()).prop_map(|(provider, suspend)| Op::Suspend(provider, suspend)),
        1 => (0usize..2, 1u32..3).prop_map(|(provider, limit)| Op::Limit(provider, limit)),
        2 => (0usize..2, 0usize..6).prop_map(|(provider, module)| Op::Approve(provider, module)),
        1 => (0usize..2).prop_map(Op::Delete),
        2 => (0usize..2).prop_map(Op::Create),
    ]
}

fn anything() -> impl Strategy<Value = Op> {
    prop_oneof![4 => event(), 1 => wish()]
}

/// One of the last controllers that were started.
fn run(world: &World, back: usize) -> Option<RunId> {
    world.runs.keys().rev().nth(back).copied()
}

fn apply(world: &mut World, op: &Op) {
    match op {
        Op::Publish(provider, held) => {
            let found = match held {
                Held::Module(index) => Some(Ok(modules()[*index].clone())),
                Held::Invalid => Some(Err(Trouble::Invalid("no module".to_owned()))),
                Held::Unavailable => Some(Err(Trouble::Unavailable("no answer".to_owned()))),
                Held::Nothing => None,
            };
            world.publish(NAMES[*provider], found);
        }
        Op::Answer(request, succeeds) => world.answer(*request, *succeeds),
        Op::Begin(back) => {
            // A controller that waits for the end of another that has not been stopped begins after it: both are live.
            if let Some(run) = run(world, *back) {
                world.begin(run);
            }
        }
        Op::Report(back, serves) => {
            if let Some(run) = run(world, *back) {
                let waiting = ControllerEvent::waiting("something is missing".to_owned());
                let serves = *serves && world.runs[&run].has_begun;
                world.report(run, if serves { ControllerEvent::Serving } else { waiting });
            }
        }
        Op::Find(back) => {
            if let Some(run) = run(world, *back) {
                world.find(run, deletes);
            }
        }
        Op::End(back) => {
            if let Some(run) = run(world, *back).filter(|run| world.runs[run].is_stopped) {
                world.report(run, ControllerEvent::Ended);
            }
        }
        Op::Advance(seconds) => world.advance(*seconds),
        Op::Suspend(index, suspend) => world.edit(NAMES[*index], |provider| provider.spec.suspend = *suspend),
        Op::Limit(index, limit) => {
            world.edit(NAMES[*index], |provider| provider.spec.limits.concurrency = Some(*limit));
        }
        Op::Approve(index, module) => {
            let digest = modules()[*module].digest.to_string();
            world.edit(NAMES[*index], |provider| {
                provider.metadata.annotations.insert(APPROVE_ANNOTATION.to_owned(), digest);
            });
        }
        Op::Delete(index) => world.delete(NAMES[*index]),
        Op::Create(index) => {
            if !world.server.contains_key(NAMES[*index]) {
                let mut created = provider(NAMES[*index], u8::try_from(*index).unwrap() + 1);
                created.spec.on_removal = OnRemoval::Release;
                world.served.remove(NAMES[*index]);
                world.create(created);
            }
        }
    }
}

/// A younger Provider that is served with version 1.0.0; an older one may come.
fn served() -> World {
    let mut world = World::new(&[provider(NAMES[1], 2)]);
    world.publish(NAMES[1], Some(Ok(modules()[0].clone())));
    world.answer_all();
    world.begin(world.last_run(NAMES[1]));
    world.answer_all();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn the_older_serves(ops in vec(anything(), 0..60)) {
        let mut world = served();
        for op in &ops {
            apply(&mut world, op);
            if world.server.contains_key(NAMES[OLDER]) {
                prop_assert!(world.live(NAMES[1]).is_empty(), "both are served after {op:?}");
            }
        }
        // And the younger one, as soon as it is alone.
        world.delete(NAMES[OLDER]);
        apply(&mut world, &Op::Create(1));
        world.edit(NAMES[1], |provider| provider.spec.suspend = false);
        apply(&mut world, &Op::Publish(1, Held::Module(0)));
        for _ in 0..4 {
            world.answer_all();
            world.advance(5);
        }
        prop_assert!(!world.live(NAMES[1]).is_empty(), "nobody is served");
    }

    #[test]
    fn the_last_good_version_serves(ops in vec(event(), 0..60)) {
        let mut world = served();
        for op in &ops {
            apply(&mut world, op);
            prop_assert!(world.serving(NAMES[1]).is_some(), "nothing serves after {op:?}");
        }
    }

    #[test]
    fn what_is_held_stays_held(ops in vec(anything(), 0..60)) {
        let mut world = served();
        for op in &ops {
            let known: Vec<_> = world.runs.iter().map(|(id, run)| (*id, run.version.digest().to_owned())).collect();
            let before = world.served.clone();
            apply(&mut world, op);
            // A controller that was started with an approval may begin after the approval has been replaced by another.
            let served = if matches!(op, Op::Begin(_)) { world.served.clone() } else { before };
            for (id, run) in &world.runs {
                let digest = run.version.digest().to_owned();
                let is_news = run.serves() && !known.contains(&(*id, digest.clone()));
                // The first version of a Provider has nothing to be compared with.
                let served = served.get(run.name());
                if is_news && deletes(&run.version) > 0 && served.is_some_and(|served| *served != digest) {
                    let approval = run.start.provider.metadata.annotations.get(APPROVE_ANNOTATION);
                    let now = world.server.get(run.name());
                    let now = now.and_then(|provider| provider.metadata.annotations.get(APPROVE_ANNOTATION));
                    prop_assert!(
                        approval == Some(&digest) || now == Some(&digest),
                        "{} serves with {digest}, which was not approved, after {op:?}", run.name()
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_due_comes_to_an_end(ops in vec(anything(), 0..60)) {
        let mut world = served();
        for op in &ops {
            apply(&mut world, op);
        }
        // Without events, each tick leads to a later one: the host does not spin.
        for _ in 0..20 {
            world.answer_all();
            let Some(due) = world.next_due_in() else { break };
            world.advance(due.as_secs() + 1);
            prop_assert!(world.next_due_in().is_none_or(|next| !next.is_zero()), "due at once again");
        }
    }
}
