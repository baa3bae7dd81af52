use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const DONE: Finished = Finished::Done { resync: None };
const RETRY: Finished = Finished::Retry { after: None, most: BACKOFF_MAX };

#[test]
fn parents_that_may_not_start_keep_their_position() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.touch(&"first", "", Priority::Edit, now);
    queue.touch(&"second", "", Priority::Child, now);
    assert_eq!(queue.take_by(now, |key| (*key != "first").then_some(())), Some("second"));
    assert_eq!(queue.take_by(now, |key| (*key != "first").then_some(())), None);
    assert_eq!(queue.waiting(), 1);
    assert_eq!(queue.take(now), Some("first"));
}

#[test]
fn edits_go_before_child_events_and_those_before_resyncs() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.touch(&"resync", "", Priority::Resync, now);
    queue.touch(&"child", "", Priority::Child, now);
    queue.touch(&"edit", "", Priority::Edit, now);
    queue.touch(&"resync then edit", "", Priority::Resync, now);
    queue.touch(&"resync then edit", "", Priority::Edit, now);
    let order: Vec<_> = std::iter::from_fn(|| queue.take(now)).collect();
    assert_eq!(order, ["edit", "resync then edit", "child", "resync"]);
}

#[test]
fn namespaces_take_turns_however_many_parents_one_has() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for number in 0..1000 {
        queue.touch(&number, "crowd", Priority::Edit, now);
    }
    let taken: Vec<_> = std::iter::from_fn(|| queue.take(now)).take(10).collect();
    assert_eq!(taken, (0..10).collect::<Vec<_>>());
    // Who comes later waits for one of the others, and a few edits at most go before what is none.
    queue.touch(&2000, "a", Priority::Edit, now);
    queue.touch(&3000, "b", Priority::Resync, now);
    queue.touch(&3001, "b", Priority::Edit, now);
    let taken: Vec<_> = std::iter::from_fn(|| queue.take(now)).take(6).collect();
    assert_eq!(taken, [2000, 3000, 3001, 10, 11, 12]);
    assert_eq!(queue.waiting(), 1000 - 13);
    // Nothing is kept of a namespace in which nothing is due.
    while let Some(key) = queue.take(now) {
        queue.finish(&key, DONE, now, 0.5);
    }
    assert!(queue.edits.is_empty() && queue.others.is_empty());
}

#[test]
fn in_a_namespace_that_is_always_busy_every_priority_has_its_turn() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.touch(&-1, "busy", Priority::Resync, now);
    let mut taken = Vec::new();
    for number in 0..5 {
        queue.touch(&number, "busy", Priority::Child, now);
        taken.extend(queue.take(now));
        queue.touch(&(100 + number), "busy", Priority::Child, now);
    }
    assert!(taken.contains(&-1), "{taken:?}");
}

#[test]
fn who_is_always_due_again_overtakes_nobody() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for number in 0..1000 {
        queue.touch(&number, "crowd", Priority::Child, now);
    }
    // As many namespaces as reconciles at a time, with one parent each that is touched while it runs.
    let small = 2000..2016;
    small.clone().for_each(|key| queue.touch(&key, &format!("small-{key}"), Priority::Child, now));
    let mut running: std::collections::VecDeque<i32> = (0..16).filter_map(|_| queue.take(now)).collect();
    let mut of_the_crowd = 0;
    for _ in 0..1700 {
        let done = running.pop_front().unwrap();
        if small.contains(&done) {
            queue.touch(&done, "", Priority::Child, now);
        }
        queue.finish(&done, DONE, now, 0.5);
        let next = queue.take(now).unwrap();
        of_the_crowd += i32::from(next < 1000);
        running.push_back(next);
    }
    assert!((90..=110).contains(&of_the_crowd), "{of_the_crowd} of 1700");
}

#[test]
fn an_edit_goes_before_the_timers_of_all_namespaces() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for number in 0..1000 {
        queue.touch(&number, &format!("n-{number}"), Priority::Resync, now);
    }
    queue.take(now);
    queue.touch(&7, "n-7", Priority::Edit, now);
    assert_eq!(queue.take(now), Some(7));
    // A child's event does not cost a namespace its turn.
    queue.touch(&1, "n-1", Priority::Child, now);
    assert_eq!(queue.take(now), Some(1));
}

#[test]
fn a_parent_touched_in_flight_runs_once_more_after_it() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.touch(&1, "", Priority::Child, now);
    assert_eq!(queue.take(now), Some(1));
    queue.touch(&1, "", Priority::Child, now);
    queue.touch(&1, "", Priority::Child, now);
    assert_eq!(queue.take(now), None);
    queue.finish(&1, DONE, now, 0.0);
    assert_eq!(queue.take(now), Some(1));
    queue.finish(&1, DONE, now, 0.0);
    assert_eq!(queue.take(now), None);
}

#[test]
fn child_events_do_not_shorten_the_backoff_and_an_edit_ends_it() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.touch(&1, "", Priority::Child, now);
    queue.take(now);
    queue.finish(&1, RETRY, now, 1.0);
    assert_eq!(queue.next_due(), Some(now + BACKOFF_BASE));
    for _ in 0..10 {
        queue.touch(&1, "", Priority::Child, now);
    }
    assert_eq!((queue.take(now), queue.failures(&1)), (None, 1));
    assert_eq!(queue.next_due(), Some(now + BACKOFF_BASE));
    queue.touch(&1, "", Priority::Edit, now);
    assert_eq!(queue.take(now), Some(1));
    queue.finish(&1, RETRY, now, 1.0);
    assert_eq!((queue.next_due(), queue.failures(&1)), (Some(now + BACKOFF_BASE), 1), "edits burn nothing");
}

#[test]
fn an_attempt_due_after_a_lost_race_is_not_delayed_by_events() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.touch(&1, "", Priority::Child, now);
    queue.take(now);
    queue.finish(&1, Finished::Retry { after: Some(BACKOFF_MAX), most: BACKOFF_MAX }, now, 1.0);
    queue.touch(&1, "", Priority::Edit, now);
    queue.take(now);
    let soon = Duration::from_millis(250);
    queue.finish(&1, Finished::Again { after: soon }, now, 1.0);
    queue.touch(&1, "", Priority::Child, now);
    assert_eq!(queue.next_due(), Some(now + soon));
}

/// The delays after fourteen failures in a row, and the time then.
fn delays(queue: &mut Queue<i32>, failed: Finished, jitter: f64) -> (Vec<Duration>, Instant) {
    let mut now = Instant::now();
    queue.touch(&1, "", Priority::Child, now);
    let mut delays = Vec::new();
    for _ in 0..14 {
        queue.take(now);
        queue.finish(&1, failed, now, jitter);
        let due = queue.next_due().unwrap();
        delays.push(due - now);
        now = due;
    }
    (delays, now)
}

#[test]
fn the_backoff_doubles_up_to_its_limit_and_a_success_resets_it() {
    let mut queue = Queue::default();
    let (delays, now) = delays(&mut queue, RETRY, 1.0);
    assert_eq!(delays[..4], [1, 2, 4, 8].map(|factor| BACKOFF_BASE * factor));
    assert_eq!(delays[13], BACKOFF_MAX);
    queue.take(now);
    queue.finish(&1, DONE, now, 1.0);
    assert_eq!((queue.failures(&1), queue.next_due()), (0, None));
}

#[test]
fn an_api_server_that_always_asks_for_a_second_is_asked_ever_more_rarely() {
    let mut queue = Queue::default();
    let second = Finished::Retry { after: Some(Duration::from_secs(1)), most: BACKOFF_MAX };
    let (delays, now) = delays(&mut queue, second, 0.0);
    assert_eq!(delays[..5], [1, 1, 1, 1, 2].map(Duration::from_secs));
    assert_eq!(delays[13], BACKOFF_MAX / 2);
    // It is never asked sooner, and not by all at once.
    queue.take(now);
    let after = BACKOFF_MAX * 2;
    queue.finish(&1, Finished::Retry { after: Some(after), most: BACKOFF_MAX }, now, 0.5);
    assert_eq!(queue.next_due(), Some(now + after + after / 4));
}

#[test]
fn jitter_takes_up_to_half_of_the_delay() {
    assert_eq!(backoff(1, 0.0), BACKOFF_BASE / 2);
    assert_eq!(backoff(1, 1.0), BACKOFF_BASE);
    assert_eq!(backoff(u32::MAX, 1.0), BACKOFF_MAX);
}

#[test]
fn a_requested_delay_overrides_the_backoff_and_a_resync_waits() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.touch(&1, "", Priority::Child, now);
    queue.take(now);
    let after = Duration::from_secs(7);
    queue.finish(&1, Finished::RetryAfter(after), now, 0.3);
    assert_eq!(queue.next_due(), Some(now + after));
    assert_eq!(queue.take(now + after), Some(1));
    queue.finish(&1, Finished::Done { resync: Some(after) }, now, 0.3);
    assert_eq!(queue.next_due(), Some(now + after));
    queue.touch(&1, "", Priority::Child, now);
    assert_eq!((queue.take(now), queue.next_due()), (Some(1), None));
}

#[test]
fn a_lost_race_is_tried_again_soon_and_uses_up_no_attempt() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.touch(&1, "", Priority::Child, now);
    queue.take(now);
    let after = Duration::from_millis(250);
    queue.finish(&1, Finished::Again { after }, now, 1.0);
    assert_eq!((queue.failures(&1), queue.next_due()), (0, Some(now + after)));
    queue.touch(&1, "", Priority::Child, now);
    assert_eq!(queue.take(now), Some(1));
}

#[test]
fn a_forgotten_parent_is_nowhere() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.touch(&1, "", Priority::Child, now);
    queue.take(now);
    queue.forget(&1);
    queue.finish(&1, RETRY, now, 0.5);
    assert_eq!((queue.take(now), queue.next_due(), queue.waiting()), (None, None, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Touch(u8, Priority),
    Take,
    Finish(u8, Finished),
    Forget(u8),
    Pass(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let priority = prop_oneof![Just(Priority::Edit), Just(Priority::Child), Just(Priority::Resync)];
    let finished = prop_oneof![
        Just(DONE),
        Just(RETRY),
        Just(Finished::Done { resync: Some(Duration::from_secs(1)) }),
        Just(Finished::Retry { after: Some(Duration::from_secs(1)), most: BACKOFF_MAX }),
        Just(Finished::RetryAfter(Duration::from_secs(1))),
    ];
    let step = prop_oneof![
        4 => (0u8..4, priority).prop_map(|(key, priority)| Step::Touch(key, priority)),
        4 => Just(Step::Take),
        3 => (0u8..4, finished).prop_map(|(key, finished)| Step::Finish(key, finished)),
        1 => (0u8..4).prop_map(Step::Forget),
        2 => (0u16..2000).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Whatever happens: one in flight per parent, and nothing that was touched is lost.
    #[test]
    fn one_in_flight_per_parent_and_no_touch_is_lost(steps in steps()) {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        let mut running: BTreeMap<u8, bool> = BTreeMap::new();
        let mut owed = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Touch(key, priority) => {
                    queue.touch(&key, "", priority, now);
                    owed.insert(key);
                }
                Step::Take => {
                    if let Some(key) = queue.take(now) {
                        prop_assert!(running.insert(key, true).is_none(), "{key} is in flight twice");
                        owed.remove(&key);
                    }
                }
                Step::Finish(key, finished) => {
                    if running.remove(&key).is_some() {
                        let before = queue.next_due();
                        queue.finish(&key, finished, now, 0.5);
                        let retried = queue.failures(&key) > 0 || queue.next_due() != before;
                        if retried && matches!(finished, Finished::Retry { .. } | Finished::RetryAfter(_)) {
                            owed.insert(key);
                        }
                    }
                }
                Step::Forget(key) => {
                    queue.forget(&key);
                    owed.remove(&key);
                }
                Step::Pass(millis) => now += Duration::from_millis(u64::from(millis)),
            }
        }
        for key in running.keys() {
            queue.finish(key, DONE, now, 0.5);
        }
        now += 2 * BACKOFF_MAX;
        while let Some(key) = queue.take(now) {
            owed.remove(&key);
            queue.finish(&key, DONE, now, 0.5);
        }
        prop_assert!(owed.is_empty(), "lost: {owed:?}");
    }
}
