//! Work queue of parents: events are merged per parent, one reconcile per parent is in flight (invariant 2), and each parent backs off by
//! itself (invariant 7). Namespaces take turns, so that one with ten thousand parents keeps nobody else waiting (start-time fair queueing;
//! Goyal, Vin and Cheng, 1996), and within a namespace edits go before events of children and those before resyncs. No clock: the caller
//! passes the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a parent is due. The lowest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// The parent was edited.
    Edit,
    /// A child or another observed object changed.
    Child,
    /// A timer.
    Resync,
}

/// How a reconcile ended, as far as it concerns the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It succeeded; the parent is due again after the given time, if any.
    Done {
        /// Time until the next resync.
        resync: Option<Duration>,
    },
    /// It lost a race, which is no failure; the parent is due again after the given time, or as soon as something changes.
    Again {
        /// Time until the next try.
        after: Duration,
    },
    /// It failed; the parent is due again after the backoff.
    Retry {
        /// The delay that the API server requested: no sooner. It does not end the backoff, or who always asks for a second would be asked
        /// each second for ever.
        after: Option<Duration>,
        /// Longest backoff, in addition to [`BACKOFF_MAX`].
        most: Duration,
    },
    /// It failed; the parent is due again after the time that the provider requested, which knows what it waits for.
    RetryAfter(Duration),
}

/// First delay of the exponential backoff; doubles with each failure in a row.
pub const BACKOFF_BASE: Duration = Duration::from_millis(250);
/// Longest delay of the backoff: a parent that always fails costs one call in five minutes.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing to do.
    Idle,
    /// Due now, with its position in its namespace.
    Ready(Priority, u64),
    /// Due at this time.
    Delayed(Instant, Priority),
    /// In flight; due again with this priority when it ends.
    Running(Option<Priority>),
}

#[derive(Debug)]
struct Entry {
    namespace: Arc<str>,
    state: State,
    failures: u32,
    not_before: Option<Instant>,
    /// Forgotten while in flight: dropped when that ends, unless it is touched again.
    forgotten: bool,
    /// In flight before its backoff ended, since the parent was edited: if that fails, the backoff stays as it is.
    early: bool,
}

impl Entry {
    fn new(namespace: Arc<str>) -> Self {
        Self { namespace, state: State::Idle, failures: 0, not_before: None, forgotten: false, early: false }
    }
}

/// A namespace in which parents are due.
#[derive(Debug)]
struct Line<K> {
    /// Its turn: the lowest goes next. Since when it waits decides between equal ones.
    turn: (u64, u64),
    /// Its parents that are due, by priority and time.
    ready: BTreeSet<(Priority, u64, K)>,
}

/// A queue of keys (parents) of namespaces.
#[derive(Debug)]
pub struct Queue<K> {
    entries: BTreeMap<K, Entry>,
    lines: BTreeMap<Arc<str>, Line<K>>,
    /// The namespaces of `lines` by their turns.
    turns: BTreeSet<((u64, u64), Arc<str>)>,
    /// The turn that was taken last.
    turn: u64,
    delayed: BTreeSet<(Instant, K)>,
    sequence: u64,
}

impl<K: Ord + Clone> Default for Queue<K> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            lines: BTreeMap::new(),
            turns: BTreeSet::new(),
            turn: 0,
            delayed: BTreeSet::new(),
            sequence: 0,
        }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// Something changed for this parent of a namespace (an empty one if it is cluster-scoped). While it backs off, only an edit makes it
    /// due at once: other events neither reset the backoff nor use up an attempt.
    pub fn touch(&mut self, key: &K, namespace: &str, priority: Priority, now: Instant) {
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(namespace.into()));
        let (state, not_before) = (entry.state, entry.not_before);
        match state {
            State::Running(again) => {
                entry.forgotten = false;
                let again = again.map_or(priority, |other| other.min(priority));
                self.set(key, State::Running(Some(again)));
            }
            State::Ready(waiting, _) if waiting <= priority => {}
            _ => match not_before.filter(|at| *at > now && priority != Priority::Edit) {
                Some(at) => {
                    // An attempt that is due earlier, as after a lost race, stays.
                    let (at, priority) = match state {
                        State::Delayed(due, other) => (due.min(at), other.min(priority)),
                        _ => (at, priority),
                    };
                    self.set(key, State::Delayed(at, priority));
                }
                None => self.enqueue(key, priority),
            },
        }
    }

    /// Takes the next parent that is due; it is in flight from now on.
    pub fn take(&mut self, now: Instant) -> Option<K> {
        self.take_by(now, |_| Some(()))
    }

    /// Takes the parent that is due, may start, and has the lowest rank, of several the next one. Those that may not start (`None`) keep
    /// their position. The default rank is the lowest that there is: behind a parent that has it, nobody is looked at.
    pub fn take_by<R: Ord + Default>(&mut self, now: Instant, mut rank: impl FnMut(&K) -> Option<R>) -> Option<K> {
        while let Some((at, key)) = self.delayed.first().cloned()
            && at <= now
        {
            let priority = match self.entries.get(&key).map(|entry| entry.state) {
                Some(State::Delayed(_, priority)) => priority,
                _ => Priority::Resync,
            };
            self.enqueue(&key, priority);
        }
        let mut best: Option<(R, &Arc<str>, &K)> = None;
        let lines = self.turns.iter().filter_map(|(_, namespace)| Some((namespace, self.lines.get(namespace)?)));
        for (namespace, key) in lines.flat_map(|(name, line)| line.ready.iter().map(move |(_, _, key)| (name, key))) {
            let Some(rank) = rank(key) else { continue };
            if best.as_ref().is_none_or(|(lowest, ..)| rank < *lowest) {
                let is_lowest = rank == R::default();
                best = Some((rank, namespace, key));
                if is_lowest {
                    break;
                }
            }
        }
        let (namespace, key) = best.map(|(_, namespace, key)| (namespace.clone(), key.clone()))?;
        self.take_turn(&namespace);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.early = entry.not_before.is_some_and(|at| at > now);
        }
        self.set(&key, State::Running(None));
        Some(key)
    }

    /// The reconcile of this parent ended. `jitter`, from 0 to 1, spreads retries between half the delay of the backoff and the whole, and
    /// between the delay that the API server requested and half as much again.
    pub fn finish(&mut self, key: &K, finished: Finished, now: Instant, jitter: f64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let again = match entry.state {
            State::Running(again) => again,
            _ => return,
        };
        if entry.forgotten {
            self.entries.remove(key);
            return;
        }
        match finished {
            Finished::Done { resync } => {
                entry.failures = 0;
                entry.not_before = None;
                match (again, resync) {
                    (Some(priority), _) => self.enqueue(key, priority),
                    (None, Some(after)) => self.set(key, State::Delayed(now + after, Priority::Resync)),
                    (None, None) => self.set(key, State::Idle),
                }
            }
            Finished::Again { after } => match again {
                Some(priority) => self.enqueue(key, priority),
                None => self.set(key, State::Delayed(now + after, Priority::Child)),
            },
            Finished::Retry { after, most } => {
                let waits = entry.not_before.filter(|at| entry.early && *at > now);
                if waits.is_none() {
                    entry.failures = entry.failures.saturating_add(1);
                }
                let at = waits.unwrap_or_else(|| now + backoff(entry.failures, jitter).min(most));
                let at = after.map_or(at, |after| at.max(now + after.mul_f64(1.0 + 0.5 * jitter)));
                self.retry(key, again, at);
            }
            Finished::RetryAfter(after) => {
                entry.failures = entry.failures.saturating_add(1);
                self.retry(key, again, now + after);
            }
        }
    }

    fn retry(&mut self, key: &K, again: Option<Priority>, at: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.not_before = Some(at);
        }
        match again {
            Some(Priority::Edit) => self.enqueue(key, Priority::Edit),
            other => self.set(key, State::Delayed(at, other.unwrap_or(Priority::Resync))),
        }
    }

    /// This parent was deleted. If it is in flight, its result is ignored.
    pub fn forget(&mut self, key: &K) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if matches!(entry.state, State::Running(_)) {
            let namespace = entry.namespace.clone();
            *entry = Entry { state: State::Running(None), forgotten: true, ..Entry::new(namespace) };
        } else {
            self.set(key, State::Idle);
            self.entries.remove(key);
        }
    }

    /// When the next delayed parent is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// When this parent is due without another event; `None` if it is due now, in flight, or waits for an event.
    #[must_use]
    pub fn due(&self, key: &K) -> Option<Instant> {
        match self.entries.get(key)?.state {
            State::Delayed(at, _) => Some(at),
            _ => None,
        }
    }

    /// How many parents are due and not in flight.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lines.values().map(|line| line.ready.len()).sum()
    }

    /// How many failures in a row this parent has.
    #[must_use]
    pub fn failures(&self, key: &K) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.failures)
    }

    /// A parent of this namespace is taken: the others have their turns before its next one.
    fn take_turn(&mut self, namespace: &Arc<str>) {
        self.sequence += 1;
        let Some(line) = self.lines.get_mut(namespace) else { return };
        self.turns.remove(&(line.turn, namespace.clone()));
        self.turn = self.turn.max(line.turn.0);
        line.turn = (self.turn + 1, self.sequence);
        self.turns.insert((line.turn, namespace.clone()));
    }

    fn make_ready(&mut self, namespace: &Arc<str>, position: (Priority, u64, K)) {
        let (lines, turns, turn) = (&mut self.lines, &mut self.turns, (self.turn, self.sequence));
        let line = lines.entry(namespace.clone()).or_insert_with(|| {
            turns.insert((turn, namespace.clone()));
            Line { turn, ready: BTreeSet::new() }
        });
        line.ready.insert(position);
    }

    fn no_longer_ready(&mut self, namespace: &Arc<str>, position: &(Priority, u64, K)) {
        let Some(line) = self.lines.get_mut(namespace) else { return };
        line.ready.remove(position);
        if line.ready.is_empty() {
            self.turns.remove(&(line.turn, namespace.clone()));
            self.lines.remove(namespace);
        }
    }

    fn enqueue(&mut self, key: &K, priority: Priority) {
        self.sequence += 1;
        self.set(key, State::Ready(priority, self.sequence));
    }

    fn set(&mut self, key: &K, state: State) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (before, namespace) = (std::mem::replace(&mut entry.state, state), entry.namespace.clone());
        match before {
            State::Ready(priority, sequence) => self.no_longer_ready(&namespace, &(priority, sequence, key.clone())),
            State::Delayed(at, _) => {
                self.delayed.remove(&(at, key.clone()));
            }
            State::Idle | State::Running(_) => {}
        }
        match state {
            State::Ready(priority, sequence) => self.make_ready(&namespace, (priority, sequence, key.clone())),
            State::Delayed(at, _) => {
                self.delayed.insert((at, key.clone()));
            }
            State::Idle | State::Running(_) => {}
        }
    }
}

fn backoff(failures: u32, jitter: f64) -> Duration {
    let doubled = BACKOFF_BASE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_MAX);
    doubled.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
