//! Work queue of parents: events are merged per parent, one reconcile per parent is in flight (invariant 2), and each parent backs off by
//! itself (invariant 7). Edits go before the rest, and in a namespace events of children before resyncs, but for every fourth parent, so that
//! nothing waits for ever; among edits, and among the rest, namespaces take turns, so that one with ten thousand parents keeps nobody else
//! waiting. No clock: the caller passes the time.

mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use turns::Turns;

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
        /// Longest backoff, if that is less than [`BACKOFF_MAX`].
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
    /// Since when it was due, as it was taken last.
    due_since: Option<Instant>,
    failures: u32,
    not_before: Option<Instant>,
    /// Forgotten while in flight: dropped when that ends, unless it is touched again.
    forgotten: bool,
    /// In flight before its backoff ended, since the parent was edited: if that fails, the backoff stays as it is.
    early: bool,
}

impl Entry {
    fn new(namespace: Arc<str>) -> Self {
        Self {
            namespace,
            state: State::Idle,
            due_since: None,
            failures: 0,
            not_before: None,
            forgotten: false,
            early: false,
        }
    }
}

/// Of so many parents that are taken, one is not an edit if others wait.
const SHARE: u64 = 4;

/// A queue of keys (parents) of namespaces.
#[derive(Debug)]
pub struct Queue<K> {
    entries: BTreeMap<K, Entry>,
    edits: Turns<Priority, K>,
    others: Turns<Priority, K>,
    /// How many parents were taken.
    taken: u64,
    delayed: BTreeSet<(Instant, K)>,
    sequence: u64,
}

impl<K: Ord + Clone> Default for Queue<K> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            edits: Turns::default(),
            others: Turns::default(),
            taken: 0,
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
                None => self.enqueue(key, priority, now),
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
            self.enqueue(&key, priority, at);
        }
        let (edits, others) = (Priority::Edit, Priority::Child);
        let order = if self.taken % SHARE == SHARE - 1 { [others, edits] } else { [edits, others] };
        let mut best: Option<(R, Priority, &Arc<str>, &K)> = None;
        let due = order.iter().flat_map(|which| self.turns(*which).iter().map(|(name, key)| (*which, name, key)));
        for (which, namespace, key) in due {
            let Some(rank) = rank(key) else { continue };
            if best.as_ref().is_none_or(|(lowest, ..)| rank < *lowest) {
                let is_lowest = rank == R::default();
                best = Some((rank, which, namespace, key));
                if is_lowest {
                    break;
                }
            }
        }
        let (which, namespace, key) = best.map(|(_, which, namespace, key)| (which, namespace.clone(), key.clone()))?;
        self.sequence += 1;
        self.taken += 1;
        let sequence = self.sequence;
        self.turns_mut(which).taken(&namespace, sequence);
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
                    (Some(priority), _) => self.enqueue(key, priority, now),
                    (None, Some(after)) => self.set(key, State::Delayed(now + after, Priority::Resync)),
                    (None, None) => self.set(key, State::Idle),
                }
            }
            Finished::Again { after } => match again {
                Some(priority) => self.enqueue(key, priority, now),
                None => self.set(key, State::Delayed(now + after, Priority::Child)),
            },
            Finished::Retry { after, most } => {
                let waits = entry.not_before.filter(|at| entry.early && *at > now);
                if waits.is_none() {
                    entry.failures = entry.failures.saturating_add(1);
                }
                let at = waits.map_or_else(|| now + backoff(entry.failures, jitter).min(most), |at| at.min(now + most));
                let at = after.map_or(at, |after| at.max(now + after.mul_f64(1.0 + 0.5 * jitter)));
                self.retry(key, again, at, now);
            }
            Finished::RetryAfter(after) => {
                if !(entry.early && entry.not_before.is_some_and(|at| at > now)) {
                    entry.failures = entry.failures.saturating_add(1);
                }
                self.retry(key, again, now + after, now);
            }
        }
    }

    fn retry(&mut self, key: &K, again: Option<Priority>, at: Instant, now: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.not_before = Some(at);
        }
        match again {
            Some(Priority::Edit) => self.enqueue(key, Priority::Edit, now),
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

    /// Since when this parent was due before it was taken, or has been since.
    #[must_use]
    pub fn due_since(&self, key: &K) -> Option<Instant> {
        self.entries.get(key)?.due_since
    }

    /// How many parents are due and not in flight.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.edits.len() + self.others.len()
    }

    /// How many failures in a row this parent has.
    #[must_use]
    pub fn failures(&self, key: &K) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.failures)
    }

    fn turns(&self, priority: Priority) -> &Turns<Priority, K> {
        if priority == Priority::Edit { &self.edits } else { &self.others }
    }

    fn turns_mut(&mut self, priority: Priority) -> &mut Turns<Priority, K> {
        if priority == Priority::Edit { &mut self.edits } else { &mut self.others }
    }

    /// It is due, since this time; one that is due already with less priority stays due since then.
    fn enqueue(&mut self, key: &K, priority: Priority, since: Instant) {
        self.sequence += 1;
        if let Some(entry) = self.entries.get_mut(key) {
            let was_due = entry.due_since.filter(|_| matches!(entry.state, State::Ready(..)));
            entry.due_since = Some(was_due.unwrap_or(since));
        }
        self.set(key, State::Ready(priority, self.sequence));
    }

    fn set(&mut self, key: &K, state: State) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let (before, namespace) = (std::mem::replace(&mut entry.state, state), entry.namespace.clone());
        if let State::Delayed(at, _) = before {
            self.delayed.remove(&(at, key.clone()));
        }
        match state {
            State::Ready(priority, sequence) => {
                self.turns_mut(priority).insert(&namespace, (priority, sequence, key.clone()));
            }
            State::Delayed(at, _) => {
                self.delayed.insert((at, key.clone()));
            }
            State::Idle | State::Running(_) => {}
        }
        // Last, so that a namespace does not lose its turn in between.
        if let State::Ready(priority, sequence) = before {
            self.turns_mut(priority).remove(&namespace, (priority, sequence, key.clone()));
        }
    }
}

fn backoff(failures: u32, jitter: f64) -> Duration {
    let doubled = BACKOFF_BASE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_MAX);
    doubled.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
