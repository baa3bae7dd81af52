//! Circuit breaker of a provider: one that crashes, loops or exhausts its memory for every parent is not called for a while, and
//! then for one parent at a time until it answers (invariant 7). Where it answers for some parents, only the others wait for one another
//! ([`Trust`]). No clock: the caller passes the time.

mod trust;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use trust::{Rank, Trust};

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

/// How calls for a parent have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// The last one was answered.
    Answered,
    /// There was none yet.
    Untried,
    /// The last one was not answered.
    Faulted,
}

#[derive(Clone, Debug)]
enum State<K> {
    /// It is called. Holds the parents without an answer since the last answer, and whether they had answers before.
    Closed(BTreeMap<K, Standing>),
    /// It is not called before this time; for a parent whose last call was not without an answer, not before the other one.
    Open { until: Instant, others_from: Instant },
    /// It is called for one parent, whose last call was without an answer or not.
    HalfOpen { probe: K, until: Instant, has_faulted: bool },
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
        Self { state: State::Closed(BTreeMap::new()), pause: FIRST_PAUSE, fault: String::new() }
    }
}

impl<K: Ord + Clone> Breaker<K> {
    /// Whether the provider may be called now, for a parent of this standing.
    #[must_use]
    pub fn admits(&self, standing: Standing, now: Instant) -> bool {
        match &self.state {
            State::Closed(_) => true,
            State::Open { until, others_from } => {
                *until <= now || (standing != Standing::Faulted && *others_from <= now)
            }
            State::HalfOpen { .. } => false,
        }
    }

    /// The reconcile of a parent starts that the breaker admits. After a pause all others wait until the first one ends.
    pub fn begin(&mut self, parent: &K, standing: Standing, now: Instant) {
        if let State::Open { until, .. } = self.state
            && self.admits(standing, now)
        {
            let has_faulted = standing == Standing::Faulted;
            self.state = State::HalfOpen { probe: parent.clone(), until, has_faulted };
        }
    }

    /// The reconcile of a parent of this standing ended. Those that started before the breaker opened only matter if the provider
    /// answered. `others_answer` tells whether it is known to answer for another parent: then those that never had an answer do not open
    /// the breaker.
    pub fn end(
        &mut self,
        parent: &K,
        standing: Standing,
        called: Called,
        others_answer: impl FnOnce() -> bool,
        now: Instant,
    ) {
        match (&mut self.state, called) {
            (_, Called::Answered) => *self = Self::default(),
            (State::Closed(failing), Called::Faulted(fault)) => {
                failing.entry(parent.clone()).or_insert(standing);
                self.fault = fault;
                let answered = failing.values().filter(|standing| **standing == Standing::Answered).count();
                if answered >= FAULTS || (failing.len() >= FAULTS && !others_answer()) {
                    let until = now + self.pause;
                    self.state = State::Open { until, others_from: until };
                }
            }
            (State::HalfOpen { probe, until, has_faulted }, Called::Faulted(fault)) if probe == parent => {
                self.fault = fault;
                let (until, has_faulted) = (*until, *has_faulted);
                // Those that had no answer before wait no longer because of another one.
                let until = match !has_faulted && until > now {
                    true => until,
                    false => {
                        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
                        now + self.pause
                    }
                };
                self.state = State::Open { until, others_from: now + FIRST_PAUSE };
            }
            // The provider was not called after all: another parent may try.
            (State::HalfOpen { probe, until, has_faulted }, Called::No) if probe == parent => {
                let until = if *has_faulted { now } else { *until };
                self.state = State::Open { until, others_from: now };
            }
            _ => {}
        }
    }

    /// When the provider may be called again that is later than now, if no parent is trying.
    #[must_use]
    pub fn next_try(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Open { until, others_from } => [until, others_from].into_iter().filter(|at| *at > now).min(),
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
