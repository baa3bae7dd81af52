//! Where an object or a list ends, found 64 bytes at a time: brackets count unless they stand in a string, and a bit per byte
//! says which do. Most of a request is passed over, and byte by byte that would be a third of a call.

/// Bytes that are looked at together: one bit of a word for each.
const BLOCK: usize = 64;

/// Which bytes of a block are what, the first in the lowest bit.
struct Marks {
    quotes: u64,
    /// Whether there are any.
    backslashes: bool,
    /// `{` and `[`.
    opens: u64,
    /// `}` and `]`.
    closes: u64,
}

/// How deep the place is, and whether it is in a string.
struct Place {
    at: usize,
    depth: u32,
    in_string: bool,
}

/// Where the object or list ends that begins at `at`: after its closing bracket. Which bracket closes which is not checked.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub(super) fn end_of_brackets(bytes: &[u8], at: usize) -> Option<usize> {
    if let Some([b'{', b'}'] | [b'[', b']']) = bytes.get(at..at + 2) {
        return Some(at + 2);
    }
    let mut place = Place { at, depth: 0, in_string: false };
    loop {
        let rest = bytes.get(place.at..).filter(|rest| !rest.is_empty())?;
        let Marks { quotes, backslashes, opens, closes } = match rest.first_chunk::<BLOCK>() {
            Some(block) => marks(block),
            None => marks(&filled_up(rest)),
        };
        if backslashes {
            // What follows a backslash may be no quote at all.
            if place.walk(bytes, place.at + BLOCK) {
                return Some(place.at);
            }
            continue;
        }
        let strings = ones_between(quotes) ^ if place.in_string { u64::MAX } else { 0 };
        let (opens, closes) = (opens & !strings, closes & !strings);
        if closes.count_ones() >= place.depth
            && let Some(last) = last_bracket(opens, closes, place.depth)
        {
            return Some(place.at + last + 1);
        }
        place.depth = place.depth + opens.count_ones() - closes.count_ones();
        place.in_string = strings >> (BLOCK - 1) == 1;
        place.at += BLOCK;
    }
}

/// The last bytes of the text as a block.
fn filled_up(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [b' '; BLOCK];
    for (to, from) in block.iter_mut().zip(rest) {
        *to = *from;
    }
    block
}

/// The bracket of a block that closes the outermost, if one does. So many brackets as are open must be closed at least, and
/// those before the last of them need not be looked at.
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

/// Ones from each odd bit to before the next: the bytes from an opening quote to before its closing one.
fn ones_between(quotes: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].into_iter().fold(quotes, |ones, shift| ones ^ (ones << shift))
}

impl Place {
    /// Goes on byte by byte up to `end`, or one further; says whether the outermost bracket was closed.
    fn walk(&mut self, bytes: &[u8], end: usize) -> bool {
        while let Some(byte) = bytes.get(self.at).filter(|_| self.at < end) {
            self.at += 1;
            match (byte, self.in_string) {
                (b'"', _) => self.in_string = !self.in_string,
                (b'\\', true) => self.at += 1,
                (b'{' | b'[', false) => self.depth += 1,
                (b'}' | b']', false) if self.depth == 1 => return true,
                (b'}' | b']', false) => self.depth -= 1,
                _ => {}
            }
        }
        false
    }
}

#[cfg(target_arch = "wasm32")]
#[target_feature(enable = "simd128")]
fn marks(block: &[u8; BLOCK]) -> Marks {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, v128, v128_any_true, v128_or};

    let mut marks = Marks { quotes: 0, backslashes: false, opens: 0, closes: 0 };
    let mut backslashes = u8x16_splat(0);
    let (pieces, _) = block.as_chunks::<16>();
    for piece in pieces.iter().rev() {
        let piece = vector(piece);
        let bits = |bytes: v128, byte: u8| u64::from(u8x16_bitmask(u8x16_eq(bytes, u8x16_splat(byte))));
        // Square brackets and curly ones differ by one bit, which nothing else that they could be taken for has.
        let brackets = v128_or(piece, u8x16_splat(0x20));
        // Were they put together all in the same way, the compiler would do it at once, in vectors, which takes longer.
        marks.quotes = (marks.quotes << 16) | bits(piece, b'"');
        marks.opens = (marks.opens << 16) + bits(brackets, b'{');
        marks.closes = marks.closes.rotate_left(16) ^ bits(brackets, b'}');
        backslashes = v128_or(backslashes, u8x16_eq(piece, u8x16_splat(b'\\')));
    }
    marks.backslashes = v128_any_true(backslashes);
    marks
}

/// Bytes of a string that are looked at together.
#[cfg(target_arch = "wasm32")]
const PIECE: usize = 16;
#[cfg(not(target_arch = "wasm32"))]
const PIECE: usize = 8;

/// Where the first quote or backslash is.
#[cfg(target_arch = "wasm32")]
#[target_feature(enable = "simd128")]
pub(super) fn quote_or_backslash(piece: &[u8; PIECE]) -> Option<usize> {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, v128_or};

    let piece = vector(piece);
    let found = v128_or(u8x16_eq(piece, u8x16_splat(b'"')), u8x16_eq(piece, u8x16_splat(b'\\')));
    let bits = u8x16_bitmask(found);
    (bits != 0).then(|| bits.trailing_zeros() as usize)
}

#[cfg(target_arch = "wasm32")]
#[target_feature(enable = "simd128")]
fn vector(piece: &[u8; 16]) -> core::arch::wasm32::v128 {
    let piece = u128::from_le_bytes(*piece);
    core::arch::wasm32::u64x2(piece as u64, (piece >> 64) as u64)
}

#[cfg(not(target_arch = "wasm32"))]
pub(super) fn quote_or_backslash(piece: &[u8; PIECE]) -> Option<usize> {
    let piece = u64::from_le_bytes(*piece);
    let found = super::has_byte(piece, b'"') | super::has_byte(piece, b'\\');
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// Marks without vectors, for the tests of providers on the machine that builds: eight bytes at a time.
#[cfg(not(target_arch = "wasm32"))]
fn marks(block: &[u8; BLOCK]) -> Marks {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOW: u64 = ONES * 0x7f;
    let mut marks = Marks { quotes: 0, backslashes: false, opens: 0, closes: 0 };
    let (pieces, _) = block.as_chunks::<8>();
    for (piece, shift) in pieces.iter().zip((0..).step_by(8)) {
        let piece = u64::from_le_bytes(*piece);
        let bits = |bytes: u64, byte: u8| {
            let different = bytes ^ (ONES * u64::from(byte));
            let equal = !(((different & LOW) + LOW) | different | LOW) >> 7;
            // Moves the bit of each byte beside that of the next.
            (equal.wrapping_mul(0x0102_0408_1020_4080) >> 56) << shift
        };
        let brackets = piece | (ONES * 0x20);
        marks.quotes |= bits(piece, b'"');
        marks.backslashes |= bits(piece, b'\\') != 0;
        marks.opens |= bits(brackets, b'{');
        marks.closes |= bits(brackets, b'}');
    }
    marks
}
