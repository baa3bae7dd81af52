//! Who calls next: calls at the same time are bounded in number and in memory, and providers share them. Whoever has the fewest
//! under way goes first, and nobody has more than half of all, so that a provider whose calls never end takes no room from the
//! others. A quarter is a lane of its own, for short and small calls of those who have nothing under way: where several providers
//! fill the rest with calls that take long, or a large call waits until it fits, the others go on there. No I/O: requests in,
//! grants out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What there is to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Calls at the same time.
    pub calls: usize,
    /// Bytes of memory that they may take together.
    pub bytes: u64,
}

/// One provider's part.
#[derive(Clone, Debug)]
struct Part<T> {
    used: Room,
    waiting: VecDeque<(u64, T)>,
    /// When it came, or got its last grant.
    turn: u64,
}

/// Grants room for calls. `T` is whatever tells the caller that it may begin.
#[derive(Debug)]
pub struct Share<T> {
    room: Room,
    /// What is under way, without the lane.
    used: Room,
    /// What is under way in the lane.
    in_lane: Room,
    parts: BTreeMap<String, Part<T>>,
    /// Whose last call took long.
    long: BTreeSet<String>,
    turns: u64,
}

/// Room that was granted, to be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// To whom.
    pub provider: String,
    /// How much memory.
    pub bytes: u64,
    /// Whether it is of the lane.
    in_lane: bool,
}

impl Room {
    const NONE: Self = Self { calls: 0, bytes: 0 };

    /// Whether one more call fits.
    fn fits(self, used: Self, bytes: u64) -> bool {
        used.calls < self.calls && used.bytes + bytes <= self.bytes
    }

    fn take(&mut self, bytes: u64) {
        self.calls += 1;
        self.bytes += bytes;
    }

    fn give_back(&mut self, bytes: u64) {
        self.calls = self.calls.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl<T> Share<T> {
    /// Shares this room.
    #[must_use]
    pub fn new(room: Room) -> Self {
        let room = Room { calls: room.calls.max(1), bytes: room.bytes.max(1) };
        Self { room, used: Room::NONE, in_lane: Room::NONE, parts: BTreeMap::new(), long: BTreeSet::new(), turns: 0 }
    }

    /// A provider wants to make a call of so much memory. What wants more than there is, is granted all there is.
    pub fn ask(&mut self, provider: &str, bytes: u64, ticket: T) {
        let bytes = bytes.min(self.room.bytes);
        self.turns += 1;
        let new = || Part { used: Room::NONE, waiting: VecDeque::new(), turn: self.turns };
        self.parts.entry(provider.to_owned()).or_insert_with(new).waiting.push_back((bytes, ticket));
    }

    /// A call ended, which took long or did not; `None`: it was not made.
    pub fn give_back(&mut self, granted: &Granted, took_long: Option<bool>) {
        match took_long {
            Some(true) => _ = self.long.insert(granted.provider.clone()),
            Some(false) => _ = self.long.remove(&granted.provider),
            None => {}
        }
        if granted.in_lane { &mut self.in_lane } else { &mut self.used }.give_back(granted.bytes);
        if let Some(part) = self.parts.get_mut(&granted.provider) {
            part.used.give_back(granted.bytes);
            if part.used.calls == 0 && part.waiting.is_empty() {
                self.parts.remove(&granted.provider);
            }
        }
    }

    /// The next call that may begin; `None` if there is none, or no room. Room that is too small for whose turn it is stays free,
    /// but for the lane: small calls would keep a large one out for ever.
    pub fn grant(&mut self) -> Option<(Granted, T)> {
        let half = Room { calls: self.room.calls.div_ceil(2), bytes: self.room.bytes.div_ceil(2) };
        let lane = Room { calls: self.room.calls / 4, bytes: self.room.bytes / 4 };
        let main = Room { calls: self.room.calls - lane.calls, bytes: self.room.bytes - lane.bytes };
        let all = Room { calls: self.used.calls + self.in_lane.calls, bytes: self.used.bytes + self.in_lane.bytes };
        // A call that is larger than half may be made alone.
        let may = |part: &Part<T>| part.wants().is_some_and(|bytes| part.is_idle() || half.fits(part.used, bytes));
        let wants = self.parts.iter().filter(|(_, part)| may(part));
        let (first, part) = wants.min_by_key(|(_, part)| (part.used.calls, part.turn))?;
        let bytes = part.wants()?;
        // The first call of a provider is not kept out by a lane that it is too large for, unless it could do without and will most
        // likely hold it for long.
        let may_fill_the_lane = bytes > main.bytes || bytes > lane.bytes && !self.long.contains(first);
        let its_room = if part.is_idle() && may_fill_the_lane { self.room } else { main };
        if its_room.fits(self.used, bytes) && self.room.fits(all, bytes) {
            let provider = first.clone();
            return self.begin(provider, false);
        }
        // What needs some of the lane waits until all are done, and nobody goes before it.
        if bytes > main.bytes {
            return None;
        }
        let small = |part: &Part<T>| {
            part.is_idle()
                && part.wants().is_some_and(|bytes| lane.fits(self.in_lane, bytes) && self.room.fits(all, bytes))
        };
        let short = self.parts.iter().filter(|(provider, part)| small(part) && !self.long.contains(*provider));
        let (provider, _) = short.min_by_key(|(_, part)| part.turn)?;
        let provider = provider.clone();
        self.begin(provider, true)
    }

    fn begin(&mut self, provider: String, in_lane: bool) -> Option<(Granted, T)> {
        let part = self.parts.get_mut(&provider)?;
        let (bytes, ticket) = part.waiting.pop_front()?;
        self.turns += 1;
        part.turn = self.turns;
        part.used.take(bytes);
        if in_lane { &mut self.in_lane } else { &mut self.used }.take(bytes);
        Some((Granted { provider, bytes, in_lane }, ticket))
    }
}

impl<T> Part<T> {
    fn is_idle(&self) -> bool {
        self.used == Room::NONE
    }

    /// Memory of the call that waits longest.
    fn wants(&self) -> Option<u64> {
        self.waiting.front().map(|(bytes, _)| *bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1024 * 1024;

    fn share(calls: usize, mib: u64) -> Share<usize> {
        Share::new(Room { calls, bytes: mib * MIB })
    }

    fn end<'a>(share: &mut Share<usize>, ended: impl IntoIterator<Item = &'a Granted>, took_long: bool) {
        ended.into_iter().for_each(|granted| share.give_back(granted, Some(took_long)));
    }

    fn granted(share: &mut Share<usize>) -> Vec<Granted> {
        std::iter::from_fn(|| share.grant().map(|(granted, _)| granted)).collect()
    }

    #[test]
    fn a_provider_that_wants_everything_leaves_half_to_the_others_who_go_first() {
        let mut share = share(8, 512);
        (0..100).for_each(|call| share.ask("greedy", 64 * MIB, call));
        assert_eq!(granted(&mut share).len(), 4);
        share.ask("modest", 64 * MIB, 0);
        let next = granted(&mut share);
        assert_eq!(next.len(), 1);
        assert_eq!(next[0].provider, "modest");
    }

    #[test]
    fn memory_bounds_calls_and_a_large_one_is_not_kept_out_by_small_ones() {
        let mut share = share(64, 256);
        ["a", "b", "c", "d"].iter().for_each(|provider| share.ask(provider, 64 * MIB, 0));
        let running = granted(&mut share);
        assert_eq!(running.len(), 4);
        share.ask("large", 4096 * MIB, 0);
        share.ask("e", 64 * MIB, 0);
        for ended in &running[..3] {
            share.give_back(ended, None);
            share.ask(&ended.provider, 64 * MIB, 1);
            assert_eq!(granted(&mut share), []);
        }
        share.give_back(&running[3], None);
        let large = Granted { provider: "large".to_owned(), bytes: 256 * MIB, in_lane: false };
        assert_eq!(granted(&mut share), std::slice::from_ref(&large));
        share.give_back(&large, None);
        assert_eq!(granted(&mut share).len(), 4);
    }

    /// Two with all that the others may not have, one of them since its only call is as large as that.
    fn two_that_take_long() -> (Share<usize>, Vec<Granted>) {
        let mut share = share(64, 512);
        (0..8).for_each(|call| share.ask("slow", 64 * MIB, call));
        share.ask("large", 128 * MIB, 0);
        let running = granted(&mut share);
        assert_eq!(running.iter().map(|granted| granted.bytes).sum::<u64>(), 384 * MIB);
        (share, running)
    }

    #[test]
    fn where_calls_that_take_long_fill_all_but_the_lane_others_go_on_there() {
        let (mut share, _running) = two_that_take_long();
        for call in 0..10 {
            share.ask("modest", 64 * MIB, call);
            share.ask("other", 64 * MIB, call);
            let in_lane = granted(&mut share);
            assert_eq!(
                in_lane.iter().map(|granted| granted.provider.as_str()).collect::<Vec<_>>(),
                ["modest", "other"]
            );
            end(&mut share, &in_lane, false);
        }
    }

    #[test]
    fn who_took_long_in_the_lane_does_not_come_back_until_a_call_was_short() {
        let (mut share, running) = two_that_take_long();
        for call in 0..3 {
            share.ask("sometimes", 64 * MIB, call);
        }
        let first = granted(&mut share);
        assert_eq!(first.len(), 1);
        end(&mut share, &first, true);
        assert_eq!(granted(&mut share), []);
        // Room elsewhere, for one.
        end(&mut share, &running[..1], true);
        let second = granted(&mut share);
        assert_eq!(second[0].provider, "sometimes");
        end(&mut share, &second, false);
        share.ask("sometimes", 64 * MIB, 3);
        assert!(granted(&mut share).iter().any(|granted| granted.provider == "sometimes"));
    }

    #[test]
    fn a_large_call_that_waits_lets_small_ones_pass_in_the_lane_alone_and_one_that_needs_all_lets_none() {
        let (mut share, running) = two_that_take_long();
        share.ask("larger", 256 * MIB, 0);
        share.ask("modest", 64 * MIB, 0);
        share.ask("modest", 64 * MIB, 1);
        // Its second call is not its first any more.
        assert_eq!(granted(&mut share).len(), 1);
        end(&mut share, &running, false);
        assert!(granted(&mut share).iter().any(|granted| granted.provider == "larger"));
        share.ask("all", 512 * MIB, 0);
        share.ask("late", 64 * MIB, 0);
        assert!(granted(&mut share).iter().all(|granted| granted.provider != "late"));
    }

    #[test]
    fn a_first_call_that_is_too_large_for_the_lane_has_all_the_room_there_is() {
        for (room, one, other) in [(256, 128, 128), (128, 64, 64), (512, 256, 192)] {
            let mut share = share(64, room);
            share.ask("one", one * MIB, 0);
            share.ask("other", other * MIB, 0);
            assert_eq!(granted(&mut share).len(), 2, "of {room}");
        }
        let mut share = share(64, 512);
        (0..8).for_each(|call| share.ask("slow", 64 * MIB, call));
        assert_eq!(granted(&mut share).len(), 4);
        share.ask("large", 192 * MIB, 0);
        share.ask("late", 64 * MIB, 0);
        assert_eq!(granted(&mut share).iter().map(|granted| granted.bytes / MIB).collect::<Vec<_>>(), [192, 64]);
        share.ask("later", 64 * MIB, 0);
        assert_eq!(granted(&mut share), []);
    }

    #[test]
    fn a_large_call_that_will_most_likely_take_long_leaves_the_lane_to_short_ones_unless_it_needs_it() {
        for (mib, later) in [(192, &["short"][..]), (256, &["short"]), (400, &[])] {
            let mut share = share(64, 512);
            for provider in ["one", "other"] {
                share.ask(provider, mib * MIB, 0);
                let call = granted(&mut share);
                assert_eq!(call.len(), 1);
                end(&mut share, &call, true);
            }
            share.ask("one", mib * MIB, 1);
            share.ask("other", mib * MIB, 1);
            let running = granted(&mut share);
            let expected = if mib == 192 { 2 } else { 1 };
            assert_eq!(running.len(), expected, "{mib} MiB");
            share.ask("short", 64 * MIB, 0);
            let went_on = granted(&mut share);
            let names: Vec<&str> = went_on.iter().map(|granted| granted.provider.as_str()).collect();
            assert_eq!(names, later, "{mib} MiB");
        }
    }

    proptest! {
        /// The bounds hold always, and whatever is asked for is granted in the end.
        #[test]
        fn nothing_exceeds_the_room_and_everything_gets_its_turn(
            asks in proptest::collection::vec((0..4usize, 1..400u64), 1..60), ends in proptest::collection::vec(any::<(usize, Option<bool>)>(), 60),
        ) {
            let mut share = share(6, 256);
            let mut running: Vec<Granted> = Vec::new();
            let mut served = 0;
            for (number, (provider, mib)) in asks.iter().enumerate() {
                share.ask(&format!("p{provider}"), *mib * MIB, number);
            }
            for (end, took_long) in ends {
                while let Some((granted, _)) = share.grant() {
                    served += 1;
                    running.push(granted);
                }
                prop_assert!(running.len() <= 6 && running.iter().map(|granted| granted.bytes).sum::<u64>() <= 256 * MIB);
                if !running.is_empty() {
                    let ended = running.swap_remove(end % running.len());
                    share.give_back(&ended, took_long);
                }
            }
            end(&mut share, &running, false);
            while let Some((granted, _)) = share.grant() {
                served += 1;
                share.give_back(&granted, None);
            }
            prop_assert_eq!(served, asks.len());
        }
    }
}
