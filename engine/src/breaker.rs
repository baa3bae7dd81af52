//! Circuit breaker of a provider: one that crashes, loops or exhausts its memory for every parent is not called for a while, and
//! then for one parent at a time until it answers (invariant 7). No clock: the caller passes the time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Different parents in a row without an answer that open the breaker. A single parent never opens it, but backs off alone.
pub const FAULTS: usize = 5;
/// Time until the provider is called again; doubles each time that this call fails.
pub const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest time until the provider is called again.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The outcome of a reconcile, as far as it concerns the breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// The provider was not called, or a failure was not its fault.
    No,
    /// It answered; an answer may be a failure.
    Answered,
    /// It crashed, or ran out of time or memory, with the message.
    Faulted(String),
}

#[derive(Clone, Debug)]
enum State<K> {
    /// It is called. Holds the parents without an answer since the last answer.
    Closed(BTreeSet<K>),
    /// It is not called before this time.
    Open { until: Instant },
    /// It is called for one parent.
    HalfOpen { probe: K },
}

/// The breaker of one provider, for one type of calls.
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
    /// Whether the provider may be called now, for any parent.
    #[must_use]
    pub fn admits(&self, now: Instant) -> bool {
        match &self.state {
            State::Closed(_) => true,
            State::Open { until } => *until <= now,
            State::HalfOpen { .. } => false,
        }
    }

    /// The reconcile of a parent starts that the breaker admits. After a pause all others wait until the first one ends.
    pub fn begin(&mut self, parent: &K, now: Instant) {
        if let State::Open { until } = self.state
            && until <= now
        {
            self.state = State::HalfOpen { probe: parent.clone() };
        }
    }

    /// The reconcile of a parent ended. Those that started before the breaker opened only matter if the provider answered.
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
            // The provider was not called after all: another parent may try.
            (State::HalfOpen { probe }, Called::No) if probe == parent => self.state = State::Open { until: now },
            _ => {}
        }
    }

    /// When the provider may be called again, if no parent is trying now.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed(_) | State::HalfOpen { .. } => None,
        }
    }

    /// The last fault, if the breaker is not closed.
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
