//! Which parents are called as usual, and which wait for one another: a tenant's parents that the provider cannot cope with must not keep
//! it from others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Called, FAULTS, Standing};

/// Who goes first among those that may start: the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// When the namespace had its turn last; 0 for parents that do not wait for one.
    turn: u64,
    standing: Standing,
}

impl Rank {
    /// Nobody goes before it.
    const FIRST: Self = Self { turn: 0, standing: Standing::Answered };
}

impl Default for Rank {
    fn default() -> Self {
        Self::FIRST
    }
}

/// How calls for the parents of one provider have ended. Those without an answer share one slot, and so do those that were never tried,
/// once several got no answer; their namespaces take turns.
#[derive(Clone, Debug)]
pub struct Trust<K> {
    answered: BTreeSet<K>,
    faulted: BTreeSet<K>,
    /// Parents that are gone without an answer, up to [`FAULTS`], since the last answers: to delete them buys no trust.
    gone: usize,
    /// The one parent of those that wait for one another that is being tried.
    trial: Option<K>,
    /// The number of trials so far.
    trials: u64,
    /// The last trial of each namespace.
    turns: BTreeMap<Arc<str>, u64>,
}

impl<K: Ord + Clone> Default for Trust<K> {
    fn default() -> Self {
        Self {
            answered: BTreeSet::new(),
            faulted: BTreeSet::new(),
            gone: 0,
            trial: None,
            trials: 0,
            turns: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Trust<K> {
    /// The standing of a parent. `vouched`: its status says that an earlier process had an answer.
    #[must_use]
    pub fn standing(&self, parent: &K, vouched: impl FnOnce() -> bool) -> Standing {
        match self.faulted.contains(parent) {
            true => Standing::Faulted,
            false if self.answered.contains(parent) || vouched() => Standing::Answered,
            false => Standing::Untried,
        }
    }

    /// Whether no parent is without an answer.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.faulted.is_empty() && self.gone == 0
    }

    /// Whether a parent got an answer from this process, and no fault since.
    #[must_use]
    pub fn has_answers(&self) -> bool {
        !self.answered.is_empty()
    }

    /// When a parent of this standing may start, compared with others; `None`: not now.
    #[must_use]
    pub fn rank(&self, standing: Standing, namespace: &str) -> Option<Rank> {
        if !self.waits(standing) {
            return Some(Rank::FIRST);
        }
        let turn = self.turns.get(namespace).copied().unwrap_or_default();
        // After those that do not wait.
        self.trial.is_none().then_some(Rank { turn: turn + 1, standing })
    }

    /// The reconcile of a parent starts.
    pub fn begin(&mut self, parent: &K, standing: Standing, namespace: &str) {
        if self.waits(standing) {
            self.trial = Some(parent.clone());
            self.trials += 1;
            self.turns.insert(namespace.into(), self.trials);
        }
    }

    /// The reconcile of a parent ended.
    pub fn end(&mut self, parent: &K, called: &Called) {
        if self.trial.as_ref() == Some(parent) {
            self.trial = None;
        }
        match called {
            Called::No => {}
            Called::Answered => {
                self.faulted.remove(parent);
                self.answered.insert(parent.clone());
                self.gone = self.gone.saturating_sub(1);
                if self.faulted.is_empty() {
                    self.turns.clear();
                }
            }
            Called::Faulted(_) => {
                self.answered.remove(parent);
                self.faulted.insert(parent.clone());
            }
        }
    }

    /// The parent is gone.
    pub fn forget(&mut self, parent: &K) {
        self.answered.remove(parent);
        if self.faulted.remove(parent) {
            self.gone = (self.gone + 1).min(FAULTS);
        }
    }

    fn waits(&self, standing: Standing) -> bool {
        match standing {
            Standing::Answered => false,
            Standing::Untried => self.faulted.len() + self.gone >= FAULTS,
            Standing::Faulted => true,
        }
    }
}
