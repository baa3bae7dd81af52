//! How much memory a JSON text takes once it is parsed. Maps and lists take many times their text: two megabytes of `{"":0}` become two
//! hundred. So a text is weighed before it is parsed, by a pass over its bytes.

/// What a map takes at least: a node of a B-tree, with room for eleven entries.
const MAP: usize = 640;
/// What a list takes at least: room for four values.
const LIST: usize = 128;
/// What each further value of either takes.
const VALUE: usize = 32;
/// What each key takes beside its text.
const KEY: usize = 40;

/// Most that an observed object may weigh, in bytes: eight times the size of the largest that an API server stores.
pub const OBJECT: usize = 12 << 20;

/// How many bytes a text of this size may weigh, if it is an answer.
#[must_use]
pub fn of_answer(limit_bytes: usize) -> usize {
    limit_bytes.saturating_mul(8)
}

/// About how many bytes a JSON text takes once it is parsed. The text need not be valid.
#[must_use]
pub fn of(text: &[u8]) -> usize {
    let mut weight = text.len();
    let mut bytes = text.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            // What is empty takes nothing.
            b'{' if bytes.peek() != Some(&&b'}') => weight += MAP,
            b'[' if bytes.peek() != Some(&&b']') => weight += LIST,
            b',' => weight += VALUE,
            b':' => weight += KEY,
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => {
                            bytes.next();
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structure_weighs_and_text_does_not() {
        assert_eq!(of(b"null"), 4);
        assert_eq!(of(br#"{"a":1}"#), 7 + MAP + KEY);
        assert_eq!(of(br"[1,2]"), 5 + LIST + VALUE);
        assert_eq!(of(br"{}[]"), 4);
        let text = br#""{[,:\"{\\""#;
        assert_eq!(of(text), text.len());
    }

    #[test]
    fn many_small_maps_are_too_heavy_and_a_large_object_is_not() {
        let maps = format!("[{}]", vec![r#"{"":0}"#; 170_000].join(","));
        assert!(maps.len() < 1_250_000 && of(maps.as_bytes()) > OBJECT);
        let entries: Vec<String> =
            (0..10_000).map(|number| format!(r#""key-{number}":"{}""#, "x".repeat(100))).collect();
        let large = format!("{{{}}}", entries.join(","));
        assert!(large.len() > 1_100_000 && of(large.as_bytes()) < OBJECT);
    }
}
