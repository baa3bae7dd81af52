//! Faults of requests: decided by a seed alone, so that the same seed gives the same faults.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::request::{Class, Summary};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// Never reaches the API server: 503.
    Unavailable,
    /// Never reaches the API server: 429, with `Retry-After`.
    TooManyRequests,
    /// Never reaches the API server, and the connection is closed.
    Close,
    /// The API server answers, and the connection is closed before the client gets the response.
    DropAnswer,
    /// Sent late.
    Delay(Duration),
    /// Sent twice; the client gets the second response.
    Duplicate,
    /// A list is answered with the last response to the same one.
    Stale,
    /// A watch starts at an expired version: 410.
    Expired,
    /// A watch ends after this time: as the API server ends it, or in the middle of a line.
    Cut {
        /// How long it lasts.
        after: Duration,
        /// Whether it ends properly.
        clean: bool,
    },
    /// A watch freezes for a while, then delivers everything at once, again and again.
    Freeze {
        /// How long it works before and in between.
        after: Duration,
        /// How long it is frozen.
        lasts: Duration,
    },
    /// A watch freezes, then breaks, and its next start is too late: the events meanwhile are lost.
    Lose {
        /// How long it works before.
        after: Duration,
        /// How long it is frozen.
        lasts: Duration,
    },
}

impl Fault {
    /// Its name, for counting.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "passed",
            Self::Unavailable => "503",
            Self::TooManyRequests => "429",
            Self::Close => "closed",
            Self::DropAnswer => "answer dropped",
            Self::Delay(_) => "delayed",
            Self::Duplicate => "duplicated",
            Self::Stale => "stale",
            Self::Expired => "410",
            Self::Cut { .. } => "cut",
            Self::Freeze { .. } => "frozen",
            Self::Lose { .. } => "events lost",
        }
    }
}

/// Decides the fault of each request.
#[derive(Debug, Default)]
pub enum Rules {
    /// No faults.
    #[default]
    Pass,
    /// Faults by a seed.
    Seeded(Seeded),
}

impl Rules {
    /// The fault of this request.
    pub fn decide(&mut self, request: &Summary) -> Fault {
        match self {
            Self::Pass => Fault::Pass,
            Self::Seeded(seeded) => seeded.decide(request),
        }
    }
}

/// Random faults. The fault of the n-th request of a class depends on the seed, on n and on that request alone: a
/// host that sends its requests in another order, as any two runs do, meets the same faults.
#[derive(Debug)]
pub struct Seeded {
    seed: u64,
    asked: HashMap<String, u64>,
    /// Watches that have lost events.
    lost: HashSet<String>,
}

impl Seeded {
    /// The faults of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, asked: HashMap::new(), lost: HashSet::new() }
    }

    /// The fault of this request.
    pub fn decide(&mut self, request: &Summary) -> Fault {
        let identity = request.identity();
        if self.lost.remove(&identity) {
            return Fault::Expired;
        }
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(&identity);
        let times = self.asked.entry(identity.clone()).or_default();
        *times += 1;
        hash.update(times.to_le_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut head = [0; 8];
        head.copy_from_slice(&digest[..8]);
        let fault = draw(request.class, &mut fastrand::Rng::with_seed(u64::from_le_bytes(head)));
        if matches!(fault, Fault::Lose { .. }) {
            self.lost.insert(identity);
        }
        fault
    }
}

/// Draws a fault: percentages of the requests of a class.
fn draw(class: Class, random: &mut fastrand::Rng) -> Fault {
    let percent = random.u8(0..100);
    // A host sends some twenty discovery requests at its start, and all of them again if one fails: it has to get
    // through.
    if class == Class::Other && percent >= 2 && random.u8(0..100) < 85 {
        return Fault::Pass;
    }
    let refused = match percent {
        0..5 => Some(Fault::Unavailable),
        5..8 => Some(Fault::TooManyRequests),
        8..13 => Some(Fault::Close),
        _ => None,
    };
    if let Some(fault) = refused {
        return fault;
    }
    let mut millis = |range: std::ops::Range<u64>| Duration::from_millis(random.u64(range));
    match (class, percent) {
        (Class::Write, ..23) => Fault::DropAnswer,
        (Class::Write, ..31) => Fault::Duplicate,
        (Class::Write, ..38) => Fault::Delay(millis(20..1500)),
        (Class::Get | Class::Other, ..16) => Fault::DropAnswer,
        (Class::Get | Class::Other, ..24) => Fault::Delay(millis(20..1500)),
        (Class::List, ..50) => Fault::Stale,
        (Class::List, ..60) => Fault::Delay(millis(20..1500)),
        (Class::Watch, ..16) => Fault::Expired,
        (Class::Watch, ..22) => Fault::Cut { after: millis(0..5000), clean: false },
        (Class::Watch, ..40) => Fault::Cut { after: millis(0..5000), clean: true },
        (Class::Watch, ..64) => Fault::Lose { after: millis(0..3000), lasts: millis(500..6000) },
        (Class::Watch, ..88) => Fault::Freeze { after: millis(200..3000), lasts: millis(500..6000) },
        _ => Fault::Pass,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::{Method, Uri};

    use super::*;

    fn request(method: Method, uri: &'static str) -> Summary {
        Summary::new(&method, &Uri::from_static(uri))
    }

    fn all() -> [Summary; 4] {
        [
            request(Method::PATCH, "/api/v1/namespaces/a/services/s"),
            request(Method::GET, "/api/v1/namespaces/a/services/s"),
            request(Method::GET, "/api/v1/services"),
            request(Method::GET, "/api/v1/services?watch=true"),
        ]
    }

    #[test]
    fn the_same_seed_decides_alike_in_any_order_of_requests() {
        let (mut one, mut other) = (Seeded::new(7), Seeded::new(7));
        let mut together: Vec<Vec<Fault>> = vec![Vec::new(); all().len()];
        for _ in 0..100 {
            for (faults, request) in together.iter_mut().zip(all()) {
                faults.push(one.decide(&request));
            }
        }
        let apart: Vec<Vec<Fault>> =
            all().iter().map(|request| (0..100).map(|_| other.decide(request)).collect()).collect();
        assert_eq!(together, apart);
        let mut third = Seeded::new(8);
        let others: Vec<Fault> = (0..100).map(|_| third.decide(&all()[0])).collect();
        assert_ne!(others, together[0]);
    }

    #[test]
    fn each_class_meets_its_faults_and_no_others() {
        let mut seeded = Seeded::new(1);
        let mut names =
            |request: &Summary| -> BTreeSet<&str> { (0..1000).map(|_| seeded.decide(request).name()).collect() };
        let [write, get, list, watch] = all().map(|request| names(&request));
        let common = ["passed", "503", "429", "closed"];
        let with = |others: &[&'static str]| -> BTreeSet<&str> { common.iter().chain(others).copied().collect() };
        assert_eq!(write, with(&["answer dropped", "duplicated", "delayed"]));
        assert_eq!(get, with(&["answer dropped", "delayed"]));
        assert_eq!(list, with(&["stale", "delayed"]));
        assert_eq!(watch, with(&["410", "cut", "frozen", "events lost"]));
    }

    #[test]
    fn a_watch_that_lost_events_starts_too_late() {
        let mut seeded = Seeded::new(1);
        let [.., watch] = all();
        let faults: Vec<Fault> = (0..1000).map(|_| seeded.decide(&watch)).collect();
        let after: Vec<Fault> =
            faults.windows(2).filter(|pair| matches!(pair[0], Fault::Lose { .. })).map(|pair| pair[1]).collect();
        assert!(after.len() > 50 && after.iter().all(|fault| *fault == Fault::Expired), "{after:?}");
    }

    #[test]
    fn once_healed_everything_passes() {
        let mut rules = Rules::default();
        assert!(all().iter().all(|request| rules.decide(request) == Fault::Pass));
    }
}
