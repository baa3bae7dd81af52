//! What each origin holds, what of it was loaded, and what is to be loaded next. No I/O.

use std::collections::{BTreeMap, VecDeque};

use super::fetch::Holding;
use super::{Library, Loaded, Origin, Trouble};

/// What came of a load.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// A module.
    Loaded(Box<Loaded>),
    /// The module that is there already: nothing but its time changed.
    Same,
    /// The origin changed meanwhile.
    Changed,
    /// No module, and why.
    Refused(Trouble),
}

/// One origin.
#[derive(Clone, Debug)]
struct Slot {
    holding: Option<Holding>,
    state: Result<Loaded, Trouble>,
    /// Something of it could be loaded once.
    was_good: bool,
}

/// A load to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Of which origin.
    pub(super) origin: Origin,
    /// What it holds.
    pub(super) holding: Holding,
    /// Digest of the module that is there already.
    pub(super) known: Option<String>,
    /// Whether it only fills the cache of compiled code, for a load that is expected.
    pub(super) is_ahead: bool,
}

/// All origins.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    slots: BTreeMap<Origin, Slot>,
    queue: VecDeque<Origin>,
    ahead: BTreeMap<Origin, Holding>,
    loading: Option<Origin>,
}

impl Shelf {
    /// An origin is wanted, of which nothing is known yet.
    pub(super) fn await_load(&mut self, origin: &Origin) {
        self.slot(origin);
    }

    /// Nobody wants the origin any more, or its file is gone.
    pub(super) fn remove(&mut self, origin: &Origin) {
        self.ahead.remove(origin);
        self.slots.remove(origin);
        self.queue.retain(|queued| queued != origin);
    }

    /// The origin holds something: it is loaded when its turn comes. What it held before stays until then.
    pub(super) fn put(&mut self, origin: &Origin, holding: Holding) {
        self.ahead.remove(origin);
        let slot = self.slot(origin);
        if slot.holding.as_ref() == Some(&holding) {
            return;
        }
        slot.holding = Some(holding);
        if !self.queue.contains(origin) {
            self.queue.push_back(origin.clone());
        }
    }

    /// The origin seems to hold something that has not settled. It is compiled while nothing else is to be done, so that most of
    /// the work is over once it has.
    pub(super) fn put_ahead(&mut self, origin: &Origin, holding: Holding) {
        self.ahead.insert(origin.clone(), holding);
    }

    /// The origin holds nothing, or cannot be asked.
    pub(super) fn fail(&mut self, origin: &Origin, trouble: Trouble) {
        let slot = self.slot(origin);
        (slot.holding, slot.state) = (None, Err(trouble));
        self.queue.retain(|queued| queued != origin);
    }

    /// Whether it is known what the origin holds.
    pub(super) fn is_known(&self, origin: &Origin) -> bool {
        let state = self.slots.get(origin).map(|slot| &slot.state);
        state.is_some_and(|state| !matches!(state, Err(Trouble::Loading | Trouble::Unavailable(_))))
    }

    /// The next load; one at a time, since compiling takes all processors that there are.
    pub(super) fn next(&mut self) -> Option<Load> {
        if self.loading.is_some() {
            return None;
        }
        while let Some(origin) = self.queue.pop_front() {
            let Some(slot) = self.slots.get(&origin) else { continue };
            let Some(holding) = slot.holding.clone() else { continue };
            let known = slot.state.as_ref().ok().map(|loaded| loaded.module.digest().to_owned());
            self.loading = Some(origin.clone());
            return Some(Load { origin, holding, known, is_ahead: false });
        }
        let (origin, holding) = self.ahead.pop_first()?;
        self.loading = Some(origin.clone());
        Some(Load { origin, holding, known: None, is_ahead: true })
    }

    /// Takes what came of a load. It is thrown away if the origin holds something else by now.
    pub(super) fn finish(&mut self, load: &Load, outcome: Outcome) {
        self.loading = None;
        if load.is_ahead {
            return;
        }
        let Some(slot) = self.slots.get_mut(&load.origin) else { return };
        if slot.holding.as_ref() != Some(&load.holding) {
            return;
        }
        if matches!(load.origin, Origin::Oci(_)) {
            // Sent once, and too large to be kept for comparing it with what never comes.
            slot.holding = None;
        }
        match outcome {
            Outcome::Loaded(loaded) => (slot.state, slot.was_good) = (Ok(*loaded), true),
            Outcome::Same => {}
            // Whatever it is then, it is new.
            Outcome::Changed => slot.holding = None,
            Outcome::Refused(trouble) => slot.state = Err(trouble),
        }
    }

    /// Whether an origin is waiting to be loaded, or is being loaded.
    pub(super) fn is_pending(&self, origin: &Origin) -> bool {
        self.loading.as_ref() == Some(origin) || self.queue.contains(origin)
    }

    /// Whether nothing is to be loaded.
    pub(super) fn is_idle(&self) -> bool {
        self.loading.is_none() && self.queue.is_empty()
    }

    /// Whether there was ever a module in it.
    pub(super) fn was_good(&self, origin: &Origin) -> bool {
        self.slots.get(origin).is_some_and(|slot| slot.was_good)
    }

    /// What each origin holds now.
    pub(super) fn library(&self) -> Library {
        self.slots.iter().map(|(origin, slot)| (origin.clone(), slot.state.clone())).collect()
    }

    fn slot(&mut self, origin: &Origin) -> &mut Slot {
        let new = || Slot { holding: None, state: Err(Trouble::Loading), was_good: false };
        self.slots.entry(origin.clone()).or_insert_with(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Origin {
        Origin::File(name.to_owned())
    }

    fn bytes(text: &'static str) -> Holding {
        Holding::Bytes(text.into())
    }

    fn refused(reason: &str) -> Trouble {
        Trouble::Invalid(reason.to_owned())
    }

    fn state(shelf: &Shelf, name: &str) -> Option<Trouble> {
        shelf.library().remove(&file(name)).and_then(Result::err)
    }

    #[test]
    fn one_is_loaded_at_a_time_in_the_order_in_which_they_came() {
        let mut shelf = Shelf::default();
        shelf.put(&file("b"), bytes("1"));
        shelf.put(&file("a"), bytes("1"));
        let first = shelf.next().unwrap();
        assert_eq!(first, Load { origin: file("b"), holding: bytes("1"), known: None, is_ahead: false });
        assert_eq!(shelf.next(), None);
        assert!(shelf.is_pending(&file("a")) && shelf.is_pending(&file("b")));
        shelf.finish(&first, Outcome::Refused(refused("no")));
        assert_eq!(shelf.next().unwrap().origin, file("a"));
        assert_eq!((state(&shelf, "b"), state(&shelf, "a")), (Some(refused("no")), Some(Trouble::Loading)));
        assert!(!shelf.was_good(&file("a")) && shelf.is_known(&file("b")) && !shelf.is_known(&file("a")));
    }

    #[test]
    fn what_changes_while_it_is_loaded_is_loaded_again_and_only_the_newest_counts() {
        let mut shelf = Shelf::default();
        shelf.put(&file("a"), bytes("1"));
        let first = shelf.next().unwrap();
        shelf.put(&file("a"), bytes("2"));
        shelf.put(&file("a"), bytes("3"));
        shelf.finish(&first, Outcome::Refused(refused("1")));
        assert_eq!(state(&shelf, "a"), Some(Trouble::Loading));
        let second = shelf.next().unwrap();
        assert_eq!(second.holding, bytes("3"));
        shelf.finish(&second, Outcome::Refused(refused("3")));
        assert_eq!(state(&shelf, "a"), Some(refused("3")));
        assert!(shelf.is_idle());
        // The same again is no news.
        shelf.put(&file("a"), bytes("3"));
        assert!(shelf.is_idle());
    }

    #[test]
    fn what_was_put_ahead_is_looked_at_when_nothing_is_to_be_loaded_and_changes_nothing() {
        let mut shelf = Shelf::default();
        shelf.put_ahead(&file("a"), bytes("1"));
        shelf.put(&file("b"), bytes("1"));
        let first = shelf.next().unwrap();
        assert_eq!((&first.origin, first.is_ahead), (&file("b"), false));
        shelf.finish(&first, Outcome::Refused(refused("b")));
        let ahead = shelf.next().unwrap();
        assert_eq!((&ahead.origin, ahead.is_ahead), (&file("a"), true));
        // It settled meanwhile.
        shelf.put(&file("a"), bytes("1"));
        shelf.finish(&ahead, Outcome::Refused(refused("half of it")));
        // So did another one, before its turn came.
        shelf.put_ahead(&file("c"), bytes("1"));
        shelf.put(&file("c"), bytes("1"));
        assert_eq!(state(&shelf, "a"), Some(Trouble::Loading));
        let load = shelf.next().unwrap();
        assert_eq!((&load.origin, load.is_ahead), (&file("a"), false));
        shelf.finish(&load, Outcome::Same);
        let load = shelf.next().unwrap();
        assert_eq!((&load.origin, load.is_ahead), (&file("c"), false));
        shelf.finish(&load, Outcome::Same);
        assert_eq!(shelf.next(), None);
    }

    #[test]
    fn what_is_removed_or_fails_while_it_is_loaded_stays_so() {
        let mut shelf = Shelf::default();
        shelf.put(&file("a"), bytes("1"));
        let load = shelf.next().unwrap();
        shelf.remove(&file("a"));
        shelf.finish(&load, Outcome::Refused(refused("1")));
        assert!(shelf.library().is_empty());
        shelf.put(&file("a"), bytes("1"));
        let load = shelf.next().unwrap();
        shelf.fail(&file("a"), Trouble::Missing("gone".to_owned()));
        shelf.finish(&load, Outcome::Refused(refused("1")));
        assert_eq!(state(&shelf, "a"), Some(Trouble::Missing("gone".to_owned())));
        assert_eq!(shelf.next(), None);
    }

    #[test]
    fn what_changed_while_it_was_read_is_taken_again_even_if_it_is_as_before() {
        let mut shelf = Shelf::default();
        shelf.put(&file("a"), bytes("1"));
        let load = shelf.next().unwrap();
        shelf.finish(&load, Outcome::Changed);
        assert!(shelf.is_idle());
        shelf.put(&file("a"), bytes("1"));
        assert_eq!(shelf.next(), Some(load));
    }
}
