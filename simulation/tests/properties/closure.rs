//! A search over all interleavings of small worlds: what each watch delivers and when, which request of a reconcile is lost, refused,
//! unanswered or the last before a crash, what others, or another host, do between two requests, and restarts, also with lists that are
//! behind. States that are the same but for UIDs, resource versions and times are visited once.
//!
//! The order is that of iterative context bounding (Musuvathi and Qadeer, PLDI 2007): first all that can happen without any
//! disturbance, however deep, then all with one, with two, and so on, until there is nothing new or time is up; then random walks go on
//! beyond. A defect is thus found with the fewest disturbances that show it.
//!
//! What must hold after each step is in `checks`; and from every state, a fair run must end in the same fixed point, in which nothing is
//! written and which the parent's status describes. `BARTIZAN_CLOSURE_SECONDS` sets how long each world may take.

mod checks;
mod cluster;
mod names;
mod steps;
mod worlds;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use cluster::Cluster;
use steps::Step;

/// Steps after which the search goes no deeper.
const DEPTH: usize = 24;
/// States that are looked at whatever time that takes, if there are as many.
const FEWEST: usize = 100;
/// Steps of a random walk.
const WALK: usize = 30;
/// How long one world may take by default.
const SECONDS: u64 = 3;

/// A state, and the steps to it.
type Reached = Rc<(Cluster, Vec<Step>)>;

/// Searches a world. Prints how far it came.
fn explore(name: &str, world: &Cluster) -> Result<(), String> {
    let seconds =
        std::env::var("BARTIZAN_CLOSURE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS);
    let limit = Duration::from_secs(seconds);
    let mut search = Search {
        name,
        started: Instant::now(),
        // A third of the time is for the walks.
        limit: limit * 2 / 3,
        seen: HashSet::new(),
        ends: BTreeMap::new(),
        transitions: 0,
        levels: Vec::new(),
    };
    let walked = match search.breadth_first(world)? {
        true => "all of them".to_owned(),
        false => format!("then {} walks of {WALK} steps", search.walks(world, limit)?),
    };
    let (transitions, levels) = (search.transitions, search.levels.join(", "));
    let per_second = u128::from(transitions) * 1000 / search.started.elapsed().as_millis().max(1);
    println!("{name}: {} states ({levels}), {transitions} transitions, {per_second}/s, {walked}", search.seen.len());
    (search.seen.len() > 10).then_some(()).ok_or_else(|| format!("{name}: nothing was searched"))
}

/// A search of one world.
struct Search<'a> {
    name: &'a str,
    started: Instant,
    limit: Duration,
    seen: HashSet<[u8; 32]>,
    /// Once no deed is left, every run of the same parents must end alike: how it ended, and after which steps.
    ends: BTreeMap<String, (String, Vec<Step>)>,
    transitions: u64,
    /// What was searched with each number of disturbances, for people.
    levels: Vec<String>,
}

impl Search<'_> {
    /// On a busy machine it takes longer, and never looks at less.
    fn is_late(&self) -> bool {
        self.started.elapsed() >= self.limit && self.seen.len() > FEWEST
    }

    /// All states by the number of disturbances before them; returns whether there are no others.
    fn breadth_first(&mut self, world: &Cluster) -> Result<bool, String> {
        let mut queue: VecDeque<Reached> = self.reach(world.clone(), Vec::new())?.into_iter().collect();
        let mut is_closed = true;
        for disturbances in 0.. {
            // First what can happen without one more disturbance, then that one.
            let (mut level, mut deepest) = (Vec::new(), 0);
            while let Some(state) = queue.pop_front() {
                if self.is_late() {
                    is_closed = false;
                    break;
                }
                if state.1.len() >= DEPTH {
                    is_closed = false;
                    continue;
                }
                deepest = deepest.max(state.1.len());
                queue.extend(self.after(&state, false)?);
                level.push(state);
            }
            let cut = if self.is_late() { "+" } else { "" };
            self.levels.push(format!("{disturbances} disturbances: {}{cut} to depth {deepest}", level.len()));
            if self.is_late() {
                return Ok(false);
            }
            for state in &level {
                if self.is_late() {
                    return Ok(false);
                }
                queue.extend(self.after(state, true)?);
            }
            if queue.is_empty() {
                break;
            }
        }
        Ok(is_closed)
    }

    /// The new states after one more step, which disturbs or does not.
    fn after(&mut self, state: &Reached, disturbs: bool) -> Result<Vec<Reached>, String> {
        let (world, path) = &**state;
        let mut reached = Vec::new();
        for step in world.steps().into_iter().filter(|step| step.disturbs() == disturbs) {
            let (next, path) = self.take(world, path, step)?;
            reached.extend(self.reach(next, path)?);
        }
        Ok(reached)
    }

    fn take(&mut self, world: &Cluster, path: &[Step], step: Step) -> Result<(Cluster, Vec<Step>), String> {
        self.transitions += 1;
        let (mut next, mut path) = (world.clone(), path.to_vec());
        path.push(step);
        match next.take(step) {
            Ok(()) => Ok((next, path)),
            Err(error) => Err(self.told(&path, &error)),
        }
    }

    /// Takes in a state, unless it is known.
    fn reach(&mut self, world: Cluster, path: Vec<Step>) -> Result<Option<Reached>, String> {
        if !self.seen.insert(world.digest()) {
            return Ok(None);
        }
        self.check(&world, &path)?;
        Ok(Some(Rc::new((world, path))))
    }

    /// A fair run from this state must end as all do.
    fn check(&mut self, world: &Cluster, path: &[Step]) -> Result<(), String> {
        let end = world.clone().fair_run().map_err(|error| self.told(path, &error))?;
        let Some(course) = world.course() else { return Ok(()) };
        let (other, by) = self.ends.entry(course).or_insert_with(|| (end.clone(), path.to_vec()));
        if *other == end {
            return Ok(());
        }
        let error = format!("it ends as {end}, and otherwise as {other} by {by:#?}");
        Err(self.told(path, &error))
    }

    /// Random walks until time is up; returns their number.
    fn walks(&mut self, world: &Cluster, limit: Duration) -> Result<usize, String> {
        let (mut walks, mut random) = (0, fastrand::Rng::with_seed(1));
        while self.started.elapsed() < limit {
            let (mut next, mut path) = (world.clone(), Vec::new());
            for _ in 0..WALK {
                // There are many more disturbances than other steps.
                let (disturbed, calm): (Vec<Step>, Vec<Step>) = next.steps().into_iter().partition(Step::disturbs);
                let steps = if random.u8(0..4) == 0 { disturbed } else { calm };
                let Some(step) = random.choice(steps) else { continue };
                (next, path) = self.take(&next, &path, step)?;
            }
            self.check(&next, &path)?;
            walks += 1;
        }
        Ok(walks)
    }

    /// What went wrong, where: `cargo xtask rig mutations` reads the beginning.
    fn told(&self, path: &[Step], error: &str) -> String {
        let disturbances = path.iter().filter(|step| step.disturbs()).count();
        format!("{}, depth {}, {disturbances} disturbances: {error}\n{path:#?}", self.name, path.len())
    }
}
