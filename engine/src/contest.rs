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
#[derive(Clone, Debug, PartialEq, Eq)]
struct Repairs {
    count: u32,
    last: Instant,
    /// The field manager of the last change that was undone.
    writer: String,
}

/// A child that another writer keeps changing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contested<'a> {
    /// The child.
    pub key: &'a ObjectKey,
    /// The field manager of the other writer.
    pub writer: &'a str,
    /// How long it is left alone after a repair.
    pub interval: Duration,
    /// When to look at it again: once it may be repaired, or once it has been quiet.
    pub after: Duration,
}

impl Repairs {
    /// How long the child is left alone after its last repair.
    fn interval(&self) -> Duration {
        match self.count.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(LONGEST),
        }
    }

    fn rests_until(&self) -> Instant {
        self.last + self.interval()
    }

    fn ends(&self) -> Instant {
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

    /// Takes note that a change of a child by this field manager was undone.
    pub fn repaired(&mut self, key: &ObjectKey, writer: Option<&str>, now: Instant) {
        let count = self.repairs.get(key).map_or(0, |repairs| repairs.count).saturating_add(1);
        let writer = writer.unwrap_or("unknown").to_owned();
        self.repairs.insert(key.clone(), Repairs { count, last: now, writer });
    }

    /// Forgets children that have been quiet, and those that are not among these.
    pub fn forget_quiet(&mut self, exist: impl Fn(&ObjectKey) -> bool, now: Instant) {
        self.repairs.retain(|key, repairs| repairs.ends() > now && exist(key));
    }

    /// The contested child that is to be looked at first.
    #[must_use]
    pub fn contested(&self, now: Instant) -> Option<Contested<'_>> {
        let contested = self.repairs.iter().filter(|(_, repairs)| repairs.count > FREE);
        let due = |repairs: &Repairs| match repairs.rests_until() {
            rests if rests > now => rests,
            _ => repairs.ends(),
        };
        let (key, repairs) = contested.min_by_key(|(_, repairs)| due(repairs))?;
        let after = due(repairs).saturating_duration_since(now);
        Some(Contested { key, writer: &repairs.writer, interval: repairs.interval(), after })
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
            contest.repaired(&key(), Some("x"), now);
            assert!(contest.resting(now).is_empty() && contest.contested(now).is_none());
        }
        let mut intervals = Vec::new();
        for _ in 0..12 {
            contest.repaired(&key(), Some("x"), now);
            assert_eq!(contest.resting(now), [key()].into());
            let Contested { interval, after, writer, .. } = contest.contested(now).unwrap();
            assert_eq!((writer, after), ("x", interval));
            intervals.push(interval.as_secs());
            now += after;
            assert!(contest.resting(now).is_empty(), "it is repaired again");
        }
        assert_eq!(intervals, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }

    #[test]
    fn a_child_that_is_quiet_is_no_longer_contested() {
        let (mut contest, now) = (Contest::default(), Instant::now());
        for _ in 0..=FREE {
            contest.repaired(&key(), None, now);
        }
        let repaired = now + FIRST;
        let after = contest.contested(repaired).map(|contested| contested.after);
        assert_eq!(after, Some(QUIET), "it is still said until it has been quiet");
        contest.forget_quiet(|_| true, repaired + QUIET);
        assert_eq!(contest, Contest::default());
        contest.repaired(&key(), None, now);
        contest.forget_quiet(|_| false, now);
        assert_eq!(contest, Contest::default(), "a child that is gone is forgotten");
    }
}
