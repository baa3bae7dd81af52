//! Turns of namespaces: start-time fair queueing (Goyal, Vin and Cheng, 1996), with every parent of the same weight.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A parent that is due, by priority and time.
pub(super) type Position<P, K> = (P, u64, K);

/// When a namespace is next: the lowest turn goes first; since when it waits decides between equal ones.
type Turn = (u64, u64);

/// A namespace in which parents are due.
#[derive(Debug)]
struct Line<P, K> {
    turn: Turn,
    ready: BTreeSet<Position<P, K>>,
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
}

impl<P, K> Default for Turns<P, K> {
    fn default() -> Self {
        Self { lines: BTreeMap::new(), order: BTreeSet::new(), now: 0, rested: BTreeMap::new() }
    }
}

impl<P: Ord, K: Ord> Turns<P, K> {
    /// A parent of this namespace is due.
    pub(super) fn insert(&mut self, namespace: &Arc<str>, position: Position<P, K>) {
        if let Some(line) = self.lines.get_mut(namespace) {
            line.ready.insert(position);
            return;
        }
        let rested = self.rested.remove(namespace).unwrap_or_default();
        let turn = (self.now.max(rested), position.1);
        self.order.insert((turn, namespace.clone()));
        self.lines.insert(namespace.clone(), Line { turn, ready: BTreeSet::from([position]) });
    }

    /// It is not, any more.
    pub(super) fn remove(&mut self, namespace: &Arc<str>, position: &Position<P, K>) {
        let Some(line) = self.lines.get_mut(namespace) else { return };
        line.ready.remove(position);
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
        line.turn = (self.now + 1, sequence);
        self.order.insert((line.turn, namespace.clone()));
    }

    /// The parents that are due, with their namespaces, in the order of turns.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &K)> {
        let lines = self.order.iter().filter_map(|(_, namespace)| Some((namespace, self.lines.get(namespace)?)));
        lines.flat_map(|(namespace, line)| line.ready.iter().map(move |(_, _, key)| (namespace, key)))
    }

    /// How many parents are due.
    pub(super) fn len(&self) -> usize {
        self.lines.values().map(|line| line.ready.len()).sum()
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.order.is_empty()
    }
}
