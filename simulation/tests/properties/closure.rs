//! A search over all interleavings of small worlds: what watches deliver and when, which request of a reconcile is lost, unanswered or the
//! last before a crash, restarts, and what others do. States that are the same but for UIDs, resource versions and times are visited
//! once, breadth first, until there are no new ones, the stated depth is reached, or time is up.
//!
//! What is checked: nothing is touched that is not owned; no write to a state that was not observed; nothing is pruned before its time; no
//! orphan is deleted or gets its owner back; and from every state, a fair run ends in the same fixed point, in which nothing is written.
//! `BARTIZAN_CLOSURE_SECONDS` sets how long each world may take.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bartizan_contract::ReconcileResponse;
use bartizan_contract::digest::sha256;
use bartizan_engine::Observed;
use bartizan_simulation::host::Outcome;
use bartizan_simulation::schedule::Schedule;
use bartizan_simulation::{ApiServer, Fault, Host, InOrder, WatchEvent};
use serde_json::{Value, json};

use crate::world::{
    self, DesiredChild, OURS, State, check_trace, check_writes, finish_deletions, foreign_objects, host, is_owned, key,
    observe, parent_key, parent_uid, response, server, set,
};

/// Children of a world.
const CHILDREN: usize = 2;
/// Steps after which a search ends.
const DEPTH: usize = 12;
/// Rounds within which a fair run ends.
const ROUNDS: usize = 10;
/// Effects of a reconcile that may be faulty.
const FAULTY: usize = 5;
/// How long one world may take by default.
const SECONDS: u64 = 4;

/// What others do, each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    /// Somebody edits a child.
    Edit(usize),
    /// Somebody removes a child.
    Remove(usize),
    /// Somebody takes the name of a child.
    Take(usize),
    /// The provider answers with its second answer from now on.
    ChangeAnswer,
    /// `kubectl delete --cascade=orphan`.
    Orphan,
    /// The garbage collector removes the owner of one child of an orphaned parent.
    Collect(usize),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A watch delivers its next event.
    Deliver,
    Restart,
    /// The parent is reconciled; perhaps with a fault of this effect.
    Reconcile(Option<(usize, Fault)>),
    /// Pending deletions complete.
    Finish,
    Do(Deed),
}

#[derive(Clone)]
struct World {
    server: ApiServer,
    host: Host,
    answers: [ReconcileResponse; 2],
    deeds: Vec<Deed>,
    changed: bool,
    /// Children that the garbage collector has orphaned, with their UIDs.
    orphans: BTreeMap<usize, String>,
}

/// One effect is faulty.
struct Faulty {
    fault: Option<(usize, Fault)>,
    effect: usize,
}

impl Schedule for Faulty {
    fn pick(&mut self, _count: usize) -> usize {
        0
    }

    fn fault(&mut self) -> Option<Fault> {
        let effect = self.effect;
        self.effect += 1;
        self.fault.filter(|(faulty, _)| *faulty == effect).map(|(_, fault)| fault)
    }
}

impl World {
    fn new(states: [State; CHILDREN], answers: [ReconcileResponse; 2], deeds: &[Deed]) -> Self {
        let mut server = server();
        for (number, state) in states.into_iter().enumerate() {
            set(&mut server, number, state);
        }
        let mut host = host(false);
        host.deliver(&server, server.events.len());
        Self { server, host, answers, deeds: deeds.to_vec(), changed: false, orphans: BTreeMap::new() }
    }

    fn answer(&self) -> &ReconcileResponse {
        &self.answers[usize::from(self.changed)]
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.host.backlog(&self.server) > 0 {
            steps.push(Step::Deliver);
        }
        steps.push(Step::Reconcile(None));
        for effect in 0..FAULTY {
            for fault in [Fault::Lost, Fault::Unanswered, Fault::CrashBefore, Fault::CrashAfter] {
                steps.push(Step::Reconcile(Some((effect, fault))));
            }
        }
        steps.push(Step::Restart);
        if self.server.objects().values().any(|object| is_child(object) && is_deleting(object)) {
            steps.push(Step::Finish);
        }
        steps.extend(self.deeds.iter().filter(|deed| self.may_happen(**deed)).map(|deed| Step::Do(*deed)));
        steps
    }

    fn may_happen(&self, deed: Deed) -> bool {
        let exists = |number: usize| self.server.get(&key(number)).is_some();
        let is_orphaning = self.server.get(&parent_key()).is_some_and(is_deleting);
        match deed {
            Deed::Edit(number) | Deed::Remove(number) => exists(number),
            Deed::Take(number) => !exists(number),
            Deed::ChangeAnswer => self.server.get(&parent_key()).is_some(),
            Deed::Orphan => self.server.get(&parent_key()).is_some() && !is_orphaning,
            Deed::Collect(number) => {
                let owned = |object: &Value| observe(object).controller_uid.as_deref() == Some(OURS);
                is_orphaning && self.server.get(&key(number)).is_some_and(owned)
            }
        }
    }

    fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Deliver => self.host.deliver(&self.server, 1),
            Step::Restart => self.host = self.host.restarted(&self.server),
            Step::Finish => finish_deletions(&mut self.server),
            Step::Reconcile(fault) => {
                self.reconcile(&mut Faulty { fault, effect: 0 })?;
            }
            Step::Do(deed) => {
                self.deeds.retain(|other| *other != deed);
                self.happens(deed);
            }
        }
        for (number, uid) in &self.orphans {
            let live = self.server.get(&key(*number)).map(observe);
            let is_free =
                live.as_ref().is_some_and(|live| live.uid == *uid && live.controller_uid.is_none() && !live.deleting);
            if !is_free {
                return Err(format!("orphan {number} was deleted, or has an owner again: {live:?}"));
            }
        }
        Ok(())
    }

    fn happens(&mut self, deed: Deed) {
        match deed {
            Deed::Edit(number) => world::edit(&mut self.server, number, 9),
            Deed::Remove(number) => self.server.begin_deletion(&key(number)),
            Deed::Take(number) => set(&mut self.server, number, State::Foreign((7, 0, false))),
            Deed::ChangeAnswer => {
                // The answer follows from the request.
                self.changed = true;
                self.server.update("kubectl", &parent_key(), |parent| parent["spec"] = json!({"revision": 2}));
            }
            Deed::Orphan => {
                let Some(mut parent) = self.server.get(&parent_key()).cloned() else { return };
                parent["metadata"]["finalizers"] = json!(["orphan"]);
                self.server.store(&parent_key(), parent);
                self.server.begin_deletion(&parent_key());
            }
            Deed::Collect(number) => {
                self.server.update("kube-controller-manager", &key(number), |object| {
                    object["metadata"]["ownerReferences"] = json!([]);
                });
                if let Some(child) = self.server.get(&key(number)).map(observe).filter(|child| !child.deleting) {
                    self.orphans.insert(number, child.uid);
                }
            }
        }
    }

    /// Reconciles; returns whether the provider was called or need not be.
    fn reconcile(&mut self, schedule: &mut dyn Schedule) -> Result<bool, String> {
        let before = foreign_objects(&self.server);
        let answer = self.answer().clone();
        let provider = |_: &[u8]| answer.clone();
        let ended = self.host.reconcile(&mut self.server, &parent_uid(), &provider, schedule);
        check_trace(&self.host.trace, &[], None)?;
        check_writes(&mut self.server)?;
        let after = foreign_objects(&self.server);
        if let Some(touched) = before.iter().find(|object| !after.contains(object)) {
            return Err(format!("a foreign object was touched: {touched}"));
        }
        let has_decided =
            matches!(&ended, Outcome::Ended(report) if report.ended != bartizan_engine::reconcile::Ended::Undecided);
        if let Outcome::Crashed = ended {
            self.host = self.host.restarted(&self.server);
        }
        self.host.index.forget_tombstones();
        Ok(has_decided || matches!(ended, Outcome::NoParent) || self.server.get(&parent_key()).is_none_or(is_deleting))
    }

    /// A fair run without faults and deeds, which must end; what it ends in.
    fn fair_run(mut self) -> Result<String, String> {
        for _ in 0..ROUNDS {
            self.host.deliver(&self.server, self.server.events.len());
            finish_deletions(&mut self.server);
            self.host.deliver(&self.server, self.server.events.len());
            let events = self.server.events.len();
            let has_decided = self.reconcile(&mut InOrder)?;
            if has_decided && self.server.events.len() == events && self.host.backlog(&self.server) == 0 {
                return Ok(self.end());
            }
        }
        Err(format!("no fixed point after {ROUNDS} rounds: {}", self.end()))
    }

    /// What a fixed point looks like: which children there are, with what, and whose.
    fn end(&self) -> String {
        let child = |number: usize| {
            let object = self.server.get(&key(number))?;
            Some((number, object["data"]["content"].clone(), is_owned(&observe(object))))
        };
        format!("{:?}", (0..CHILDREN).filter_map(child).collect::<Vec<_>>())
    }

    /// The state without what differs between runs that came to the same.
    fn digest(&self) -> [u8; 32] {
        let mut names = Names::default();
        let mut text = String::new();
        let backlog = self.server.events.iter().skip(self.server.events.len() - self.host.backlog(&self.server));
        let backlog = backlog.map(|event| match event {
            WatchEvent::Applied(object) => json!(["applied", object]),
            WatchEvent::Deleted(object) => json!(["deleted", object]),
        });
        let live = self.server.objects().values().cloned();
        let keys = std::iter::once(parent_key()).chain((0..CHILDREN).map(key));
        let known = keys.clone().map(|key| self.host.index.get(&key).map_or(Value::Null, |known| known_as(known)));
        for value in live.chain(backlog).chain(known) {
            names.note(&value);
            text.push_str(&value.to_string());
            text.push('\n');
        }
        for key in keys {
            text.push_str(&self.host.remembers(&parent_uid(), &key));
        }
        text.push_str(&format!("{:?} {} {:?}", self.deeds, self.changed, self.orphans.keys()));
        sha256(names.rename(&text).as_bytes())
    }
}

/// What the host knows of an object, beside its content.
fn known_as(known: &Observed) -> Value {
    let mut value = known.value();
    value["flags"] = json!([known.applied_by_host, known.labelled_by_host, known.written_by_others_since]);
    value
}

fn is_child(object: &Value) -> bool {
    object["kind"] != "ObjectStore"
}

fn is_deleting(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some()
}

/// UIDs, resource versions and times, by their order.
#[derive(Default)]
struct Names {
    uids: Vec<String>,
    versions: Vec<u64>,
    times: Vec<String>,
}

impl Names {
    fn note(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value.as_str()) {
                        ("uid", Some(uid)) if !self.uids.iter().any(|known| known == uid) => {
                            self.uids.push(uid.to_owned())
                        }
                        ("resourceVersion", Some(version)) => self.versions.extend(version.parse::<u64>()),
                        ("time" | "deletionTimestamp", Some(time)) => self.times.push(time.to_owned()),
                        _ => self.note(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.note(item)),
            _ => {}
        }
    }

    fn rename(mut self, text: &str) -> String {
        self.versions.sort_unstable();
        self.versions.dedup();
        self.times.sort_unstable();
        self.times.dedup();
        let mut text = text.to_owned();
        for (rank, version) in self.versions.iter().enumerate() {
            text = text
                .replace(&format!("\"resourceVersion\":\"{version}\""), &format!("\"resourceVersion\":\"#{rank}\""));
        }
        for (rank, time) in self.times.iter().enumerate() {
            text = text.replace(time.as_str(), &format!("time-{rank}"));
        }
        for (rank, uid) in self.uids.iter().enumerate() {
            text = text.replace(&format!("\"{uid}\""), &format!("\"uid-{rank}\""));
        }
        text
    }
}

/// Searches a world. Prints how far it came.
fn explore(name: &str, world: World) -> Result<(), String> {
    let seconds =
        std::env::var("BARTIZAN_CLOSURE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS);
    let (started, limit) = (Instant::now(), Duration::from_secs(seconds));
    let mut seen = HashSet::from([world.digest()]);
    let mut queue = VecDeque::from([(world, Vec::<Step>::new())]);
    let (mut transitions, mut deepest, mut is_closed) = (0_u64, 0, true);
    // Once no deed is left, every run of the same answer must end alike.
    let mut ends: BTreeMap<(bool, Vec<usize>), (String, Vec<Step>)> = BTreeMap::new();
    while let Some((world, path)) = queue.pop_front() {
        if path.len() >= DEPTH || started.elapsed() >= limit {
            is_closed = false;
            break;
        }
        for step in world.steps() {
            transitions += 1;
            let (mut next, mut path) = (world.clone(), path.clone());
            path.push(step);
            if let Err(error) = next.take(step) {
                return Err(format!("{name}, depth {}: {error}\n{path:#?}", path.len()));
            }
            if !seen.insert(next.digest()) {
                continue;
            }
            deepest = deepest.max(path.len());
            match next.clone().fair_run() {
                Err(error) => return Err(format!("{name}, depth {}: {error}\n{path:#?}", path.len())),
                Ok(end) if next.deeds.is_empty() && next.orphans.is_empty() => {
                    let start = (next.changed, next.orphans.keys().copied().collect());
                    let (other, by) = ends.entry(start).or_insert_with(|| (end.clone(), path.clone()));
                    assert_eq!(*other, end, "{name}: two runs end differently:\n{by:#?}\n{path:#?}");
                }
                Ok(_) => {}
            }
            queue.push_back((next, path));
        }
    }
    let per_second = u128::from(transitions) * 1000 / started.elapsed().as_millis().max(1);
    let state = if is_closed { "all of them" } else { "as far as time or depth allowed" };
    println!("{name}: {} states, {transitions} transitions, {per_second}/s, depth {deepest} ({state})", seen.len());
    (seen.len() > 10).then_some(()).ok_or_else(|| format!("{name}: nothing was searched"))
}

fn child(content: u8, wave: u32, retain: bool) -> Option<DesiredChild> {
    Some(DesiredChild { content, wave, retain })
}

#[test]
fn creation_survives_every_fault() -> Result<(), String> {
    let answer = response(&[child(1, 0, false), child(1, 1, false)], &[]);
    let other = response(&[child(2, 0, false), child(1, 1, false)], &[]);
    explore("creation", World::new([State::Absent; 2], [answer, other], &[Deed::ChangeAnswer]))
}

#[test]
fn a_prune_beside_an_edit_a_removal_and_a_stranger_loses_nothing() -> Result<(), String> {
    let ours = State::Ours((1, 0, false));
    let (both, first) =
        (response(&[child(1, 0, false), child(1, 0, false)], &[]), response(&[child(1, 0, false), None], &[]));
    let deeds = [Deed::ChangeAnswer, Deed::Edit(1), Deed::Remove(0), Deed::Take(0)];
    explore("prune", World::new([ours, ours], [both, first], &deeds))
}

#[test]
fn an_orphaned_parent_leaves_its_children_whatever_is_seen_when() -> Result<(), String> {
    let ours = State::Ours((1, 0, false));
    let (both, changed) =
        (response(&[child(1, 0, false), child(1, 0, false)], &[]), response(&[child(2, 0, false), None], &[]));
    let deeds = [Deed::Orphan, Deed::Collect(0), Deed::Collect(1), Deed::ChangeAnswer];
    explore("orphans", World::new([ours, ours], [both, changed], &deeds))
}

#[test]
fn a_retained_child_is_adopted_once_and_a_stripped_one_comes_back() -> Result<(), String> {
    let states = [State::Retained((1, 0, true)), State::Stripped((1, 0, false))];
    let (both, first) = (
        response(&[child(1, 0, true), child(1, 0, false)], &[]),
        response(&[child(3, 0, true), child(2, 0, false)], &[]),
    );
    explore("adoption", World::new(states, [both, first], &[Deed::ChangeAnswer, Deed::Edit(0)]))
}
