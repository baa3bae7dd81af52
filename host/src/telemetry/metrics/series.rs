//! Families whose series end with their Provider, or a deleted Provider would be scraped, and alerted on, for ever.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::family::{Family, MetricConstructor};

use super::labels::Labels;

/// A family, and which series it has: a family itself cannot be asked.
pub(super) struct Series<S, M, C = fn() -> M> {
    family: Family<S, M, C>,
    known: Mutex<BTreeSet<S>>,
}

impl<S: Clone + Hash + Eq, M: Default> Default for Series<S, M> {
    fn default() -> Self {
        Self::new(M::default)
    }
}

impl<S: Clone + Hash + Eq, M, C> Series<S, M, C> {
    /// A family whose metrics are made by `constructor`.
    pub(super) fn new(constructor: C) -> Self {
        Self { family: Family::new_with_constructor(constructor), known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<S>> {
        // A panic leaves a valid set.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Clone + Hash + Eq + Ord + Labels, M: Clone, C: Clone + MetricConstructor<M>> Series<S, M, C> {
    /// The family, to be registered.
    pub(super) fn family(&self) -> Family<S, M, C> {
        self.family.clone()
    }

    /// The metric with these labels.
    pub(super) fn of(&self, labels: &S) -> M {
        let mut known = self.known();
        if !known.contains(labels) {
            known.insert(labels.clone());
        }
        self.family.get_or_create_owned(labels)
    }

    /// Ends one series.
    pub(super) fn end(&self, labels: &S) {
        self.known().remove(labels);
        self.family.remove(labels);
    }

    /// Ends the series that are not to be kept.
    pub(super) fn retain(&self, keep: impl Fn(&S) -> bool) {
        self.known().retain(|labels| {
            let is_kept = keep(labels);
            if !is_kept {
                self.family.remove(labels);
            }
            is_kept
        });
    }

    /// Ends the series of a Provider.
    pub(super) fn forget(&self, provider: &str) {
        self.retain(|labels| labels.provider() != provider);
    }

    /// Ends all series.
    pub(super) fn clear(&self) {
        self.known().clear();
        self.family.clear();
    }
}
