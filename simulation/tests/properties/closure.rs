//! A search over all interleavings of small worlds: what each watch delivers and when, which request of a reconcile is lost, refused,
//! unanswered or the last before a crash, what others, or another host, do between two requests, and restarts, also with lists that are
//! behind. States that are the same but for UIDs, resource versions and times are visited once, breadth first, until there are no new
//! ones, the stated depth is reached, or time is up; then random walks go on beyond.
//!
//! What is checked: nothing is touched that is not owned; no write to a state that was not observed; nothing is pruned before its time; no
//! orphan is deleted or gets its owner back; what is retained, handed over or full of data is never deleted; and from every state, a fair
//! run ends in the same fixed point, in which nothing is written. `BARTIZAN_CLOSURE_SECONDS` sets how long each world may take.

mod cluster;
mod names;
mod steps;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bartizan_contract::{OnImmutableChange, ReconcileResponse};
use serde_json::json;

use crate::world::{DesiredChild, PROVIDER, SUCCESSOR, State, response};
use cluster::Cluster;
use steps::{Deed, Step};

/// Steps after which the search breadth first ends.
const DEPTH: usize = 12;
/// States that are looked at whatever time that takes, if there are as many.
const FEWEST: usize = 100;
/// Steps of a random walk.
const WALK: usize = 30;
/// How long one world may take by default.
const SECONDS: u64 = 5;

/// Searches a world. Prints how far it came.
fn explore(name: &str, world: &Cluster) -> Result<(), String> {
    let seconds =
        std::env::var("BARTIZAN_CLOSURE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS);
    let (started, limit) = (Instant::now(), Duration::from_secs(seconds));
    let mut seen = HashSet::from([world.digest()]);
    let mut queue = VecDeque::from([(world.clone(), Vec::<Step>::new())]);
    let (mut transitions, mut deepest, mut is_closed) = (0_u64, 0, true);
    // Once no deed is left, every run of the same parents must end alike.
    let mut ends: BTreeMap<String, (String, Vec<Step>)> = BTreeMap::new();
    let mut check = |next: &Cluster, path: &[Step]| {
        let end = next.clone().fair_run().map_err(|error| told(name, path, &error))?;
        let Some(course) = next.course() else { return Ok(()) };
        let (other, by) = ends.entry(course).or_insert_with(|| (end.clone(), path.to_vec()));
        if *other == end {
            return Ok(());
        }
        Err(told(name, path, &format!("it ends as {end}, and otherwise as {other} by {by:#?}")))
    };
    while let Some((world, path)) = queue.pop_front() {
        // A third of the time is for the walks. On a busy machine it takes longer, and never looks at less.
        let is_time_up = started.elapsed() >= limit * 2 / 3 && seen.len() > FEWEST;
        if path.len() >= DEPTH || is_time_up {
            is_closed = false;
            break;
        }
        for step in world.steps() {
            transitions += 1;
            let (mut next, mut path) = (world.clone(), path.clone());
            path.push(step);
            next.take(step).map_err(|error| told(name, &path, &error))?;
            if !seen.insert(next.digest()) {
                continue;
            }
            deepest = deepest.max(path.len());
            check(&next, &path)?;
            queue.push_back((next, path));
        }
    }
    let (mut walks, mut random) = (0, fastrand::Rng::with_seed(1));
    while !is_closed && started.elapsed() < limit {
        let (mut next, mut path) = (world.clone(), Vec::new());
        for _ in 0..WALK {
            let steps = next.steps();
            let Some(step) = random.choice(&steps).copied() else { break };
            path.push(step);
            transitions += 1;
            next.take(step).map_err(|error| told(name, &path, &error))?;
        }
        check(&next, &path)?;
        walks += 1;
    }
    let per_second = u128::from(transitions) * 1000 / started.elapsed().as_millis().max(1);
    let state = if is_closed { "all of them".to_owned() } else { format!("then {walks} walks of {WALK} steps") };
    println!("{name}: {} states, {transitions} transitions, {per_second}/s, depth {deepest}, {state}", seen.len());
    (seen.len() > 10).then_some(()).ok_or_else(|| format!("{name}: nothing was searched"))
}

fn told(name: &str, path: &[Step], error: &str) -> String {
    format!("{name}, depth {}: {error}\n{path:#?}", path.len())
}

fn child(content: u8, wave: u32, retain: bool) -> Option<DesiredChild> {
    Some(DesiredChild { content, wave, retain })
}

fn ours(content: u8) -> State {
    State::Ours((content, 0, false))
}

/// Two children of these contents, in one wave.
fn both(first: u8, second: u8) -> ReconcileResponse {
    response(&[child(first, 0, false), child(second, 0, false)], &[])
}

/// The first child alone.
fn first(content: u8) -> ReconcileResponse {
    response(&[child(content, 0, false), None], &[])
}

#[test]
fn creation_survives_every_fault() -> Result<(), String> {
    let answer = response(&[child(1, 0, false), child(1, 1, false)], &[]);
    let other = response(&[child(2, 0, false), child(1, 1, false)], &[]);
    explore("creation", &Cluster::new([State::Absent; 2], [answer, other], &[Deed::ChangeAnswer]))
}

#[test]
fn a_prune_beside_an_edit_a_removal_and_a_stranger_loses_nothing() -> Result<(), String> {
    let deeds = [Deed::ChangeAnswer, Deed::Edit(1), Deed::Remove(0), Deed::Take(0)];
    explore("prune", &Cluster::new([ours(1), ours(1)], [both(1, 1), first(1)], &deeds))
}

#[test]
fn an_orphaned_parent_leaves_its_children_whatever_is_seen_when() -> Result<(), String> {
    let deeds = [Deed::Orphan, Deed::Collect(0), Deed::Collect(1), Deed::ChangeAnswer];
    explore("orphans", &Cluster::new([ours(1), ours(1)], [both(1, 1), first(2)], &deeds))
}

#[test]
fn a_retained_child_is_adopted_once_and_a_stripped_one_comes_back() -> Result<(), String> {
    let states = [State::Retained((1, 0, true)), State::Stripped((1, 0, false))];
    let answers = [
        response(&[child(1, 0, true), child(1, 0, false)], &[]),
        response(&[child(3, 0, true), child(2, 0, false)], &[]),
    ];
    explore("adoption", &Cluster::new(states, answers, &[Deed::ChangeAnswer, Deed::Edit(0)]))
}

#[test]
fn two_hosts_at_once_do_no_harm() -> Result<(), String> {
    let mut cluster =
        Cluster::new([ours(1), State::Absent], [both(1, 1), first(2)], &[Deed::ChangeAnswer, Deed::Edit(0)]);
    cluster.add(PROVIDER);
    explore("two hosts", &cluster.treasuring(0))
}

#[test]
fn two_hosts_with_two_versions_do_no_harm() -> Result<(), String> {
    let mut cluster = Cluster::new([ours(1), ours(1)], [both(1, 1), both(2, 2)], &[Deed::Upgrade(1), Deed::Remove(1)]);
    cluster.add(PROVIDER);
    explore("two versions", &cluster.treasuring(0))
}

#[test]
fn an_upgrade_that_prunes_waits_for_what_it_keeps() -> Result<(), String> {
    let deeds = [Deed::Upgrade(0), Deed::Remove(0), Deed::Edit(0)];
    explore("upgrade", &Cluster::new([ours(1), ours(1)], [both(1, 1), first(2)], &deeds))
}

#[test]
fn a_hand_over_deletes_nothing_whoever_learns_of_it_first() -> Result<(), String> {
    let deeds = [Deed::HandOver(0), Deed::HandOver(1), Deed::Edit(1)];
    let mut cluster = Cluster::new([ours(1), ours(1)], [both(1, 1), both(1, 1)], &deeds);
    cluster.add(SUCCESSOR);
    let successor = bartizan_engine::snapshot::Left { successor: Some(PROVIDER.to_owned()) };
    cluster.sites[1].host.left = Some(successor);
    explore("hand-over", &cluster.treasuring(0).treasuring(1))
}

#[test]
fn a_deletion_keeps_what_is_retained() -> Result<(), String> {
    let states = [State::Ours((1, 0, true)), ours(1)];
    let answer = || response(&[child(1, 0, true), child(1, 0, false)], &[]);
    let deeds = [Deed::Delete, Deed::Edit(1), Deed::Remove(1)];
    explore("deletion", &Cluster::new(states, [answer(), answer()], &deeds).finalizing().treasuring(0))
}

#[test]
fn a_foreground_deletion_ends() -> Result<(), String> {
    let deeds = [Deed::DeleteForeground, Deed::Edit(1), Deed::ChangeAnswer];
    explore("foreground", &Cluster::new([ours(1), ours(1)], [both(1, 1), first(2)], &deeds))
}

#[test]
fn two_parents_never_share_a_child() -> Result<(), String> {
    let cluster = Cluster::new([ours(1), State::Absent], [both(1, 1), both(1, 1)], &[Deed::Edit(0)]);
    explore("two parents", &cluster.with_two_parents().treasuring(0))
}

#[test]
fn nothing_is_recreated_that_a_quota_would_keep_out() -> Result<(), String> {
    let recreated = |content| {
        let mut answer = both(content, 1);
        answer.children[0].object["immutable"] = true.into();
        answer.children[0].on_immutable_change = OnImmutableChange::Recreate;
        answer
    };
    let mut cluster =
        Cluster::new([State::Absent, ours(1)], [recreated(1), recreated(2)], &[Deed::ChangeAnswer, Deed::LiftQuota]);
    cluster.server.quota = Some(2);
    explore("quota", &cluster)
}

#[test]
fn what_the_api_server_makes_of_a_child_is_written_once() -> Result<(), String> {
    let pruned = |content| {
        let mut answer = both(content, 1);
        answer.children[0].object["data"]["pruned"] = json!("x");
        answer
    };
    let mut cluster =
        Cluster::new([State::Absent, ours(1)], [pruned(1), pruned(2)], &[Deed::ChangeAnswer, Deed::Edit(0)]);
    cluster.server.mutates = true;
    explore("schema", &cluster)
}
