use super::*;

fn file(name: &str) -> Origin {
    Origin::File(name.to_owned())
}

fn bytes(text: &'static str) -> Content {
    Content::Bytes(text.into())
}

fn refused(reason: &str) -> Trouble {
    Trouble::Invalid(reason.to_owned())
}

fn state(store: &ModuleStore, name: &str) -> Option<Trouble> {
    store.library().remove(&file(name)).and_then(Result::err)
}

#[test]
fn origins_are_loaded_one_at_a_time_in_order_of_arrival() {
    let mut store = ModuleStore::default();
    store.put(&file("b"), bytes("1"));
    store.put(&file("a"), bytes("1"));
    let first = store.next().unwrap();
    assert_eq!(first, Load::new(file("b"), bytes("1")));
    assert_eq!(store.next(), None);
    assert!(store.is_pending(&file("a")) && store.is_pending(&file("b")));
    store.finish(&first, Outcome::Refused(refused("no")), Instant::now());
    assert_eq!(store.next().unwrap().origin, file("a"));
    assert_eq!((state(&store, "b"), state(&store, "a")), (Some(refused("no")), Some(Trouble::Loading)));
    assert!(!store.was_good(&file("a")) && store.is_known(&file("b")) && !store.is_known(&file("a")));
}

#[test]
fn cached_modules_are_loaded_first_and_then_the_smallest_is_compiled() {
    let mut store = ModuleStore::default();
    for (name, content) in [("large", "123456"), ("small", "12"), ("cached", "1234567")] {
        store.put(&file(name), bytes(content));
    }
    for cached in [false, false, true] {
        let load = store.next().unwrap();
        assert!(!load.compiles);
        store.finish(&load, if cached { Outcome::Same } else { Outcome::NotCached }, Instant::now());
    }
    assert!(store.is_pending(&file("small")) && !store.is_pending(&file("cached")) && !store.is_idle());
    let load = store.next().unwrap();
    assert_eq!((&load.origin, load.compiles), (&file("small"), true));
    // What comes meanwhile and is cached does not wait.
    store.put(&file("late"), bytes("1"));
    store.finish(&load, Outcome::Refused(refused("no")), Instant::now());
    let load = store.next().unwrap();
    assert_eq!((&load.origin, load.compiles), (&file("late"), false));
    store.finish(&load, Outcome::Same, Instant::now());
    assert_eq!(store.next().unwrap().origin, file("large"));
}

#[test]
fn a_large_module_makes_room_for_a_small_one_while_it_compiles_but_not_for_ever() {
    let (mut store, now) = (ModuleStore::default(), Instant::now());
    store.put(&file("large"), bytes("12345678"));
    let load = store.next().unwrap();
    store.finish(&load, Outcome::NotCached, now);
    let mut compiling = store.next().unwrap();
    let look = |store: &mut ModuleStore, name: &str, content, outcome| {
        store.put(&file(name), bytes(content));
        let load = store.next().unwrap();
        assert!(!load.compiles);
        store.finish(&load, outcome, now);
    };
    look(&mut store, "as large", "123", Outcome::NotCached);
    look(&mut store, "cached", "1", Outcome::Same);
    assert!(compiling.compiles && !compiling.gives_way.is_asked());
    for name in ["a", "b", "c"] {
        look(&mut store, name, "12", Outcome::NotCached);
        assert!(compiling.gives_way.is_asked());
        store.finish(&compiling, Outcome::NotCached, now);
        while let Some(load) = store.next() {
            compiling = load;
            if compiling.origin == file("large") {
                break;
            }
            let outcome = if compiling.compiles { Outcome::Refused(refused("no")) } else { Outcome::NotCached };
            store.finish(&compiling, outcome, now);
        }
        assert_eq!(compiling.origin, file("large"));
    }
    look(&mut store, "d", "1", Outcome::NotCached);
    assert!(!compiling.gives_way.is_asked());
}

#[test]
fn what_failed_for_a_passing_reason_is_tried_again_ever_more_rarely() {
    let (mut store, now) = (ModuleStore::default(), Instant::now());
    store.put(&file("a"), bytes("1"));
    let failed = |most| Outcome::Failed { reason: "it was killed".to_owned(), most };
    for (failures, seconds) in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 300), (8, 300)] {
        let load = store.next().unwrap();
        store.finish(&load, failed(None), now);
        assert_eq!(store.next_retry(), Some(now + Duration::from_secs(seconds)), "{failures}");
        let message = format!("it was killed; it is tried again in {seconds} s");
        assert_eq!(state(&store, "a"), Some(Trouble::Unavailable(message)));
        store.retry(now);
        assert!(store.is_idle());
        store.retry(now + Duration::from_secs(seconds));
        assert!(!store.is_idle() && store.next_retry().is_none());
    }
    // Other content begins anew, and some reasons do not pass for ever.
    store.put(&file("a"), bytes("2"));
    let load = store.next().unwrap();
    store.finish(&load, failed(Some(2)), now);
    assert_eq!(store.next_retry(), Some(now + RETRY));
    store.retry(now + RETRY);
    let load = store.next().unwrap();
    store.finish(&load, failed(Some(2)), now);
    assert_eq!((state(&store, "a"), store.next_retry()), (Some(refused("it was killed")), None));
}

#[test]
fn content_that_changes_while_it_is_loaded_is_loaded_again() {
    let mut store = ModuleStore::default();
    store.put(&file("a"), bytes("1"));
    let first = store.next().unwrap();
    store.put(&file("a"), bytes("2"));
    store.put(&file("a"), bytes("3"));
    store.finish(&first, Outcome::Refused(refused("1")), Instant::now());
    assert_eq!(state(&store, "a"), Some(Trouble::Loading));
    let second = store.next().unwrap();
    assert_eq!(second.content, bytes("3"));
    store.finish(&second, Outcome::Refused(refused("3")), Instant::now());
    assert_eq!(state(&store, "a"), Some(refused("3")));
    assert!(store.is_idle());
    // The same content again changes nothing.
    store.put(&file("a"), bytes("3"));
    assert!(store.is_idle());
}

#[test]
fn unsettled_content_is_compiled_when_idle_and_changes_nothing() {
    let mut store = ModuleStore::default();
    store.put_ahead(&file("a"), bytes("1"));
    store.put(&file("b"), bytes("1"));
    let first = store.next().unwrap();
    assert_eq!((&first.origin, first.is_ahead), (&file("b"), false));
    store.finish(&first, Outcome::Refused(refused("b")), Instant::now());
    let ahead = store.next().unwrap();
    assert_eq!((&ahead.origin, ahead.is_ahead), (&file("a"), true));
    // It settled meanwhile.
    store.put(&file("a"), bytes("1"));
    store.finish(&ahead, Outcome::Refused(refused("half of it")), Instant::now());
    // So did another one, before it was compiled.
    store.put_ahead(&file("c"), bytes("1"));
    store.put(&file("c"), bytes("1"));
    assert_eq!(state(&store, "a"), Some(Trouble::Loading));
    let load = store.next().unwrap();
    assert_eq!((&load.origin, load.is_ahead), (&file("a"), false));
    store.finish(&load, Outcome::Same, Instant::now());
    let load = store.next().unwrap();
    assert_eq!((&load.origin, load.is_ahead), (&file("c"), false));
    store.finish(&load, Outcome::Same, Instant::now());
    assert_eq!(store.next(), None);
}

#[test]
fn an_origin_that_is_removed_or_fails_while_it_is_loaded_stays_so() {
    let mut store = ModuleStore::default();
    store.put(&file("a"), bytes("1"));
    let load = store.next().unwrap();
    store.remove(&file("a"));
    store.finish(&load, Outcome::Refused(refused("1")), Instant::now());
    assert!(store.library().is_empty());
    store.put(&file("a"), bytes("1"));
    let load = store.next().unwrap();
    store.fail(&file("a"), Trouble::Missing("gone".to_owned()));
    store.finish(&load, Outcome::Refused(refused("1")), Instant::now());
    assert_eq!(state(&store, "a"), Some(Trouble::Missing("gone".to_owned())));
    assert_eq!(store.next(), None);
}

#[test]
fn content_that_changed_while_it_was_read_is_loaded_again() {
    let mut store = ModuleStore::default();
    store.put(&file("a"), bytes("1"));
    let load = store.next().unwrap();
    store.finish(&load, Outcome::Changed, Instant::now());
    assert!(store.is_idle());
    store.put(&file("a"), bytes("1"));
    assert_eq!(store.next(), Some(load));
}
