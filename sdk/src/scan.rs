//! Finds the parts of a JSON text without reading them. Most of a request is never looked at, and a parser that checks what
//! it skips takes several times as long. What is looked at is parsed, and checked, afterwards: until then it is bytes, which
//! need not even be UTF-8. Nothing is said about what comes after the value that a text is.

mod skip;
mod vectors;

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;

/// The text is not JSON, as far as one can tell from where its parts begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Byte of the text.
    at: usize,
}

impl From<Malformed> for serde_json::Error {
    fn from(malformed: Malformed) -> Self {
        serde::de::Error::custom(malformed)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed JSON at byte {}", self.at)
    }
}

/// A field of an object: its key as it stands between its quotes, and its value as JSON.
pub(crate) type Field<'a> = (&'a [u8], &'a [u8]);

/// The fields of an object, in the order of the text.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    text: &'a [u8],
    at: usize,
    /// What the next field comes after: `{` or `,`; `}` once there is none.
    after: u8,
}

/// The fields of the object that a text is.
pub(crate) fn fields(text: &[u8]) -> Fields<'_> {
    Fields { text, at: 0, after: b'{' }
}

/// One field of the object that a text is; nothing if it is absent or null.
pub(crate) fn field<'a>(text: &'a [u8], key: &str) -> Result<Option<&'a [u8]>, Malformed> {
    for found in fields(text) {
        let (name, value) = found?;
        if same(name, key.as_bytes()) {
            return Ok(Some(value).filter(|value| *value != b"null"));
        }
    }
    Ok(None)
}

/// The elements of the list that a text is.
pub(crate) fn items(text: &[u8]) -> Items<'_> {
    Items { text, at: 0, after: b'[' }
}

/// What a string of the text says; borrowed, since hardly any has a character that is escaped.
pub(crate) fn string(text: &[u8]) -> Result<Cow<'_, str>, serde_json::Error> {
    match inner(text).filter(|inner| !has_escaped(inner)).map(str::from_utf8) {
        Some(Ok(inner)) => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_slice(text).map(Cow::Owned),
    }
}

/// What stands between the quotes of a string. Hardly any has a character that is escaped.
pub(crate) fn inner(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// The elements of a list, in its order, as text.
#[derive(Clone, Debug)]
pub(crate) struct Items<'a> {
    text: &'a [u8],
    at: usize,
    /// What the next element comes after: `[` or `,`; `]` once there is none.
    after: u8,
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<&'a [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.after == b']' {
            return None;
        }
        let item = self.try_next().ok_or_else(|| {
            self.after = b']';
            Malformed { at: self.at }
        });
        item.transpose()
    }
}

impl<'a> Items<'a> {
    fn try_next(&mut self) -> Option<Option<&'a [u8]>> {
        let bytes = self.text;
        self.at = after_space(bytes, self.at);
        if self.after == b'[' {
            bytes.get(self.at).filter(|byte| **byte == b'[')?;
            self.at = after_space(bytes, self.at + 1);
            if bytes.get(self.at) == Some(&b']') {
                self.after = b']';
                return Some(None);
            }
        }
        let end = end_of_value(bytes, self.at)?;
        let item = self.text.get(self.at..end)?;
        self.at = after_space(bytes, end);
        self.after = *bytes.get(self.at).filter(|byte| matches!(byte, b',' | b']'))?;
        self.at += 1;
        Some(Some(item))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_key() {
            Ok(None) => None,
            Ok(Some(key)) => Some(self.value().map(|value| (key, value))),
            Err(malformed) => Some(Err(malformed)),
        }
    }
}

impl<'a> Fields<'a> {
    // Together these are an eighth of a call. Their results, returned and not inlined, go through memory.

    /// The next key; its value comes next. None at the end, and after a fault of its own.
    #[inline(always)]
    pub(crate) fn next_key(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.after == b'}' {
            return Ok(None);
        }
        self.try_next_key().ok_or_else(|| self.malformed())
    }

    /// The value of the key that came before.
    #[inline(always)]
    pub(crate) fn value(&mut self) -> Result<&'a [u8], Malformed> {
        self.try_value().ok_or_else(|| self.malformed())
    }

    /// Goes through the object that is the value of the key that came before: for each of its keys, something must take the
    /// value.
    pub(crate) fn object<E: From<Malformed>>(
        &mut self,
        mut each: impl FnMut(&'a [u8], &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut inner = Self { text: self.text, at: self.at, after: b'{' };
        while let Some(key) = inner.next_key()? {
            each(key, &mut inner)?;
        }
        self.at = inner.at;
        self.end_field().ok_or_else(|| self.malformed().into())
    }

    /// As above, for those of its fields that are not null; null itself has none.
    pub(crate) fn each_given<E: From<Malformed>>(
        &mut self,
        mut take: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.text.get(self.at) == Some(&b'n') {
            return match self.value()? {
                b"null" => Ok(()),
                _ => Err(self.malformed().into()),
            };
        }
        self.object(|key, inner| match inner.value()? {
            b"null" => Ok(()),
            value => take(key, value),
        })
    }

    #[inline(always)]
    fn try_next_key(&mut self) -> Option<Option<&'a [u8]>> {
        let bytes = self.text;
        self.at = after_space(bytes, self.at);
        if self.after == b'{' {
            self.expect(b'{')?;
            self.at = after_space(bytes, self.at);
            if bytes.get(self.at) == Some(&b'}') {
                self.at += 1;
                self.after = b'}';
                return Some(None);
            }
        }
        let key = self.at;
        bytes.get(key).filter(|byte| **byte == b'"')?;
        self.at = skip::end_of_string(bytes, key)?.get();
        let key = self.text.get(key + 1..self.at - 1)?;
        self.at = after_space(bytes, self.at);
        self.expect(b':')?;
        self.at = after_space(bytes, self.at);
        Some(Some(key))
    }

    #[inline(always)]
    fn try_value(&mut self) -> Option<&'a [u8]> {
        let value = self.at;
        self.at = end_of_value(self.text, value)?;
        let value = self.text.get(value..self.at)?;
        self.end_field()?;
        Some(value)
    }

    fn end_field(&mut self) -> Option<()> {
        let bytes = self.text;
        self.at = after_space(bytes, self.at);
        self.after = *bytes.get(self.at).filter(|byte| matches!(byte, b',' | b'}'))?;
        self.at += 1;
        Some(())
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        let found = self.text.get(self.at)?;
        self.at += 1;
        (*found == byte).then_some(())
    }

    #[cold]
    fn malformed(&mut self) -> Malformed {
        self.after = b'}';
        Malformed { at: self.at }
    }
}

#[inline]
fn after_space(bytes: &[u8], mut at: usize) -> usize {
    // The host writes none.
    while let Some(byte) = bytes.get(at).filter(|byte| **byte <= b' ')
        && matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
    {
        at += 1;
    }
    at
}

/// Where the value ends that begins at `at`.
fn end_of_value(bytes: &[u8], at: usize) -> Option<usize> {
    let end = match *bytes.get(at)? {
        b'"' => skip::end_of_string(bytes, at),
        b'{' | b'[' => skip::end_of_brackets(bytes, at),
        byte if ends_word(byte) || byte == b':' => None,
        _ => end_of_word(bytes, at),
    };
    end.map(NonZeroUsize::get)
}

/// Where the number, `true`, `false` or `null` ends that begins at `at`.
#[inline(never)]
fn end_of_word(bytes: &[u8], at: usize) -> Option<NonZeroUsize> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().position(|byte| ends_word(*byte)).unwrap_or(rest.len());
    NonZeroUsize::new(at + length)
}

/// Whether it comes after a value: what closes, a comma, or a space.
fn ends_word(byte: u8) -> bool {
    // The two that close differ by one bit, which nothing else that they could be taken for has.
    byte | 0x20 == b'}' || byte == b',' || byte <= b' '
}

/// Whether two keys or names are the same. Many have the same length and beginning, and the comparison that a module has goes
/// byte by byte.
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

/// Whether JSON escapes any of these bytes in a string. Eight at a time; the last ones once more with those before them.
pub(crate) fn has_escaped(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let any = |chunk: &[u8; 8]| {
        let chunk = u64::from_le_bytes(*chunk);
        // What is below a byte, or the same, borrows from its highest bit.
        let below = |chunk: u64, byte: u8| chunk.wrapping_sub(ONES * u64::from(byte)) & !chunk;
        let equal = |byte: u8| below(chunk ^ (ONES * u64::from(byte)), 1);
        (below(chunk, b' ') | equal(b'"') | equal(b'\\')) & (ONES * 0x80) != 0
    };
    match bytes.last_chunk::<8>() {
        Some(last) => any(last) || bytes.as_chunks::<8>().0.iter().any(any),
        None => bytes.iter().any(|byte| matches!(byte, 0..b' ' | b'"' | b'\\')),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rstest::rstest;
    use serde_json::{Map, Value, json};

    use super::{Malformed, field, fields, items, string};

    #[rstest]
    #[case(json!({}))]
    #[case(json!({"a": 1}))]
    #[case(json!({"a": "}", "b": "\"", "c": "\\", "d": "\\\"}", "": ""}))]
    #[case(json!({"a": [[], {}, [{"b": "]"}]], "c": {"d": {"e": null}}, "f": -1.5e3, "g": true}))]
    #[case(json!({"long": "0123456789 0123456789 \u{1F3F0} 0123456789 \\\\", "next": "01234567"}))]
    fn the_parts_are_those_that_a_parser_finds(#[case] value: Value) {
        for text in [value.to_string(), format!("{value:#}")] {
            let found: Map<String, Value> = fields(text.as_bytes())
                .map(|field| field.unwrap())
                .map(|(key, value)| (String::from_utf8(key.to_vec()).unwrap(), serde_json::from_slice(value).unwrap()))
                .collect();
            assert_eq!(Value::Object(found), value);
        }
    }

    /// Wherever the parts stand in the blocks that are looked at together.
    #[test]
    fn the_end_of_a_part_is_found_at_every_place() {
        for padding in 0..140 {
            let escapes = ["\"", "\\", "}", "]\"", "\\\"{"].concat();
            let inner = json!({"pad": " ".repeat(padding), "list": [{"a": [[]], "text": escapes}, {}], "b": escapes});
            let value = json!({"first": inner, "second": [inner, padding], "third": "end"});
            let text = value.to_string();
            let found: Vec<&str> =
                fields(text.as_bytes()).map(|field| str::from_utf8(field.unwrap().1).unwrap()).collect();
            assert_eq!(found, [value["first"].to_string(), value["second"].to_string(), "\"end\"".to_owned()]);
            for end in 0..text.len() {
                let cut = fields(text.as_bytes().get(..end).unwrap());
                assert!(cut.last().is_none_or(|last| last.is_err()), "{end} bytes of {text}");
            }
        }
    }

    #[test]
    fn the_elements_of_a_list_are_those_that_a_parser_finds() {
        let text = |item| Ok::<_, Malformed>(str::from_utf8(item?).unwrap());
        let texts = |list: &'static str| items(list.as_bytes()).map(text).collect::<Result<Vec<_>, _>>();
        assert_eq!(texts(" [ ] "), Ok(vec![]));
        assert_eq!(texts(r#"[1, {"a": [2]} ,"]", null]"#), Ok(vec!["1", r#"{"a": [2]}"#, r#""]""#, "null"]));
        for malformed in ["", "1", "{}", "[", "[1", "[1,", "[1}", "[,]"] {
            assert!(texts(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn a_string_is_borrowed_unless_something_in_it_is_escaped() {
        assert!(matches!(string(br#""a b""#), Ok(Cow::Borrowed("a b"))));
        assert_eq!(string(br#""a\"b\u0041""#).unwrap(), "a\"bA");
        assert!(string(b"1").is_err() && string(b"\"").is_err() && string(b"\"\xff\"").is_err());
    }

    #[rstest]
    fn what_is_no_object_is_malformed(
        #[values(
            "",
            "[]",
            "1",
            "{",
            "{\"",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":}",
            "{\"a\":1",
            "{\"a\":[}",
            "{\"a\":1]",
            "{a:1}",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "{\"a\" 1}",
            "{,}"
        )]
        text: &str,
    ) {
        let mut fields = fields(text.as_bytes());
        assert!(fields.any(|field| field.is_err()), "{text}");
        assert_eq!(fields.next(), None, "nothing comes after a fault");
    }

    #[test]
    fn an_object_in_an_object_is_gone_through_in_the_same_pass() {
        let mut found = Vec::new();
        let mut outer = fields(br#"{"a": {"b": 1, "c": {}} , "d": {}, "e": 2}"#);
        while let Some(key) = outer.next_key().unwrap() {
            if key == b"e" {
                found.push((&b""[..], outer.value().unwrap()));
                continue;
            }
            outer.object(|key, inner| inner.value().map(|value| found.push((key, value)))).unwrap();
        }
        assert_eq!(found, [(&b"b"[..], &b"1"[..]), (b"c", b"{}"), (b"", b"2")]);
    }

    #[test]
    fn null_has_no_fields_where_it_may_stand_and_is_no_object_elsewhere() {
        let given = |text: &'static str| {
            let mut fields = fields(text.as_bytes());
            let mut found = 0;
            assert_eq!(fields.next_key(), Ok(Some(&b"a"[..])));
            let counted = fields.each_given(|_, _| {
                found += 1;
                Ok::<_, Malformed>(())
            });
            counted.map(|()| (found, fields.next_key()))
        };
        assert_eq!(given(r#"{"a": null, "b": 1}"#), Ok((0, Ok(Some(&b"b"[..])))));
        assert_eq!(given(r#"{"a": {"c": null, "d": 1}}"#), Ok((1, Ok(None))));
        assert!(given(r#"{"a": nothing}"#).is_err() && given(r#"{"a": 1}"#).is_err());
        let mut outer = fields(br#"{"a": null}"#);
        outer.next_key().unwrap();
        assert!(outer.object(|_, inner| inner.value().map(drop)).is_err());
    }

    #[test]
    fn a_field_is_found_by_its_name_and_null_is_absent() {
        let text = br#"{"a": 1, "b": null}"#;
        assert_eq!([field(text, "a"), field(text, "b"), field(text, "c")], [Ok(Some(&b"1"[..])), Ok(None), Ok(None)]);
    }
}
