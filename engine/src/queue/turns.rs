//! Turns of namespaces: start-time fair queueing (Goyal, Vin and Cheng, 1996), with every parent of the same weight.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A parent that is due, by priority and time.
pub(super) type Position<P, K> = (P, u64, K);

/// When a namespace is next: the lowest turn goes first; since when it waits decides between equal ones.
type Turn = (u64, u64);

/// Of so many turns of a namespace, one goes to the lowest priority first.
const SHARE: u64 = 4;

/// A namespace in which parents are due.
#[derive(Debug)]
struct Line<P, K> {
    turn: Turn,
    /// How many turns it has had.
    turns: u64,
    /// By priority, each in the order of time.
    ready: BTreeMap<P, BTreeSet<(u64, K)>>,
}

impl<P: Ord, K: Ord> Line<P, K> {
    /// Its parents in the order of its next turn.
    fn iter(&self) -> impl Iterator<Item = &K> {
        let mut groups: Vec<_> = self.ready.values().collect();
        if self.turns % SHARE == SHARE - 1 {
            groups.reverse();
        }
        groups.into_iter().flatten().map(|(_, key)| key)
    }
}

/// Namespaces in which parents are due, in the order of their turns.
#[derive(Debug)]
pub(super) struct Turns<P, K> {
    lines: BTreeMap<Arc<str>, Line<P, K>>,
    order: BTreeSet<(Turn, Arc<str>)>,
    /// The turn that was taken last.
    now: u64,
    /// Namespaces in which nothing is due, and whose next turn is not yet: who comes back at once overtakes nobody.
    rested: BTreeMap<Arc<str>, u64>,
    /// How many parents are due.
    count: usize,
}

impl<P, K> Default for Turns<P, K> {
    fn default() -> Self {
        Self { lines: BTreeMap::new(), order: BTreeSet::new(), now: 0, rested: BTreeMap::new(), count: 0 }
    }
}

impl<P: Ord, K: Ord> Turns<P, K> {
    /// A parent of this namespace is due.
    pub(super) fn insert(&mut self, namespace: &Arc<str>, (priority, since, key): Position<P, K>) {
        let line = self.lines.entry(namespace.clone()).or_insert_with(|| {
            let rested = self.rested.remove(namespace).unwrap_or_default();
            let turn = (self.now.max(rested), since);
            self.order.insert((turn, namespace.clone()));
            Line { turn, turns: 0, ready: BTreeMap::new() }
        });
        if line.ready.entry(priority).or_default().insert((since, key)) {
            self.count += 1;
        }
    }

    /// It is not, any more.
    pub(super) fn remove(&mut self, namespace: &Arc<str>, (priority, since, key): Position<P, K>) {
        let Some(line) = self.lines.get_mut(namespace) else { return };
        let Some(group) = line.ready.get_mut(&priority) else { return };
        if group.remove(&(since, key)) {
            self.count -= 1;
        }
        if group.is_empty() {
            line.ready.remove(&priority);
        }
        if line.ready.is_empty() {
            self.order.remove(&(line.turn, namespace.clone()));
            if line.turn.0 > self.now {
                self.rested.insert(namespace.clone(), line.turn.0);
            }
            self.lines.remove(namespace);
        }
    }

    /// A parent of this namespace is taken: the others have their turns before its next one.
    pub(super) fn taken(&mut self, namespace: &Arc<str>, sequence: u64) {
        let Some(line) = self.lines.get_mut(namespace) else { return };
        self.order.remove(&(line.turn, namespace.clone()));
        if line.turn.0 > self.now {
            self.now = line.turn.0;
            let now = self.now;
            self.rested.retain(|_, turn| *turn > now);
        }
        line.turns += 1;
        line.turn = (self.now + 1, sequence);
        self.order.insert((line.turn, namespace.clone()));
    }

    /// The parents that are due, with their namespaces, in the order of turns.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &K)> {
        let lines = self.order.iter().filter_map(|(_, namespace)| Some((namespace, self.lines.get(namespace)?)));
        lines.flat_map(|(namespace, line)| line.iter().map(move |key| (namespace, key)))
    }

    /// How many parents are due.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.order.is_empty()
    }
}
