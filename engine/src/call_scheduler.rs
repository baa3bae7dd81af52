//! Fair-share scheduler for module calls. Calls under way are bounded in number and in memory, and providers share that capacity:
//! the provider with the fewest calls under way goes first, and one provider gets at most half, unless a single call needs more. So a
//! provider whose calls never end takes no capacity from the others.
//!
//! A quarter of the capacity is a fast lane, for short and small calls of providers that have none under way. When several
//! providers fill the rest with long calls, or a large call waits until it fits, the other providers continue there. No I/O: requests
//! in, grants out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An amount of what calls need: the capacity of a host, or what is in use of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Calls at the same time.
    pub calls: usize,
    /// Bytes of memory of all of them.
    pub bytes: u64,
}

/// A call that waits.
#[derive(Clone, Debug)]
struct Waiting<T> {
    bytes: u64,
    ticket: T,
}

/// The calls of one provider.
#[derive(Clone, Debug)]
struct ProviderCalls<T> {
    in_use: Capacity,
    waiting: VecDeque<Waiting<T>>,
    /// When it asked first, or was last granted a call: of two providers with as many calls, the earlier goes first.
    order: u64,
}

/// Decides which call starts next. `T` is whatever tells the caller that it may start.
#[derive(Debug)]
pub struct CallScheduler<T> {
    capacity: Capacity,
    /// What calls outside the fast lane use.
    in_use: Capacity,
    /// What calls in the fast lane use.
    in_fast_lane: Capacity,
    providers: BTreeMap<String, ProviderCalls<T>>,
    /// Providers whose last call was long.
    long: BTreeSet<String>,
    next_order: u64,
}

/// Capacity for one call, to be released when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The provider.
    pub provider: String,
    /// Bytes of memory.
    pub bytes: u64,
    /// Whether it is in the fast lane.
    in_fast_lane: bool,
}

impl Capacity {
    const NONE: Self = Self { calls: 0, bytes: 0 };

    /// Whether one more call fits beside those that use `in_use`.
    fn fits(self, in_use: Self, bytes: u64) -> bool {
        in_use.calls < self.calls && in_use.bytes + bytes <= self.bytes
    }

    fn add(&mut self, bytes: u64) {
        self.calls += 1;
        self.bytes += bytes;
    }

    fn subtract(&mut self, bytes: u64) {
        self.calls = self.calls.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl<T> CallScheduler<T> {
    /// A scheduler of this capacity, with no calls.
    #[must_use]
    pub fn new(capacity: Capacity) -> Self {
        let capacity = Capacity { calls: capacity.calls.max(1), bytes: capacity.bytes.max(1) };
        Self {
            capacity,
            in_use: Capacity::NONE,
            in_fast_lane: Capacity::NONE,
            providers: BTreeMap::new(),
            long: BTreeSet::new(),
            next_order: 0,
        }
    }

    /// A provider wants to make a call that needs this much memory; a call that needs more than the capacity is granted all of it.
    pub fn request(&mut self, provider: &str, bytes: u64, ticket: T) {
        let bytes = bytes.min(self.capacity.bytes);
        self.next_order += 1;
        let new = || ProviderCalls { in_use: Capacity::NONE, waiting: VecDeque::new(), order: self.next_order };
        self.providers.entry(provider.to_owned()).or_insert_with(new).waiting.push_back(Waiting { bytes, ticket });
    }

    /// A call ended, and was long or short; `None` if it was not made.
    pub fn release(&mut self, granted: &Granted, was_long: Option<bool>) {
        match was_long {
            Some(true) => _ = self.long.insert(granted.provider.clone()),
            Some(false) => _ = self.long.remove(&granted.provider),
            None => {}
        }
        if granted.in_fast_lane { &mut self.in_fast_lane } else { &mut self.in_use }.subtract(granted.bytes);
        if let Some(calls) = self.providers.get_mut(&granted.provider) {
            calls.in_use.subtract(granted.bytes);
            if calls.in_use.calls == 0 && calls.waiting.is_empty() {
                self.providers.remove(&granted.provider);
            }
        }
    }

    /// The next call that may start; `None` if none waits, or it does not fit. What is too small for the call that goes first stays
    /// free, except for the fast lane: otherwise small calls would keep a large one waiting for ever.
    pub fn grant(&mut self) -> Option<(Granted, T)> {
        let Self { capacity, in_use, in_fast_lane, .. } = *self;
        let half = Capacity { calls: capacity.calls.div_ceil(2), bytes: capacity.bytes.div_ceil(2) };
        let lane = Capacity { calls: capacity.calls / 4, bytes: capacity.bytes / 4 };
        let main = Capacity { calls: capacity.calls - lane.calls, bytes: capacity.bytes - lane.bytes };
        let total = Capacity { calls: in_use.calls + in_fast_lane.calls, bytes: in_use.bytes + in_fast_lane.bytes };
        // A provider without calls may make one that needs more than half.
        let within_share = |calls: &ProviderCalls<T>| {
            calls.next_bytes().is_some_and(|bytes| calls.is_idle() || half.fits(calls.in_use, bytes))
        };
        let candidates = self.providers.iter().filter(|(_, calls)| within_share(calls));
        let (first, calls) = candidates.min_by_key(|(_, calls)| (calls.in_use.calls, calls.order))?;
        let bytes = calls.next_bytes()?;
        // The first call of a provider may use the fast lane's capacity as well if it needs it, or if it is too large for the lane
        // and will most likely not hold it for long.
        let may_use_lane = bytes > main.bytes || bytes > lane.bytes && !self.long.contains(first);
        let limit = if calls.is_idle() && may_use_lane { capacity } else { main };
        if limit.fits(in_use, bytes) && capacity.fits(total, bytes) {
            let provider = first.clone();
            return self.start(provider, false);
        }
        // A call that needs the lane's capacity waits until the others have ended, and no call overtakes it.
        if bytes > main.bytes {
            return None;
        }
        let fits_lane = |calls: &ProviderCalls<T>| {
            calls.is_idle()
                && calls.next_bytes().is_some_and(|bytes| lane.fits(in_fast_lane, bytes) && capacity.fits(total, bytes))
        };
        let short =
            self.providers.iter().filter(|(provider, calls)| fits_lane(calls) && !self.long.contains(*provider));
        let (provider, _) = short.min_by_key(|(_, calls)| calls.order)?;
        let provider = provider.clone();
        self.start(provider, true)
    }

    fn start(&mut self, provider: String, in_fast_lane: bool) -> Option<(Granted, T)> {
        let calls = self.providers.get_mut(&provider)?;
        let Waiting { bytes, ticket } = calls.waiting.pop_front()?;
        self.next_order += 1;
        calls.order = self.next_order;
        calls.in_use.add(bytes);
        if in_fast_lane { &mut self.in_fast_lane } else { &mut self.in_use }.add(bytes);
        Some((Granted { provider, bytes, in_fast_lane }, ticket))
    }
}

impl<T> ProviderCalls<T> {
    fn is_idle(&self) -> bool {
        self.in_use == Capacity::NONE
    }

    /// Memory of the call that has waited longest.
    fn next_bytes(&self) -> Option<u64> {
        self.waiting.front().map(|waiting| waiting.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1024 * 1024;

    fn scheduler(calls: usize, mib: u64) -> CallScheduler<usize> {
        CallScheduler::new(Capacity { calls, bytes: mib * MIB })
    }

    fn end<'a>(scheduler: &mut CallScheduler<usize>, ended: impl IntoIterator<Item = &'a Granted>, was_long: bool) {
        ended.into_iter().for_each(|granted| scheduler.release(granted, Some(was_long)));
    }

    fn granted(scheduler: &mut CallScheduler<usize>) -> Vec<Granted> {
        std::iter::from_fn(|| scheduler.grant().map(|(granted, _)| granted)).collect()
    }

    #[test]
    fn a_greedy_provider_leaves_half_to_the_others_who_go_first() {
        let mut scheduler = scheduler(8, 512);
        (0..100).for_each(|call| scheduler.request("greedy", 64 * MIB, call));
        assert_eq!(granted(&mut scheduler).len(), 4);
        scheduler.request("modest", 64 * MIB, 0);
        let next = granted(&mut scheduler);
        assert_eq!(next.len(), 1);
        assert_eq!(next[0].provider, "modest");
    }

    #[test]
    fn memory_bounds_calls_and_small_ones_do_not_starve_a_large_one() {
        let mut scheduler = scheduler(64, 256);
        ["a", "b", "c", "d"].iter().for_each(|provider| scheduler.request(provider, 64 * MIB, 0));
        let running = granted(&mut scheduler);
        assert_eq!(running.len(), 4);
        scheduler.request("large", 4096 * MIB, 0);
        scheduler.request("e", 64 * MIB, 0);
        for ended in &running[..3] {
            scheduler.release(ended, None);
            scheduler.request(&ended.provider, 64 * MIB, 1);
            assert_eq!(granted(&mut scheduler), []);
        }
        scheduler.release(&running[3], None);
        let large = Granted { provider: "large".to_owned(), bytes: 256 * MIB, in_fast_lane: false };
        assert_eq!(granted(&mut scheduler), std::slice::from_ref(&large));
        scheduler.release(&large, None);
        assert_eq!(granted(&mut scheduler).len(), 4);
    }

    /// Two providers that use all but the fast lane, one of them with a single large call.
    fn two_with_long_calls() -> (CallScheduler<usize>, Vec<Granted>) {
        let mut scheduler = scheduler(64, 512);
        (0..8).for_each(|call| scheduler.request("slow", 64 * MIB, call));
        scheduler.request("large", 128 * MIB, 0);
        let running = granted(&mut scheduler);
        assert_eq!(running.iter().map(|granted| granted.bytes).sum::<u64>(), 384 * MIB);
        (scheduler, running)
    }

    #[test]
    fn when_long_calls_fill_all_but_the_fast_lane_others_continue_there() {
        let (mut scheduler, _running) = two_with_long_calls();
        for call in 0..10 {
            scheduler.request("modest", 64 * MIB, call);
            scheduler.request("other", 64 * MIB, call);
            let in_lane = granted(&mut scheduler);
            assert_eq!(
                in_lane.iter().map(|granted| granted.provider.as_str()).collect::<Vec<_>>(),
                ["modest", "other"]
            );
            end(&mut scheduler, &in_lane, false);
        }
    }

    #[test]
    fn a_long_call_in_the_fast_lane_bars_its_provider_until_one_is_short() {
        let (mut scheduler, running) = two_with_long_calls();
        for call in 0..3 {
            scheduler.request("sometimes", 64 * MIB, call);
        }
        let first = granted(&mut scheduler);
        assert_eq!(first.len(), 1);
        end(&mut scheduler, &first, true);
        assert_eq!(granted(&mut scheduler), []);
        // Outside the lane, there is capacity for one call.
        end(&mut scheduler, &running[..1], true);
        let second = granted(&mut scheduler);
        assert_eq!(second[0].provider, "sometimes");
        end(&mut scheduler, &second, false);
        scheduler.request("sometimes", 64 * MIB, 3);
        assert!(granted(&mut scheduler).iter().any(|granted| granted.provider == "sometimes"));
    }

    #[test]
    fn small_calls_overtake_a_large_one_in_the_fast_lane_alone() {
        let (mut scheduler, running) = two_with_long_calls();
        scheduler.request("larger", 256 * MIB, 0);
        scheduler.request("modest", 64 * MIB, 0);
        scheduler.request("modest", 64 * MIB, 1);
        // The fast lane takes no second call of a provider.
        assert_eq!(granted(&mut scheduler).len(), 1);
        end(&mut scheduler, &running, false);
        assert!(granted(&mut scheduler).iter().any(|granted| granted.provider == "larger"));
        scheduler.request("all", 512 * MIB, 0);
        scheduler.request("late", 64 * MIB, 0);
        assert!(granted(&mut scheduler).iter().all(|granted| granted.provider != "late"));
    }

    #[test]
    fn a_first_call_too_large_for_the_fast_lane_may_use_all_capacity() {
        for (capacity, one, other) in [(256, 128, 128), (128, 64, 64), (512, 256, 192)] {
            let mut scheduler = scheduler(64, capacity);
            scheduler.request("one", one * MIB, 0);
            scheduler.request("other", other * MIB, 0);
            assert_eq!(granted(&mut scheduler).len(), 2, "of {capacity}");
        }
        let mut scheduler = scheduler(64, 512);
        (0..8).for_each(|call| scheduler.request("slow", 64 * MIB, call));
        assert_eq!(granted(&mut scheduler).len(), 4);
        scheduler.request("large", 192 * MIB, 0);
        scheduler.request("late", 64 * MIB, 0);
        assert_eq!(granted(&mut scheduler).iter().map(|granted| granted.bytes / MIB).collect::<Vec<_>>(), [192, 64]);
        scheduler.request("later", 64 * MIB, 0);
        assert_eq!(granted(&mut scheduler), []);
    }

    #[test]
    fn a_large_call_that_is_likely_long_leaves_the_fast_lane_to_short_ones() {
        for (mib, later) in [(192, &["short"][..]), (256, &["short"]), (400, &[])] {
            let mut scheduler = scheduler(64, 512);
            for provider in ["one", "other"] {
                scheduler.request(provider, mib * MIB, 0);
                let call = granted(&mut scheduler);
                assert_eq!(call.len(), 1);
                end(&mut scheduler, &call, true);
            }
            scheduler.request("one", mib * MIB, 1);
            scheduler.request("other", mib * MIB, 1);
            let running = granted(&mut scheduler);
            let expected = if mib == 192 { 2 } else { 1 };
            assert_eq!(running.len(), expected, "{mib} MiB");
            scheduler.request("short", 64 * MIB, 0);
            let continued = granted(&mut scheduler);
            let names: Vec<&str> = continued.iter().map(|granted| granted.provider.as_str()).collect();
            assert_eq!(names, later, "{mib} MiB");
        }
    }

    proptest! {
        /// The bounds hold at any time, and every request is granted in the end.
        #[test]
        fn nothing_exceeds_the_capacity_and_every_request_is_granted(
            asks in proptest::collection::vec((0..4usize, 1..400u64), 1..60), ends in proptest::collection::vec(any::<(usize, Option<bool>)>(), 60),
        ) {
            let mut scheduler = scheduler(6, 256);
            let mut running: Vec<Granted> = Vec::new();
            let mut served = 0;
            for (number, (provider, mib)) in asks.iter().enumerate() {
                scheduler.request(&format!("p{provider}"), *mib * MIB, number);
            }
            for (end, was_long) in ends {
                while let Some((granted, _)) = scheduler.grant() {
                    served += 1;
                    running.push(granted);
                }
                prop_assert!(running.len() <= 6 && running.iter().map(|granted| granted.bytes).sum::<u64>() <= 256 * MIB);
                if !running.is_empty() {
                    let ended = running.swap_remove(end % running.len());
                    scheduler.release(&ended, was_long);
                }
            }
            end(&mut scheduler, &running, false);
            while let Some((granted, _)) = scheduler.grant() {
                served += 1;
                scheduler.release(&granted, None);
            }
            prop_assert_eq!(served, asks.len());
        }
    }
}
