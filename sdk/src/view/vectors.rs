//! Classifies many bytes of a text at a time: with SIMD in a module, and in portable Rust natively, where the tests of providers
//! run. Both must agree; `tests/guests/scanner` compares them.

/// Bytes that are classified together: one bit of a word each.
pub(super) const BLOCK: usize = 64;

/// Bit masks of a block, the first byte in the lowest bit.
pub(super) struct Marks {
    pub(super) quotes: u64,
    /// `{` and `[`.
    pub(super) opens: u64,
    /// `}` and `]`.
    pub(super) closes: u64,
    /// Whether the block has any backslash.
    pub(super) backslashes: bool,
}

/// Bytes of a string that are searched together.
pub(super) const PIECE: usize = if cfg!(target_arch = "wasm32") { 16 } else { 8 };

#[cfg(not(target_arch = "wasm32"))]
pub(super) use native::{marks, mask, quote_or_backslash};
#[cfg(target_arch = "wasm32")]
pub(super) use wasm::{marks, mask, quote_or_backslash};

#[cfg(target_arch = "wasm32")]
mod wasm {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, u64x2, v128, v128_or};

    use super::{BLOCK, Marks, PIECE};

    /// The masks of a block.
    #[target_feature(enable = "simd128")]
    pub(in super::super) fn marks(block: &[u8; BLOCK]) -> Marks {
        let mut marks = Marks { quotes: 0, opens: 0, closes: 0, backslashes: false };
        let mut backslashes = u8x16_splat(0);
        for piece in block.as_chunks().0.iter().rev() {
            let piece = vector(piece);
            // `[` and `{`, and `]` and `}`, differ in this one bit only.
            let brackets = v128_or(piece, u8x16_splat(0x20));
            // Three different operators on purpose: with the same one, the compiler vectorizes the three updates, which is slower.
            marks.quotes = (marks.quotes << 16) | equal(piece, b'"');
            marks.opens = (marks.opens << 16) + equal(brackets, b'{');
            marks.closes = marks.closes.rotate_left(16) ^ equal(brackets, b'}');
            backslashes = v128_or(backslashes, u8x16_eq(piece, u8x16_splat(b'\\')));
        }
        marks.backslashes = u8x16_bitmask(backslashes) != 0;
        marks
    }

    /// The mask of the bytes of a block that are equal to `byte`.
    #[target_feature(enable = "simd128")]
    pub(in super::super) fn mask(block: &[u8; BLOCK], byte: u8) -> u64 {
        block.as_chunks().0.iter().rev().fold(0, |mask, piece| (mask << 16) | equal(vector(piece), byte))
    }

    /// The index of the first quote or backslash, and whether it is a quote.
    #[inline]
    #[target_feature(enable = "simd128")]
    pub(in super::super) fn quote_or_backslash(piece: &[u8; PIECE]) -> Option<(usize, bool)> {
        let piece = vector(piece);
        let quotes = equal(piece, b'"');
        let found = quotes | equal(piece, b'\\');
        let place = found.trailing_zeros();
        (found != 0).then_some((place as usize, place == quotes.trailing_zeros()))
    }

    #[inline]
    #[target_feature(enable = "simd128")]
    fn equal(bytes: v128, byte: u8) -> u64 {
        u64::from(u8x16_bitmask(u8x16_eq(bytes, u8x16_splat(byte))))
    }

    #[inline]
    #[target_feature(enable = "simd128")]
    fn vector(piece: &[u8; 16]) -> v128 {
        let piece = u128::from_le_bytes(*piece);
        u64x2(piece as u64, (piece >> 64) as u64)
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::{BLOCK, Marks, PIECE};

    /// The masks of a block.
    pub(in super::super) fn marks(block: &[u8; BLOCK]) -> Marks {
        let brackets = block.map(|byte| byte | 0x20);
        Marks {
            quotes: mask(block, b'"'),
            opens: mask(&brackets, b'{'),
            closes: mask(&brackets, b'}'),
            backslashes: block.contains(&b'\\'),
        }
    }

    /// The mask of the bytes of a block that are equal to `byte`.
    pub(in super::super) fn mask(block: &[u8; BLOCK], byte: u8) -> u64 {
        block.iter().rev().fold(0, |mask, found| (mask << 1) | u64::from(*found == byte))
    }

    /// The index of the first quote or backslash, and whether it is a quote.
    pub(in super::super) fn quote_or_backslash(piece: &[u8; PIECE]) -> Option<(usize, bool)> {
        let place = piece.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        Some((place, piece.get(place) == Some(&b'"')))
    }
}
