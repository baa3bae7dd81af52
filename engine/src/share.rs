//! Who calls next: calls at the same time are bounded in number and in memory, and providers share them. Whoever has the fewest
//! under way goes first, and nobody has more than half of all, so that a provider whose calls never end takes no room from the
//! others. No I/O: requests in, grants out.

use std::collections::{BTreeMap, VecDeque};

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
    calls: usize,
    bytes: u64,
    waiting: VecDeque<(u64, T)>,
    /// When it came, or got its last grant.
    turn: u64,
}

/// Grants room for calls. `T` is whatever tells the caller that it may begin.
#[derive(Debug)]
pub struct Share<T> {
    room: Room,
    calls: usize,
    bytes: u64,
    parts: BTreeMap<String, Part<T>>,
    turns: u64,
}

/// Room that was granted, to be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// To whom.
    pub provider: String,
    /// How much memory.
    pub bytes: u64,
}

impl<T> Share<T> {
    /// Shares this room.
    #[must_use]
    pub fn new(room: Room) -> Self {
        let room = Room { calls: room.calls.max(1), bytes: room.bytes.max(1) };
        Self { room, calls: 0, bytes: 0, parts: BTreeMap::new(), turns: 0 }
    }

    /// A provider wants to make a call of so much memory. What wants more than there is, is granted all there is.
    pub fn ask(&mut self, provider: &str, bytes: u64, ticket: T) {
        let bytes = bytes.min(self.room.bytes);
        self.turns += 1;
        let new = || Part { calls: 0, bytes: 0, waiting: VecDeque::new(), turn: self.turns };
        self.parts.entry(provider.to_owned()).or_insert_with(new).waiting.push_back((bytes, ticket));
    }

    /// A call ended.
    pub fn give_back(&mut self, granted: &Granted) {
        self.calls = self.calls.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(granted.bytes);
        if let Some(part) = self.parts.get_mut(&granted.provider) {
            part.calls = part.calls.saturating_sub(1);
            part.bytes = part.bytes.saturating_sub(granted.bytes);
            if part.calls == 0 && part.waiting.is_empty() {
                self.parts.remove(&granted.provider);
            }
        }
    }

    /// The next call that may begin; `None` if there is none, or no room. Room that is too small for whose turn it is stays free:
    /// small calls would keep a large one out for ever.
    pub fn grant(&mut self) -> Option<(Granted, T)> {
        let (half_calls, half_bytes) = (self.room.calls.div_ceil(2), self.room.bytes.div_ceil(2));
        // A call that is larger than half may be made alone.
        let within_half = |part: &Part<T>| {
            let bytes = part.waiting.front().map_or(0, |(bytes, _)| *bytes);
            part.calls == 0 || (part.calls < half_calls && part.bytes + bytes <= half_bytes)
        };
        let wants = self.parts.iter_mut().filter(|(_, part)| !part.waiting.is_empty() && within_half(part));
        let (provider, part) = wants.min_by_key(|(_, part)| (part.calls, part.turn))?;
        let bytes = part.waiting.front().map(|(bytes, _)| *bytes)?;
        if self.calls >= self.room.calls || self.bytes + bytes > self.room.bytes {
            return None;
        }
        let (_, ticket) = part.waiting.pop_front()?;
        self.turns += 1;
        part.turn = self.turns;
        part.calls += 1;
        part.bytes += bytes;
        self.calls += 1;
        self.bytes += bytes;
        Some((Granted { provider: provider.clone(), bytes }, ticket))
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
            share.give_back(ended);
            share.ask(&ended.provider, 64 * MIB, 1);
            assert_eq!(granted(&mut share), []);
        }
        share.give_back(&running[3]);
        let large = Granted { provider: "large".to_owned(), bytes: 256 * MIB };
        assert_eq!(granted(&mut share), std::slice::from_ref(&large));
        share.give_back(&large);
        assert_eq!(granted(&mut share).len(), 4);
    }

    proptest! {
        /// The bounds hold always, and whatever is asked for is granted in the end.
        #[test]
        fn nothing_exceeds_the_room_and_everything_gets_its_turn(
            asks in proptest::collection::vec((0..4usize, 1..400u64), 1..60), ends in proptest::collection::vec(any::<usize>(), 60),
        ) {
            let mut share = share(6, 256);
            let mut running: Vec<Granted> = Vec::new();
            let mut served = 0;
            for (number, (provider, mib)) in asks.iter().enumerate() {
                share.ask(&format!("p{provider}"), mib * MIB, number);
            }
            for end in ends {
                while let Some((granted, _)) = share.grant() {
                    served += 1;
                    running.push(granted);
                }
                prop_assert!(running.len() <= 6 && running.iter().map(|granted| granted.bytes).sum::<u64>() <= 256 * MIB);
                if !running.is_empty() {
                    let ended = running.swap_remove(end % running.len());
                    share.give_back(&ended);
                }
            }
            while let Some((granted, _)) = share.grant() {
                served += 1;
                share.give_back(&granted);
            }
            prop_assert_eq!(served, asks.len());
        }
    }
}
