//! The module store: the content of each origin, the module that was loaded from it, and which one to load next. What is in the cache
//! comes first, then the smallest module that is to be compiled: one that takes long keeps nobody waiting at a start. No I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::File { stamp, .. } => stamp.size,
            Self::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }
    }
}

/// Time until the first attempt after one that failed for a reason that may pass; the next ones take twice as long each.
const RETRY: Duration = Duration::from_secs(5);
/// Longest time between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// By how much a module must be larger than another to make room for it.
const MUCH_LARGER: u64 = 4;
/// How often the compilation of one module makes room for others, until it is compiled whatever comes.
const GIVES_WAY: u32 = 3;

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
    /// Its code is not in the cache.
    NotCached,
    /// It could not be loaded, for a reason that may pass.
    Failed {
        /// Why.
        reason: String,
        /// Attempts after which it is refused.
        most: Option<u32>,
    },
}

/// One origin.
#[derive(Clone, Debug)]
struct Slot {
    content: Option<Content>,
    state: Result<Loaded, Trouble>,
    /// Whether a module was ever loaded from it.
    was_good: bool,
    /// Attempts to load the content that failed for a reason that may pass.
    failures: u32,
    /// Those among them for which there is a limit.
    limited: u32,
    /// Compilations that made room for another module.
    gave_way: u32,
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
    /// Whether it is compiled if the cache does not have its code.
    pub(super) compiles: bool,
    /// Whether it only warms the cache of compiled code, for a load that is expected.
    pub(super) is_ahead: bool,
    /// Whether it is to make room for another one.
    pub(super) gives_way: GivesWay,
}

/// Asks a compilation that is under way to end, for a module that is much smaller.
#[derive(Clone, Debug, Default)]
pub(super) struct GivesWay(Arc<AtomicBool>);

impl GivesWay {
    fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl PartialEq for GivesWay {
    fn eq(&self, other: &Self) -> bool {
        self.is_asked() == other.is_asked()
    }
}

impl Eq for GivesWay {}

impl Load {
    /// From the cache.
    fn new(origin: Origin, content: Content) -> Self {
        let gives_way = GivesWay::default();
        Self { origin, content, known: None, compiles: false, is_ahead: false, gives_way }
    }
}

/// All origins, and the order in which they are loaded.
#[derive(Clone, Debug, Default)]
pub(super) struct ModuleStore {
    slots: BTreeMap<Origin, Slot>,
    /// To be looked for in the cache.
    queue: VecDeque<Origin>,
    /// To be compiled.
    compiles: BTreeSet<Origin>,
    /// When an attempt that failed is repeated.
    retries: BTreeMap<Origin, Instant>,
    ahead: BTreeMap<Origin, Content>,
    /// What is looked for in the cache now.
    looking: Option<Load>,
    /// What is compiled now.
    compiling: Option<Load>,
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
        self.unqueue(origin);
    }

    fn unqueue(&mut self, origin: &Origin) {
        self.queue.retain(|queued| queued != origin);
        self.compiles.remove(origin);
        self.retries.remove(origin);
    }

    /// New content of an origin, to be loaded in turn. The module that was loaded before stays until then.
    pub(super) fn put(&mut self, origin: &Origin, content: Content) {
        self.ahead.remove(origin);
        let slot = self.slot(origin);
        if slot.content.as_ref() == Some(&content) {
            return;
        }
        (slot.content, slot.failures, slot.limited, slot.gave_way) = (Some(content), 0, 0, 0);
        self.compiles.remove(origin);
        self.retries.remove(origin);
        if !self.queue.contains(origin) {
            self.queue.push_back(origin.clone());
        }
    }

    /// A compilation that may take a minute makes room for a module that takes a moment, a few times.
    fn make_room(&mut self, size: u64) {
        let Some(load) = &self.compiling else { return };
        if size.saturating_mul(MUCH_LARGER) > load.content.size() || load.gives_way.is_asked() {
            return;
        }
        match self.slots.get_mut(&load.origin) {
            _ if load.is_ahead => load.gives_way.ask(),
            Some(slot) if slot.gave_way < GIVES_WAY => {
                slot.gave_way += 1;
                load.gives_way.ask();
            }
            _ => {}
        }
    }

    /// When an attempt that failed is repeated.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.values().min().copied()
    }

    /// Queues the attempts that are due.
    pub(super) fn retry(&mut self, now: Instant) {
        let due: Vec<Origin> =
            self.retries.iter().filter(|(_, at)| **at <= now).map(|(origin, _)| origin.clone()).collect();
        for origin in due {
            self.retries.remove(&origin);
            self.queue.push_back(origin);
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
        self.unqueue(origin);
    }

    /// Whether the content of the origin is known.
    pub(super) fn is_known(&self, origin: &Origin) -> bool {
        let state = self.slots.get(origin).map(|slot| &slot.state);
        state.is_some_and(|state| !matches!(state, Err(Trouble::Loading | Trouble::Unavailable(_))))
    }

    /// The next load: one compilation at a time, since it uses all processors, and beside it one look at the cache.
    pub(super) fn next(&mut self) -> Option<Load> {
        if self.looking.is_some() {
            return None;
        }
        while let Some(origin) = self.queue.pop_front() {
            let Some(slot) = self.slots.get(&origin) else { continue };
            let Some(content) = slot.content.clone() else { continue };
            let known = slot.state.as_ref().ok().map(|loaded| loaded.module.digest().to_owned());
            return self.begin(Load { known, ..Load::new(origin, content) });
        }
        if self.compiling.is_some() {
            return None;
        }
        let content = |origin: &Origin| self.slots.get(origin).and_then(|slot| slot.content.clone());
        let smallest = self.compiles.iter().filter_map(|origin| Some((origin.clone(), content(origin)?)));
        if let Some((origin, content)) = smallest.min_by_key(|(_, content)| content.size()) {
            self.compiles.remove(&origin);
            return self.begin(Load { compiles: true, ..Load::new(origin, content) });
        }
        let (origin, content) = self.ahead.pop_first()?;
        self.begin(Load { compiles: true, is_ahead: true, ..Load::new(origin, content) })
    }

    fn begin(&mut self, load: Load) -> Option<Load> {
        let slot = if load.compiles { &mut self.compiling } else { &mut self.looking };
        *slot = Some(load.clone());
        Some(load)
    }

    /// Takes the result of a load. It is dropped if the origin has other content by now.
    pub(super) fn finish(&mut self, load: &Load, outcome: Outcome, now: Instant) {
        *(if load.compiles { &mut self.compiling } else { &mut self.looking }) = None;
        if load.is_ahead {
            return;
        }
        let Some(slot) = self.slots.get_mut(&load.origin) else { return };
        if slot.content.as_ref() != Some(&load.content) {
            return;
        }
        if matches!(outcome, Outcome::NotCached) {
            self.compiles.insert(load.origin.clone());
            self.make_room(load.content.size());
            return;
        }
        if let Outcome::Failed { reason, most } = &outcome {
            slot.failures = slot.failures.saturating_add(1);
            slot.limited = slot.limited.saturating_add(u32::from(most.is_some()));
            if most.is_some_and(|most| slot.limited >= most) {
                slot.state = Err(Trouble::Invalid(reason.clone()));
            } else {
                let pause = RETRY.saturating_mul(2_u32.saturating_pow(slot.failures - 1)).min(RETRY_MAX);
                let message = format!("{reason}; it is tried again in {} s", pause.as_secs());
                slot.state = Err(Trouble::Unavailable(message));
                self.retries.insert(load.origin.clone(), now + pause);
            }
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
            Outcome::NotCached | Outcome::Failed { .. } => {}
        }
    }

    /// Whether an origin waits to be loaded, perhaps again, or is being loaded.
    pub(super) fn is_pending(&self, origin: &Origin) -> bool {
        let waits = self.queue.contains(origin) || self.compiles.contains(origin) || self.retries.contains_key(origin);
        waits || self.under_way().any(|load| load.origin == *origin)
    }

    /// Whether nothing waits to be loaded or is being loaded.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way().next().is_none() && self.queue.is_empty() && self.compiles.is_empty()
    }

    /// How many modules of registries are in memory until they are loaded.
    pub(super) fn pulled(&self) -> usize {
        let waiting = self.queue.iter().chain(&self.compiles);
        let all = waiting.chain(self.under_way().map(|load| &load.origin));
        all.filter(|origin| matches!(origin, Origin::Oci(_))).count()
    }

    fn under_way(&self) -> impl Iterator<Item = &Load> {
        self.looking.iter().chain(&self.compiling)
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
        let new = || Slot {
            content: None,
            state: Err(Trouble::Loading),
            was_good: false,
            failures: 0,
            limited: 0,
            gave_way: 0,
        };
        self.slots.entry(origin.clone()).or_insert_with(new)
    }
}

#[cfg(test)]
mod tests;
