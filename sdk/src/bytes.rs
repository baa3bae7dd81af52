//! Comparing and searching short byte strings eight bytes at a time: a module's `memcmp` goes byte by byte.

/// Whether two keys or names are equal. Many have the same length and a common prefix.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        (Some(last), Some(other_last)) => {
            let mut chunks = one.as_chunks::<8>().0.iter().zip(other.as_chunks::<8>().0);
            last == other_last && chunks.all(|(chunk, other)| chunk == other)
        }
        _ => one.iter().zip(other).all(|(byte, other)| byte == other),
    }
}

/// Whether JSON escapes any of these bytes in a string. The last chunk overlaps the one before it.
pub(crate) fn has_escaped(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let any = |chunk: &[u8; 8]| {
        let chunk = u64::from_le_bytes(*chunk);
        // The bit trick of "hasless": a byte below the bound borrows from its highest bit.
        let below = |chunk: u64, byte: u8| chunk.wrapping_sub(ONES * u64::from(byte)) & !chunk;
        let equal = |byte: u8| below(chunk ^ (ONES * u64::from(byte)), 1);
        (below(chunk, b' ') | equal(b'"') | equal(b'\\')) & (ONES * 0x80) != 0
    };
    match bytes.last_chunk::<8>() {
        Some(last) => any(last) || bytes.as_chunks::<8>().0.iter().any(any),
        None => bytes.iter().any(|byte| matches!(byte, 0..b' ' | b'"' | b'\\')),
    }
}
