//! Children that another writer keeps changing. Each repair is a write that the other one undoes: after a few, the child is repaired at
//! growing intervals, while its siblings are repaired as before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::object::ObjectKey;

/// Repairs of one child that follow at once: people and tools edit a few times in a row.
const FREE: u32 = 10;
/// The first interval; each is twice the one before.
const FIRST: Duration = Duration::from_secs(1);
/// The longest interval.
const LONGEST: Duration = Duration::from_secs(300);
/// A child that needs no repair for this long, beyond its interval, is no longer contested.
const QUIET: Duration = Duration::from_secs(60);

/// The repairs of a parent's children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contest {
    repairs: BTreeMap<ObjectKey, Repairs>,
}

/// The repairs of one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Repairs {
    count: u32,
    last: Instant,
}

impl Repairs {
    /// How long the child is left alone after its last repair.
    fn interval(self) -> Duration {
        match self.count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(LONGEST),
        }
    }

    fn rests_until(self) -> Instant {
        self.last + self.interval()
    }

    fn ends(self) -> Instant {
        self.rests_until() + QUIET
    }
}

impl Contest {
    /// The children that are not repaired yet.
    #[must_use]
    pub fn resting(&self, now: Instant) -> BTreeSet<ObjectKey> {
        let resting = self.repairs.iter().filter(|(_, repairs)| repairs.rests_until() > now);
        resting.map(|(key, _)| key.clone()).collect()
    }

    /// Takes note that a child was repaired.
    pub fn repaired(&mut self, key: &ObjectKey, now: Instant) {
        let repairs = self.repairs.entry(key.clone()).or_insert(Repairs { count: 0, last: now });
        *repairs = Repairs { count: repairs.count.saturating_add(1), last: now };
    }

    /// Forgets children that have been quiet, and those that are not among these.
    pub fn forget_quiet(&mut self, exist: impl Fn(&ObjectKey) -> bool, now: Instant) {
        self.repairs.retain(|key, repairs| repairs.ends() > now && exist(key));
    }

    /// A child that is contested, and when to look at it again: once it may be repaired, or once it has been quiet.
    #[must_use]
    pub fn contested(&self, now: Instant) -> Option<(&ObjectKey, Duration)> {
        let contested = self.repairs.iter().filter(|(_, repairs)| repairs.count > FREE);
        let due = |repairs: &Repairs| if repairs.rests_until() > now { repairs.rests_until() } else { repairs.ends() };
        let (key, repairs) = contested.min_by_key(|(_, repairs)| due(repairs))?;
        Some((key, due(repairs).saturating_duration_since(now)))
    }
}

#[cfg(test)]
mod tests {
    use bartizan_contract::Kind;

    use super::*;

    fn key() -> ObjectKey {
        ObjectKey::new(&Kind::new("", "v1", "ConfigMap"), Some("n"), "a")
    }

    #[test]
    fn repairs_beyond_a_few_follow_at_growing_intervals_up_to_a_limit() {
        let (mut contest, mut now) = (Contest::default(), Instant::now());
        for _ in 0..FREE {
            contest.repaired(&key(), now);
            assert!(contest.resting(now).is_empty() && contest.contested(now).is_none());
        }
        let mut intervals = Vec::new();
        for _ in 0..12 {
            contest.repaired(&key(), now);
            assert_eq!(contest.resting(now), [key()].into());
            let (_, interval) = contest.contested(now).unwrap();
            intervals.push(interval.as_secs());
            now += interval;
            assert!(contest.resting(now).is_empty(), "it is repaired again");
        }
        assert_eq!(intervals, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }

    #[test]
    fn a_child_that_is_quiet_is_no_longer_contested() {
        let (mut contest, now) = (Contest::default(), Instant::now());
        for _ in 0..=FREE {
            contest.repaired(&key(), now);
        }
        let repaired = now + FIRST;
        assert_eq!(contest.contested(repaired), Some((&key(), QUIET)), "it is still said until it has been quiet");
        contest.forget_quiet(|_| true, repaired + QUIET);
        assert_eq!(contest, Contest::default());
        contest.repaired(&key(), now);
        contest.forget_quiet(|_| false, now);
        assert_eq!(contest, Contest::default(), "a child that is gone is forgotten");
    }
}
