//! Families whose series end with their Provider, or a deleted Provider would be scraped, and alerted on, for ever.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::Labels;

/// A family, and which series it has: a family itself cannot be asked.
pub(super) struct Series<S, M> {
    family: Family<S, M, fn() -> M>,
    known: Arc<Mutex<BTreeSet<S>>>,
}

impl<S: Clone + Hash + Eq + Ord + Labels, M: Clone> Series<S, M> {
    fn known(&self) -> MutexGuard<'_, BTreeSet<S>> {
        // A panic leaves a valid set.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut known = self.known();
        known.remove(labels);
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
        self.retain(|_| false);
    }
}

/// Ends the series of Providers that are not to be kept.
type End = Box<dyn Fn(&dyn Fn(&str) -> bool) + Send + Sync>;

/// All families of Providers: each is registered, and ends with its Provider.
#[derive(Default)]
pub(super) struct OfProviders {
    ends: Vec<End>,
}

impl OfProviders {
    /// A family whose metrics are made by `constructor`.
    pub(super) fn add<S, M>(
        &mut self,
        registry: &mut Registry,
        name: &str,
        help: &str,
        constructor: fn() -> M,
    ) -> Series<S, M>
    where
        S: Clone + Hash + Eq + Ord + Labels + EncodeLabelSet + Debug + Send + Sync + 'static,
        M: Clone + EncodeMetric + TypedMetric + Debug + Send + Sync + 'static,
    {
        let (family, known) = (Family::new_with_constructor(constructor), Arc::<Mutex<BTreeSet<S>>>::default());
        registry.register(name, help, family.clone());
        let ending = Series { family: family.clone(), known: known.clone() };
        self.ends.push(Box::new(move |keep| ending.retain(|labels| keep(labels.provider()))));
        Series { family, known }
    }

    /// Ends all series of Providers that are not to be kept.
    pub(super) fn retain(&self, keep: &dyn Fn(&str) -> bool) {
        self.ends.iter().for_each(|end| end(keep));
    }
}
