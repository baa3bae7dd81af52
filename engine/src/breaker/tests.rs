use std::collections::BTreeSet;

use proptest::prelude::*;

use super::Standing::{Answered, Faulted, Untried};
use super::*;

fn fault() -> Called {
    Called::Faulted("it crashed".to_owned())
}

/// Of a provider that answers for nobody.
impl Breaker<usize> {
    fn admits_any(&self, now: Instant) -> bool {
        self.admits(Faulted, now)
    }

    fn begin_any(&mut self, parent: usize, now: Instant) {
        self.begin(&parent, Faulted, now);
    }

    fn end_any(&mut self, parent: usize, called: Called, now: Instant) {
        self.end(&parent, Faulted, called, || false, now);
    }

    fn until(&self) -> Option<Instant> {
        match self.state {
            State::Open { until, .. } => Some(until),
            State::Closed(_) | State::HalfOpen { .. } => None,
        }
    }
}

/// A breaker that has just opened.
fn open(now: Instant) -> Breaker<usize> {
    let mut breaker = Breaker::default();
    for parent in 0..FAULTS {
        assert!(breaker.admits_any(now), "it opened after {parent} parents");
        breaker.begin_any(parent, now);
        breaker.end_any(parent, fault(), now);
    }
    breaker
}

#[test]
fn it_opens_once_enough_parents_in_a_row_got_no_answer() {
    let now = Instant::now();
    let breaker = open(now);
    assert!(!breaker.admits_any(now));
    assert_eq!((breaker.until(), breaker.fault()), (Some(now + FIRST_PAUSE), Some("it crashed")));
}

#[test]
fn one_failing_parent_never_opens_it_and_an_answer_resets_the_count() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    for _ in 0..100 {
        breaker.end_any(0, fault(), now);
    }
    (1..FAULTS - 1).for_each(|parent| breaker.end_any(parent, fault(), now));
    assert!(breaker.admits_any(now) && breaker.fault().is_none());
    breaker.end_any(9, Called::Answered, now);
    (0..FAULTS - 1).for_each(|parent| breaker.end_any(parent, fault(), now));
    assert!(breaker.admits_any(now));
    breaker.end_any(9, Called::No, now);
    assert!(breaker.admits_any(now));
    breaker.end_any(8, fault(), now);
    assert!(!breaker.admits_any(now));
}

#[test]
fn one_parent_tries_after_a_pause_that_doubles_up_to_a_cap() {
    let mut now = Instant::now();
    let mut breaker = open(now);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let until = breaker.until().unwrap();
        pauses.push((until - now).as_secs());
        now = until;
        assert!(breaker.admits_any(now));
        breaker.begin_any(1, now);
        assert!(!breaker.admits_any(now + LONGEST_PAUSE), "two tried at once");
        assert!(breaker.fault().is_some());
        breaker.end_any(2, fault(), now);
        assert!(breaker.until().is_none(), "one that was begun earlier decided");
        breaker.end_any(1, fault(), now);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
    now = breaker.until().unwrap();
    breaker.begin_any(1, now);
    breaker.end_any(1, Called::Answered, now);
    assert!(breaker.admits_any(now) && breaker.fault().is_none());
    assert_eq!(open(now).until(), Some(now + FIRST_PAUSE));
}

#[test]
fn an_attempt_without_a_call_lets_the_next_parent_try_at_once() {
    let now = Instant::now();
    let mut breaker = open(now);
    let later = now + FIRST_PAUSE;
    breaker.begin_any(1, later);
    breaker.end_any(1, Called::No, later);
    assert!(breaker.admits_any(later) && breaker.fault().is_some());
}

#[test]
fn parents_that_never_had_an_answer_do_not_open_it_for_those_that_had() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    (0..100).for_each(|parent| breaker.end(&parent, Untried, fault(), || true, now));
    assert!(breaker.admits(Answered, now) && breaker.fault().is_none());
    // Those that had answers get none any more: it is the provider.
    for parent in 100..100 + FAULTS {
        assert!(breaker.admits(Answered, now));
        breaker.end(&parent, Answered, fault(), || true, now);
    }
    assert!(!breaker.admits(Answered, now));
}

#[test]
fn a_new_parent_is_tried_soon_however_long_the_others_pause() {
    let mut now = Instant::now();
    let mut breaker = open(now);
    for _ in 0..7 {
        now = breaker.until().unwrap();
        breaker.begin_any(1, now);
        breaker.end_any(1, fault(), now);
    }
    let until = breaker.until().unwrap();
    assert_eq!(until - now, LONGEST_PAUSE);
    for new in 10..20 {
        assert!(!breaker.admits(Untried, now + FIRST_PAUSE / 2));
        now += FIRST_PAUSE;
        assert!(breaker.admits(Untried, now) && breaker.admits(Answered, now) && !breaker.admits(Faulted, now));
        breaker.begin(&new, Untried, now);
        breaker.end(&new, Untried, Called::No, || false, now);
        assert_eq!(breaker.until(), Some(until), "a round without a result moves nothing");
        breaker.begin(&new, Untried, now);
        breaker.end(&new, Untried, fault(), || false, now);
        assert_eq!(breaker.until(), Some(until), "what a new one does says nothing of the others");
    }
    now += FIRST_PAUSE;
    breaker.begin(&20, Untried, now);
    breaker.end(&20, Untried, Called::Answered, || false, now);
    assert!(breaker.admits(Faulted, now));
}

/// A tenant's parents without an answer, and how others are tried beside them.
fn poisoned(parents: usize) -> Trust<usize> {
    let mut trust = Trust::default();
    for parent in 0..parents {
        let standing = trust.standing(&parent, || false);
        trust.begin(&parent, standing, "poison");
        trust.end(&parent, &fault());
    }
    trust
}

#[test]
fn parents_without_an_answer_share_one_slot_and_others_do_not_wait_for_them() {
    let mut trust = poisoned(100);
    trust.end(&200, &Called::Answered);
    let standing = |trust: &Trust<usize>, parent: usize| trust.standing(&parent, || false);
    assert_eq!((standing(&trust, 0), standing(&trust, 200), standing(&trust, 201)), (Faulted, Answered, Untried));
    assert_eq!(trust.standing(&201, || true), Answered, "an earlier process had an answer");
    assert_eq!(trust.rank(Answered, "victim"), Some(Rank::default()));
    trust.begin(&0, Faulted, "poison");
    assert_eq!((trust.rank(Faulted, "poison"), trust.rank(Untried, "victim")), (None, None), "one at a time");
    assert_eq!(trust.rank(Answered, "victim"), Some(Rank::default()));
    trust.end(&0, &fault());
    assert!(trust.rank(Untried, "victim") < trust.rank(Untried, "poison"), "namespaces take turns");
    assert!(trust.rank(Untried, "poison") < trust.rank(Faulted, "poison"));
    trust.begin(&201, Untried, "victim");
    trust.end(&201, &fault());
    assert!(trust.rank(Faulted, "poison") < trust.rank(Untried, "victim"), "the next turn is the other's");
}

#[test]
fn as_long_as_few_parents_have_no_answer_new_ones_are_called_as_usual() {
    let mut trust = poisoned(FAULTS - 1);
    assert_eq!(trust.rank(Untried, "poison"), Some(Rank::default()));
    assert!(trust.rank(Faulted, "poison") > trust.rank(Untried, "poison"));
    (0..FAULTS - 1).for_each(|parent| trust.end(&parent, &Called::Answered));
    assert!(trust.is_complete() && trust.has_answers());
    trust.forget(&0);
    assert_eq!(trust.standing(&0, || false), Untried);
}

#[test]
fn to_delete_parents_without_an_answer_buys_no_trust() {
    let mut trust = poisoned(FAULTS);
    (0..FAULTS).for_each(|parent| trust.forget(&parent));
    assert_eq!(trust.rank(Untried, "poison").map(|rank| rank == Rank::default()), Some(false));
    trust.end(&50, &Called::Answered);
    assert_eq!(trust.rank(Untried, "poison"), Some(Rank::default()));
}

#[derive(Clone, Debug)]
enum Step {
    Begin(usize),
    End(usize, u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..8usize).prop_map(Step::Begin),
        (0..8usize, 0..3u8).prop_map(|(parent, how)| Step::End(parent, how)),
        (0..400u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: it is never shut for good, no more than one tries while it is open, and who is begun is admitted.
    #[test]
    fn it_never_stays_shut_and_lets_one_try_at_a_time(steps in proptest::collection::vec(step(), 0..200)) {
        let mut now = Instant::now();
        let mut breaker: Breaker<usize> = Breaker::default();
        let mut running = BTreeSet::new();
        let mut tries: Option<usize> = None;
        for step in steps {
            match step {
                Step::Begin(parent) if breaker.admits_any(now) && !running.contains(&parent) => {
                    let was_open = breaker.fault().is_some();
                    breaker.begin_any(parent, now);
                    running.insert(parent);
                    if was_open {
                        prop_assert_eq!(tries, None);
                        tries = Some(parent);
                    }
                }
                Step::End(parent, how) if running.remove(&parent) => {
                    let called = [Called::No, Called::Answered, fault()][usize::from(how)].clone();
                    breaker.end_any(parent, called.clone(), now);
                    if tries == Some(parent) || called == Called::Answered {
                        tries = None;
                    }
                }
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Begin(_) | Step::End(..) => {}
            }
            let can_go_on = breaker.admits_any(now)
                || tries.is_some_and(|parent| running.contains(&parent))
                || breaker.until().is_some_and(|until| until <= now + LONGEST_PAUSE);
            prop_assert!(can_go_on, "nothing will ever be asked again: {:?}", breaker);
        }
    }
}
