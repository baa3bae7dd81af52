use proptest::prelude::*;

use super::*;

fn fault() -> Called {
    Called::Faulted("it crashed".to_owned())
}

/// A breaker that has just opened.
fn open(now: Instant) -> Breaker<usize> {
    let mut breaker = Breaker::default();
    for parent in 0..FAULTS {
        assert!(breaker.admits(now), "it opened after {parent} parents");
        breaker.begin(&parent, now);
        breaker.end(&parent, fault(), now);
    }
    breaker
}

#[test]
fn it_opens_once_enough_parents_in_a_row_got_no_answer() {
    let now = Instant::now();
    let breaker = open(now);
    assert!(!breaker.admits(now));
    assert_eq!((breaker.until(), breaker.fault()), (Some(now + FIRST_PAUSE), Some("it crashed")));
}

#[test]
fn one_failing_parent_never_opens_it_and_an_answer_resets_the_count() {
    let now = Instant::now();
    let mut breaker = Breaker::default();
    for _ in 0..100 {
        breaker.end(&0, fault(), now);
    }
    (1..FAULTS - 1).for_each(|parent| breaker.end(&parent, fault(), now));
    assert!(breaker.admits(now) && breaker.fault().is_none());
    breaker.end(&9, Called::Answered, now);
    (0..FAULTS - 1).for_each(|parent| breaker.end(&parent, fault(), now));
    assert!(breaker.admits(now));
    breaker.end(&9, Called::No, now);
    assert!(breaker.admits(now));
    breaker.end(&8, fault(), now);
    assert!(!breaker.admits(now));
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
        assert!(breaker.admits(now));
        breaker.begin(&1, now);
        assert!(!breaker.admits(now + LONGEST_PAUSE), "two tried at once");
        assert!(breaker.fault().is_some());
        breaker.end(&2, fault(), now);
        assert!(breaker.until().is_none(), "one that was begun earlier decided");
        breaker.end(&1, fault(), now);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
    now = breaker.until().unwrap();
    breaker.begin(&1, now);
    breaker.end(&1, Called::Answered, now);
    assert!(breaker.admits(now) && breaker.fault().is_none());
    assert_eq!(open(now).until(), Some(now + FIRST_PAUSE));
}

#[test]
fn an_attempt_without_a_call_lets_the_next_parent_try_at_once() {
    let now = Instant::now();
    let mut breaker = open(now);
    let later = now + FIRST_PAUSE;
    breaker.begin(&1, later);
    breaker.end(&1, Called::No, later);
    assert!(breaker.admits(later) && breaker.fault().is_some());
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
                Step::Begin(parent) if breaker.admits(now) && !running.contains(&parent) => {
                    let was_open = breaker.fault().is_some();
                    breaker.begin(&parent, now);
                    running.insert(parent);
                    if was_open {
                        prop_assert_eq!(tries, None);
                        tries = Some(parent);
                    }
                }
                Step::End(parent, how) if running.remove(&parent) => {
                    let called = [Called::No, Called::Answered, fault()][usize::from(how)].clone();
                    breaker.end(&parent, called.clone(), now);
                    if tries == Some(parent) || called == Called::Answered {
                        tries = None;
                    }
                }
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Begin(_) | Step::End(..) => {}
            }
            let can_go_on = breaker.admits(now)
                || tries.is_some_and(|parent| running.contains(&parent))
                || breaker.until().is_some_and(|until| until <= now + LONGEST_PAUSE);
            prop_assert!(can_go_on, "nothing will ever be asked again: {:?}", breaker);
        }
    }
}
