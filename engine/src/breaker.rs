//! When a provider is not asked for a while: a provider that crashes, loops or eats memory for every parent trips its own
//! breaker, and is then asked for one parent at a time until it answers (invariant 7). No clock: the caller says what time it is.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// So many different parents in a row got no answer. One alone never opens a breaker: it backs off alone.
pub const FAULTS: usize = 5;
/// Time until the provider is tried again; doubles each time that fails.
pub const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest time until the provider is tried again.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What came of a reconcile, as far as the breaker is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// The provider was not asked, or whatever happened is not its fault.
    No,
    /// It answered; a failure is an answer, too.
    Answered,
    /// It crashed, ran out of time or out of memory, and what is said of that.
    Faulted(String),
}

#[derive(Clone, Debug)]
enum State<K> {
    /// It is asked. Parents that got no answer since the last that did.
    Closed(BTreeSet<K>),
    /// It is not asked before then.
    Open { until: Instant },
    /// It is asked for one parent.
    HalfOpen { probe: K },
}

/// The breaker of one provider, for one sort of calls.
#[derive(Clone, Debug)]
pub struct Breaker<K> {
    state: State<K>,
    pause: Duration,
    fault: String,
}

impl<K: Ord + Clone> Default for Breaker<K> {
    fn default() -> Self {
        Self { state: State::Closed(BTreeSet::new()), pause: FIRST_PAUSE, fault: String::new() }
    }
}

impl<K: Ord + Clone> Breaker<K> {
    /// Whether the provider may be asked for some parent now.
    #[must_use]
    pub fn admits(&self, now: Instant) -> bool {
        match &self.state {
            State::Closed(_) => true,
            State::Open { until } => *until <= now,
            State::HalfOpen { .. } => false,
        }
    }

    /// A parent is begun that the breaker admits: if it is the first after a pause, all others wait for its end.
    pub fn begin(&mut self, parent: &K, now: Instant) {
        if let State::Open { until } = self.state
            && until <= now
        {
            self.state = State::HalfOpen { probe: parent.clone() };
        }
    }

    /// A reconcile of a parent ended. What was begun before the breaker opened says nothing new, unless it was answered.
    pub fn end(&mut self, parent: &K, called: Called, now: Instant) {
        match (&mut self.state, called) {
            (_, Called::Answered) => *self = Self::default(),
            (State::Closed(failing), Called::Faulted(fault)) => {
                failing.insert(parent.clone());
                self.fault = fault;
                if failing.len() >= FAULTS {
                    self.state = State::Open { until: now + self.pause };
                }
            }
            (State::HalfOpen { probe }, Called::Faulted(fault)) if probe == parent => {
                self.fault = fault;
                self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
                self.state = State::Open { until: now + self.pause };
            }
            // It said nothing: another one may try.
            (State::HalfOpen { probe }, Called::No) if probe == parent => self.state = State::Open { until: now },
            _ => {}
        }
    }

    /// When the provider may be tried again, if nobody is trying.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed(_) | State::HalfOpen { .. } => None,
        }
    }

    /// What happened last, if the breaker is not closed.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        match self.state {
            State::Closed(_) => None,
            State::Open { .. } | State::HalfOpen { .. } => Some(&self.fault),
        }
    }
}

#[cfg(test)]
mod tests;
