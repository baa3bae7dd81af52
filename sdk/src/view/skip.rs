//! Finds the end of a string, an object or a list. Brackets in strings do not count; a bit mask per block says which bytes
//! are in strings. Most of a request is skipped, and byte by byte that would take a third of a call.
//!
//! Loops over vectors are functions of their own, not inlined, so that the compiler keeps their state in registers.

use std::num::NonZeroUsize;

use super::vectors::{BLOCK, Marks, PIECE, marks, mask, quote_or_backslash};

/// The end of the object or list that begins at `at`: the offset after its closing bracket. Whether opening and closing
/// brackets are of the same kind is not checked.
#[inline(never)]
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub(super) fn end_of_brackets(bytes: &[u8], mut at: usize) -> Option<NonZeroUsize> {
    if let Some([b'{', b'}'] | [b'[', b']']) = bytes.get(at..at + 2) {
        return NonZeroUsize::new(at + 2);
    }
    // The nesting depth at the start of the block; and all ones if the block starts in a string, else zero.
    let (mut depth, mut in_string) = (0, 0);
    loop {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let last;
        let block = match rest.first_chunk() {
            Some(block) => block,
            None => {
                last = padded(rest);
                &last
            }
        };
        let (Marks { mut quotes, opens, closes, backslashes }, mut length) = (marks(block), BLOCK);
        if backslashes {
            let (escaped, is_next) = escaped(mask(block, b'\\'));
            quotes &= !escaped;
            length += usize::from(is_next);
        }
        let strings = ones_between(quotes) ^ in_string;
        let (opens, closes) = (opens & !strings, closes & !strings);
        if closes.count_ones() >= depth
            && let Some(last) = last_bracket(opens, closes, depth)
        {
            return NonZeroUsize::new(at + last + 1);
        }
        depth = depth + opens.count_ones() - closes.count_ones();
        in_string = (strings.cast_signed() >> (BLOCK - 1)).cast_unsigned();
        at += length;
    }
}

/// The last bytes of the text as a block, padded with spaces.
#[cold]
fn padded(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [b' '; BLOCK];
    for (to, from) in block.iter_mut().zip(rest) {
        *to = *from;
    }
    block
}

/// Which bytes of a block are escaped by a backslash before them, and whether the first byte after the block is. Backslashes
/// outside of strings are treated alike: JSON has none there.
fn escaped(mut backslashes: u64) -> (u64, bool) {
    let (mut escaped, mut last) = (0, 0);
    while backslashes != 0 {
        last = backslashes & backslashes.wrapping_neg();
        escaped |= last << 1;
        backslashes &= !(last | last << 1);
    }
    (escaped, last >> (BLOCK - 1) == 1)
}

/// The index of the bracket in a block that closes the outermost object or list, if there is one. At least as many brackets
/// must close as are open, so all but the last of those are skipped at once.
fn last_bracket(opens: u64, mut closes: u64, depth: u32) -> Option<usize> {
    let (mut opened, mut closed) = (0, 0);
    loop {
        let open = (depth + opened - closed).max(1);
        for _ in 1..open {
            closes &= closes.wrapping_sub(1);
        }
        if closes == 0 {
            return None;
        }
        let bit = closes.trailing_zeros();
        closes &= closes - 1;
        closed += open;
        opened = (opens & ((1 << bit) - 1)).count_ones();
        if depth + opened == closed {
            return Some(bit as usize);
        }
    }
}

/// The prefix XOR of a mask of quotes: ones from each opening quote up to, not including, its closing quote.
fn ones_between(quotes: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].into_iter().fold(quotes, |ones, shift| ones ^ (ones << shift))
}

/// The end of the string whose opening quote is at `at`: the offset after its closing quote.
// Inlined because most strings are short and end in the first piece.
#[inline(always)]
pub(super) fn end_of_string(bytes: &[u8], at: usize) -> Option<NonZeroUsize> {
    let at = at + 1;
    let Some(piece) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else { return end_of_long_string(bytes, at) };
    match quote_or_backslash(piece) {
        Some((place, true)) => NonZeroUsize::new(at + place + 1),
        Some((_, false)) => end_of_long_string(bytes, at),
        None => end_of_long_string(bytes, at + PIECE),
    }
}

/// As [`end_of_string`], for a string of which the rest begins at `at`.
#[inline(never)]
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn end_of_long_string(bytes: &[u8], mut at: usize) -> Option<NonZeroUsize> {
    loop {
        let rest = bytes.get(at..)?;
        let found = match rest.first_chunk() {
            Some(piece) => quote_or_backslash(piece),
            None => {
                let place = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
                Some((place, rest.get(place) == Some(&b'"')))
            }
        };
        match found {
            Some((place, true)) => return NonZeroUsize::new(at + place + 1),
            Some((place, false)) => at += place + 2,
            None => at += PIECE,
        }
    }
}
