//! Leader election by a Lease (coordination.k8s.io): which of several hosts works, and until when. Expiry is judged by when this
//! process saw the record change, never by comparing its clock with a time that another machine wrote.

use std::time::{Duration, Instant};

/// How long a record that nobody renews keeps others away.
pub const LEASE_DURATION: Duration = Duration::from_secs(10);
/// How often the holder renews it.
pub const RENEW_EVERY: Duration = Duration::from_secs(2);
/// When a holder that could not renew it stops working: before anybody else may begin.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(7);

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The identity of the holder; `None`: it was given back.
    pub holder: Option<String>,
    /// When it was renewed, as it is written there: compared with what was seen before, never with a clock.
    pub renewed: Option<String>,
    /// How long it keeps others away after it was renewed.
    pub duration: Duration,
}

/// What to do about a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Write this host into it.
    Claim,
    /// Another host holds it: look again after this time.
    Wait {
        /// Which.
        holder: String,
        /// When it is due.
        after: Duration,
    },
    /// It was this host's, and another one has it now.
    Lost {
        /// Which.
        holder: String,
    },
}

/// One host in an election.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    /// What the Lease said when it was last seen to change, and when that was.
    seen: Option<(Record, Instant)>,
    leads_until: Option<Instant>,
}

impl Election {
    /// A host with this identity, which no other live process has: the name of its pod.
    #[must_use]
    pub fn new(identity: &str) -> Self {
        Self { identity: identity.to_owned(), seen: None, leads_until: None }
    }

    /// Its identity.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Decides on the Lease as it is now; `None`: it does not exist.
    pub fn on(&mut self, record: Option<Record>, now: Instant) -> Turn {
        let Some(record) = record else { return self.on_deleted(now) };
        let holder = match &record.holder {
            // Its own: of a process that ran under this identity before, and is gone.
            Some(holder) if !holder.is_empty() && *holder != self.identity => holder.clone(),
            _ => return Turn::Claim,
        };
        if self.leads_until.take().is_some() {
            return Turn::Lost { holder };
        }
        let since = match self.seen.take().filter(|(seen, _)| *seen == record) {
            Some((_, since)) => since,
            None => now,
        };
        // A shorter one is no permission to begin while the holder may still work.
        let left = record.duration.max(LEASE_DURATION).saturating_sub(now.saturating_duration_since(since));
        self.seen = Some((record, since));
        if left.is_zero() { Turn::Claim } else { Turn::Wait { holder, after: left.min(RENEW_EVERY) } }
    }

    /// The Lease does not exist. If somebody deleted it, its holder does not know that yet.
    fn on_deleted(&self, now: Instant) -> Turn {
        let Some((Record { holder: Some(holder), .. }, since)) = &self.seen else { return Turn::Claim };
        let left = LEASE_DURATION.saturating_sub(now.saturating_duration_since(*since));
        match left.is_zero() {
            true => Turn::Claim,
            false => Turn::Wait { holder: holder.clone(), after: left.min(RENEW_EVERY) },
        }
    }

    /// The Lease was written, by a request that was sent then.
    pub fn claimed(&mut self, sent: Instant) {
        self.leads_until = Some(sent + GIVE_UP_AFTER);
    }

    /// Until when this host may work; `None`: it may not.
    #[must_use]
    pub fn leads_until(&self) -> Option<Instant> {
        self.leads_until
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn record(holder: &str, renewed: u32) -> Record {
        let holder = (!holder.is_empty()).then(|| holder.to_owned());
        Record { holder, renewed: Some(renewed.to_string()), duration: LEASE_DURATION }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[rstest]
    #[case::absent(None)]
    #[case::given_back(Some(record("", 1)))]
    #[case::of_an_earlier_process(Some(record("a", 1)))]
    fn a_lease_that_nobody_else_holds_is_claimed_at_once(#[case] lease: Option<Record>) {
        assert_eq!(Election::new("a").on(lease, Instant::now()), Turn::Claim);
    }

    #[test]
    fn a_lease_expires_by_what_this_process_saw_and_never_by_recorded_times() {
        let (mut election, start) = (Election::new("a"), Instant::now());
        // What it says of the time is a year old, or in the future: the same to us.
        let wait = |after| Turn::Wait { holder: "b".to_owned(), after };
        assert_eq!(election.on(Some(record("b", 1)), start), wait(RENEW_EVERY));
        assert_eq!(election.on(Some(record("b", 1)), start + seconds(9)), wait(seconds(1)));
        assert_eq!(election.on(Some(record("b", 2)), start + seconds(10)), wait(RENEW_EVERY), "it was renewed");
        assert_eq!(election.on(Some(record("b", 2)), start + seconds(19)), wait(seconds(1)));
        assert_eq!(election.on(Some(record("b", 2)), start + seconds(20)), Turn::Claim);
    }

    #[test]
    fn a_deleted_or_shortened_lease_lets_nobody_begin_while_its_holder_may_work() {
        let (mut election, start) = (Election::new("a"), Instant::now());
        let is_waiting = |turn: Turn| matches!(turn, Turn::Wait { .. });
        let shortened = Record { duration: Duration::ZERO, ..record("b", 1) };
        assert!(is_waiting(election.on(Some(shortened), start)));
        assert!(is_waiting(election.on(None, start + seconds(9))));
        assert_eq!(election.on(None, start + seconds(10)), Turn::Claim);
    }

    #[test]
    fn a_holder_stops_before_anybody_else_may_begin() {
        let (mut ours, mut other, start) = (Election::new("a"), Election::new("b"), Instant::now());
        ours.claimed(start);
        let until = ours.leads_until().unwrap();
        // The other one sees it written no earlier than it was sent.
        other.on(Some(record("a", 1)), start);
        assert!(matches!(other.on(Some(record("a", 1)), until), Turn::Wait { .. }));
        assert_eq!(other.on(Some(record("a", 1)), start + LEASE_DURATION), Turn::Claim);
        assert_eq!(until, start + GIVE_UP_AFTER);
    }

    #[test]
    fn a_holder_that_finds_another_one_has_lost_it() {
        let (mut election, start) = (Election::new("a"), Instant::now());
        election.claimed(start);
        assert_eq!(election.on(Some(record("b", 2)), start), Turn::Lost { holder: "b".to_owned() });
        assert_eq!(election.leads_until(), None);
        assert!(matches!(election.on(Some(record("b", 2)), start), Turn::Wait { .. }));
    }
}
