//! The module store: the content of each origin, the module that was loaded from it, and which one to load next. No I/O.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use super::folder::Stamp;
use super::{Library, Loaded, Origin, Trouble};

/// The content of an origin, as last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A file that had settled with this stamp.
    File {
        /// Its path.
        path: PathBuf,
        /// Its metadata at that time.
        stamp: Stamp,
    },
    /// The bytes themselves.
    Bytes(bytes::Bytes),
}

/// The result of a load.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// Another module than the known one.
    Loaded(Box<Loaded>),
    /// The known module: only the file's metadata changed.
    Same,
    /// The content changed before it was read.
    Changed,
    /// No module, and why.
    Refused(Trouble),
}

/// One origin.
#[derive(Clone, Debug)]
struct Slot {
    content: Option<Content>,
    state: Result<Loaded, Trouble>,
    /// Whether a module was ever loaded from it.
    was_good: bool,
}

/// A load to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// The origin.
    pub(super) origin: Origin,
    /// Its content.
    pub(super) content: Content,
    /// Digest of the module that is loaded already.
    pub(super) known: Option<String>,
    /// Whether it only warms the cache of compiled code, for a load that is expected.
    pub(super) is_ahead: bool,
}

/// All origins, and the order in which they are loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct ModuleStore {
    slots: BTreeMap<Origin, Slot>,
    queue: VecDeque<Origin>,
    ahead: BTreeMap<Origin, Content>,
    loading: Option<Origin>,
}

impl ModuleStore {
    /// An origin is wanted; its content is not known yet.
    pub(super) fn await_load(&mut self, origin: &Origin) {
        self.slot(origin);
    }

    /// Nobody wants the origin any more, or its file is gone.
    pub(super) fn remove(&mut self, origin: &Origin) {
        self.ahead.remove(origin);
        self.slots.remove(origin);
        self.queue.retain(|queued| queued != origin);
    }

    /// New content of an origin, to be loaded in turn. The module that was loaded before stays until then.
    pub(super) fn put(&mut self, origin: &Origin, content: Content) {
        self.ahead.remove(origin);
        let slot = self.slot(origin);
        if slot.content.as_ref() == Some(&content) {
            return;
        }
        slot.content = Some(content);
        if !self.queue.contains(origin) {
            self.queue.push_back(origin.clone());
        }
    }

    /// Content that has not settled yet. It is compiled when nothing else is to be loaded, so that the load finds its code in the
    /// cache.
    pub(super) fn put_ahead(&mut self, origin: &Origin, content: Content) {
        self.ahead.insert(origin.clone(), content);
    }

    /// The origin has no content, or cannot be reached.
    pub(super) fn fail(&mut self, origin: &Origin, trouble: Trouble) {
        let slot = self.slot(origin);
        (slot.content, slot.state) = (None, Err(trouble));
        self.queue.retain(|queued| queued != origin);
    }

    /// Whether the content of the origin is known.
    pub(super) fn is_known(&self, origin: &Origin) -> bool {
        let state = self.slots.get(origin).map(|slot| &slot.state);
        state.is_some_and(|state| !matches!(state, Err(Trouble::Loading | Trouble::Unavailable(_))))
    }

    /// The next load. One at a time, since compiling uses all processors.
    pub(super) fn next(&mut self) -> Option<Load> {
        if self.loading.is_some() {
            return None;
        }
        while let Some(origin) = self.queue.pop_front() {
            let Some(slot) = self.slots.get(&origin) else { continue };
            let Some(content) = slot.content.clone() else { continue };
            let known = slot.state.as_ref().ok().map(|loaded| loaded.module.digest().to_owned());
            self.loading = Some(origin.clone());
            return Some(Load { origin, content, known, is_ahead: false });
        }
        let (origin, content) = self.ahead.pop_first()?;
        self.loading = Some(origin.clone());
        Some(Load { origin, content, known: None, is_ahead: true })
    }

    /// Takes the result of a load. It is dropped if the origin has other content by now.
    pub(super) fn finish(&mut self, load: &Load, outcome: Outcome) {
        self.loading = None;
        if load.is_ahead {
            return;
        }
        let Some(slot) = self.slots.get_mut(&load.origin) else { return };
        if slot.content.as_ref() != Some(&load.content) {
            return;
        }
        if matches!(load.origin, Origin::Oci(_)) {
            // A registry sends a module once: keeping the bytes to compare them with the next would only cost memory.
            slot.content = None;
        }
        match outcome {
            Outcome::Loaded(loaded) => (slot.state, slot.was_good) = (Ok(*loaded), true),
            Outcome::Same => {}
            // So that whatever is seen next counts as new.
            Outcome::Changed => slot.content = None,
            Outcome::Refused(trouble) => slot.state = Err(trouble),
        }
    }

    /// Whether an origin waits to be loaded, or is being loaded.
    pub(super) fn is_pending(&self, origin: &Origin) -> bool {
        self.loading.as_ref() == Some(origin) || self.queue.contains(origin)
    }

    /// Whether nothing waits to be loaded or is being loaded.
    pub(super) fn is_idle(&self) -> bool {
        self.loading.is_none() && self.queue.is_empty()
    }

    /// Whether a module was ever loaded from the origin.
    pub(super) fn was_good(&self, origin: &Origin) -> bool {
        self.slots.get(origin).is_some_and(|slot| slot.was_good)
    }

    /// The module of each origin, or why it has none.
    pub(super) fn library(&self) -> Library {
        self.slots.iter().map(|(origin, slot)| (origin.clone(), slot.state.clone())).collect()
    }

    fn slot(&mut self, origin: &Origin) -> &mut Slot {
        let new = || Slot { content: None, state: Err(Trouble::Loading), was_good: false };
        self.slots.entry(origin.clone()).or_insert_with(new)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(first, Load { origin: file("b"), content: bytes("1"), known: None, is_ahead: false });
        assert_eq!(store.next(), None);
        assert!(store.is_pending(&file("a")) && store.is_pending(&file("b")));
        store.finish(&first, Outcome::Refused(refused("no")));
        assert_eq!(store.next().unwrap().origin, file("a"));
        assert_eq!((state(&store, "b"), state(&store, "a")), (Some(refused("no")), Some(Trouble::Loading)));
        assert!(!store.was_good(&file("a")) && store.is_known(&file("b")) && !store.is_known(&file("a")));
    }

    #[test]
    fn content_that_changes_while_it_is_loaded_is_loaded_again() {
        let mut store = ModuleStore::default();
        store.put(&file("a"), bytes("1"));
        let first = store.next().unwrap();
        store.put(&file("a"), bytes("2"));
        store.put(&file("a"), bytes("3"));
        store.finish(&first, Outcome::Refused(refused("1")));
        assert_eq!(state(&store, "a"), Some(Trouble::Loading));
        let second = store.next().unwrap();
        assert_eq!(second.content, bytes("3"));
        store.finish(&second, Outcome::Refused(refused("3")));
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
        store.finish(&first, Outcome::Refused(refused("b")));
        let ahead = store.next().unwrap();
        assert_eq!((&ahead.origin, ahead.is_ahead), (&file("a"), true));
        // It settled meanwhile.
        store.put(&file("a"), bytes("1"));
        store.finish(&ahead, Outcome::Refused(refused("half of it")));
        // So did another one, before it was compiled.
        store.put_ahead(&file("c"), bytes("1"));
        store.put(&file("c"), bytes("1"));
        assert_eq!(state(&store, "a"), Some(Trouble::Loading));
        let load = store.next().unwrap();
        assert_eq!((&load.origin, load.is_ahead), (&file("a"), false));
        store.finish(&load, Outcome::Same);
        let load = store.next().unwrap();
        assert_eq!((&load.origin, load.is_ahead), (&file("c"), false));
        store.finish(&load, Outcome::Same);
        assert_eq!(store.next(), None);
    }

    #[test]
    fn an_origin_that_is_removed_or_fails_while_it_is_loaded_stays_so() {
        let mut store = ModuleStore::default();
        store.put(&file("a"), bytes("1"));
        let load = store.next().unwrap();
        store.remove(&file("a"));
        store.finish(&load, Outcome::Refused(refused("1")));
        assert!(store.library().is_empty());
        store.put(&file("a"), bytes("1"));
        let load = store.next().unwrap();
        store.fail(&file("a"), Trouble::Missing("gone".to_owned()));
        store.finish(&load, Outcome::Refused(refused("1")));
        assert_eq!(state(&store, "a"), Some(Trouble::Missing("gone".to_owned())));
        assert_eq!(store.next(), None);
    }

    #[test]
    fn content_that_changed_while_it_was_read_is_loaded_again() {
        let mut store = ModuleStore::default();
        store.put(&file("a"), bytes("1"));
        let load = store.next().unwrap();
        store.finish(&load, Outcome::Changed);
        assert!(store.is_idle());
        store.put(&file("a"), bytes("1"));
        assert_eq!(store.next(), Some(load));
    }
}
