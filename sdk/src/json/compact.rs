//! JSON without the spaces between its parts, when the provider is compiled: files are laid out for people, and a module carries
//! them in the memory of every call.

/// How many bytes are left of a text.
#[must_use]
pub const fn length(text: &[u8]) -> usize {
    let (mut at, mut length, mut place) = (0, 0, Place::Between);
    while at < text.len() {
        place = place.after(text[at]);
        length += place.counts(text[at]) as usize;
        at += 1;
    }
    length
}

/// What is left of a text, which must have the [`length`] `N`.
#[must_use]
pub const fn text<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut compact = [0; N];
    let (mut at, mut length, mut place) = (0, 0, Place::Between);
    while at < text.len() {
        place = place.after(text[at]);
        if place.counts(text[at]) {
            compact[length] = text[at];
            length += 1;
        }
        at += 1;
    }
    compact
}

/// Where a byte stands.
#[derive(Clone, Copy)]
enum Place {
    Between,
    InString,
    /// The next one is escaped.
    AfterBackslash,
}

impl Place {
    /// Where the next byte stands.
    const fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Between, b'"') | (Self::AfterBackslash, _) => Self::InString,
            (Self::InString, b'"') => Self::Between,
            (Self::InString, b'\\') => Self::AfterBackslash,
            (place, _) => place,
        }
    }

    /// Whether a byte after which this is the place is kept.
    const fn counts(self, byte: u8) -> bool {
        !matches!((self, byte), (Self::Between, b' ' | b'\n' | b'\r' | b'\t'))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_slice};

    #[test]
    fn only_the_spaces_between_parts_go() {
        const LONG: &[u8] = br#" { "a b" : [ 1 , " \" \\ " , "\\" ] ,
            "c" : {} } "#;
        const SHORT: [u8; super::length(LONG)] = super::text(LONG);
        assert_eq!(str::from_utf8(&SHORT), Ok(r#"{"a b":[1," \" \\ ","\\"],"c":{}}"#));
        assert_eq!(from_slice::<Value>(&SHORT).unwrap(), from_slice::<Value>(LONG).unwrap());
    }
}
