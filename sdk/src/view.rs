//! Read-only views of JSON text: [`JsonView`] finds the parts of a document without parsing it.
//!
//! Most of a request is never looked at, and a parser that validates what it skips takes several times as long. A view only
//! finds where values begin and end; a value is parsed, and checked, on request ([`JsonView::parse`],
//! [`JsonView::string`]). Until then it is bytes, which need not even be UTF-8. Bytes after the end of the value are not looked
//! at.
//!
//! This interface is all that the rest of the SDK sees of the scanner, which is private to this module and frozen: change it
//! only together with `tests/guests/scanner`, whose property tests compare it with `serde_json`, natively and in WebAssembly.

mod skip;
mod vectors;

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;

use serde::Deserialize;

use crate::bytes::{has_escaped, same};

/// The text is not JSON, as far as the boundaries of its parts show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Offset in the text, in bytes.
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

impl std::error::Error for Malformed {}

/// A value in a JSON text that is not parsed yet. The default is an empty text, which is no value: it has neither fields nor
/// items.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct JsonView<'a>(&'a [u8]);

/// A field of an object: its key as it stands between its quotes, and its value.
pub type Field<'a> = (&'a [u8], JsonView<'a>);

impl<'a> JsonView<'a> {
    /// `null`.
    pub const NULL: JsonView<'static> = JsonView(b"null");
    /// `{}`.
    pub const EMPTY_OBJECT: JsonView<'static> = JsonView(b"{}");

    /// A view of the value that a text is.
    #[must_use]
    pub const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The text of the value.
    #[must_use]
    pub const fn text(self) -> &'a [u8] {
        self.0
    }

    /// Whether the value is `null`.
    #[must_use]
    #[inline]
    pub fn is_null(self) -> bool {
        self.0 == b"null"
    }

    /// Parses the whole value.
    ///
    /// # Errors
    /// If the text is not JSON, or not a `T`.
    pub fn parse<T: Deserialize<'a>>(self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.0)
    }

    /// The string that the value is; borrowed if nothing in it is escaped, which is nearly always.
    ///
    /// # Errors
    /// If the value is not a string.
    pub fn string(self) -> Result<Cow<'a, str>, serde_json::Error> {
        match self.unquoted().filter(|inner| !has_escaped(inner)).map(str::from_utf8) {
            Some(Ok(inner)) => Ok(Cow::Borrowed(inner)),
            _ => self.parse().map(Cow::Owned),
        }
    }

    /// What stands between the quotes of a string, escapes included; nothing if the value is not a string.
    #[must_use]
    pub fn unquoted(self) -> Option<&'a [u8]> {
        self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// The fields of the object that the value is, in the order of the text.
    #[must_use]
    pub fn fields(self) -> Fields<'a> {
        Fields { text: self.0, at: 0, after: b'{' }
    }

    /// The first field with this key; nothing if it is absent or null. Keys that are escaped in the text are not found.
    ///
    /// # Errors
    /// If the value is not an object.
    pub fn field(self, key: &str) -> Result<Option<Self>, Malformed> {
        for field in self.fields() {
            let (name, value) = field?;
            if same(name, key.as_bytes()) {
                return Ok(Some(value).filter(|value| !value.is_null()));
            }
        }
        Ok(None)
    }

    /// The items of the list that the value is, in the order of the text.
    #[must_use]
    pub fn items(self) -> Items<'a> {
        Items { text: self.0, at: 0, after: b'[' }
    }
}

impl fmt::Debug for JsonView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonView({})", String::from_utf8_lossy(self.0))
    }
}

/// The fields of an object, in the order of the text: an iterator, and a cursor that reads key and value one after the other.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    text: &'a [u8],
    at: usize,
    /// What the next field follows: `{` or `,`; `}` once there is none.
    after: u8,
}

/// The items of a list, in the order of the text.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    text: &'a [u8],
    at: usize,
    /// What the next item follows: `[` or `,`; `]` once there is none.
    after: u8,
}

/// What was read of the text; none where that is malformed.
type Parsed<T> = Option<T>;

impl<'a> Iterator for Items<'a> {
    type Item = Result<JsonView<'a>, Malformed>;

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
    fn try_next(&mut self) -> Parsed<Option<JsonView<'a>>> {
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
        Some(Some(JsonView(item)))
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
    // Inlined because together these take an eighth of a call, and results that are returned go through memory.

    /// The next key; [`value`](Self::value) or [`object`](Self::object) must follow. None at the end and after an error of
    /// this cursor.
    ///
    /// # Errors
    /// If the text is malformed.
    #[inline(always)]
    pub fn next_key(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.after == b'}' {
            return Ok(None);
        }
        self.try_next_key().ok_or_else(|| self.malformed())
    }

    /// The value of the last key.
    ///
    /// # Errors
    /// If the text is malformed.
    #[inline(always)]
    pub fn value(&mut self) -> Result<JsonView<'a>, Malformed> {
        self.try_value().ok_or_else(|| self.malformed())
    }

    /// Visits the object that is the value of the last key, in the same pass over the text. For each of its keys, `each` must
    /// take the value.
    ///
    /// # Errors
    /// If the value is not an object or is malformed, and any error of `each`.
    pub fn object<E: From<Malformed>>(
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

    /// Visits those fields of the object that is the value of the last key that are not null. `null` itself has no fields.
    ///
    /// # Errors
    /// If the value is neither an object nor null, or malformed, and any error of `take`.
    pub fn non_null<E: From<Malformed>>(
        &mut self,
        mut take: impl FnMut(&'a [u8], JsonView<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.text.get(self.at) == Some(&b'n') {
            let value = self.value()?;
            return if value.is_null() { Ok(()) } else { Err(self.malformed().into()) };
        }
        self.object(|key, inner| {
            let value = inner.value()?;
            if value.is_null() { Ok(()) } else { take(key, value) }
        })
    }

    #[inline(always)]
    fn try_next_key(&mut self) -> Parsed<Option<&'a [u8]>> {
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
    fn try_value(&mut self) -> Option<JsonView<'a>> {
        let value = self.at;
        self.at = end_of_value(self.text, value)?;
        let value = self.text.get(value..self.at)?;
        self.end_field()?;
        Some(JsonView(value))
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
    // The host writes no whitespace.
    while let Some(byte) = bytes.get(at).filter(|byte| **byte <= b' ')
        && matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
    {
        at += 1;
    }
    at
}

/// The end of the value that begins at `at`.
fn end_of_value(bytes: &[u8], at: usize) -> Option<usize> {
    let end = match *bytes.get(at)? {
        b'"' => skip::end_of_string(bytes, at),
        b'{' | b'[' => skip::end_of_brackets(bytes, at),
        byte if ends_word(byte) || byte == b':' => None,
        _ => end_of_word(bytes, at),
    };
    end.map(NonZeroUsize::get)
}

/// The end of the number, `true`, `false` or `null` that begins at `at`.
#[inline(never)]
fn end_of_word(bytes: &[u8], at: usize) -> Option<NonZeroUsize> {
    let rest = bytes.get(at..)?;
    let length = rest.iter().position(|byte| ends_word(*byte)).unwrap_or(rest.len());
    NonZeroUsize::new(at + length)
}

/// Whether a byte ends a word: a closing bracket, a comma or whitespace.
fn ends_word(byte: u8) -> bool {
    // `]` and `}` differ in one bit only.
    byte | 0x20 == b'}' || byte == b',' || byte <= b' '
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rstest::rstest;
    use serde_json::{Map, Value, json};

    use super::{JsonView, Malformed};

    fn view(text: &str) -> JsonView<'_> {
        JsonView::new(text.as_bytes())
    }

    #[rstest]
    #[case(json!({}))]
    #[case(json!({"a": 1}))]
    #[case(json!({"a": "}", "b": "\"", "c": "\\", "d": "\\\"}", "": ""}))]
    #[case(json!({"a": [[], {}, [{"b": "]"}]], "c": {"d": {"e": null}}, "f": -1.5e3, "g": true}))]
    #[case(json!({"long": "0123456789 0123456789 \u{1F3F0} 0123456789 \\\\", "next": "01234567"}))]
    fn fields_are_those_that_a_parser_finds(#[case] value: Value) {
        for text in [value.to_string(), format!("{value:#}")] {
            let found: Map<String, Value> = view(&text)
                .fields()
                .map(|field| field.unwrap())
                .map(|(key, value)| (String::from_utf8(key.to_vec()).unwrap(), value.parse().unwrap()))
                .collect();
            assert_eq!(Value::Object(found), value);
        }
    }

    /// Whatever the alignment of the parts to the scanner's blocks.
    #[test]
    fn the_end_of_a_value_is_found_at_every_alignment() {
        for padding in 0..140 {
            let escapes = ["\"", "\\", "}", "]\"", "\\\"{"].concat();
            let inner = json!({"pad": " ".repeat(padding), "list": [{"a": [[]], "text": escapes}, {}], "b": escapes});
            let value = json!({"first": inner, "second": [inner, padding], "third": "end"});
            let text = value.to_string();
            let found: Vec<&str> =
                view(&text).fields().map(|field| str::from_utf8(field.unwrap().1.text()).unwrap()).collect();
            assert_eq!(found, [value["first"].to_string(), value["second"].to_string(), "\"end\"".to_owned()]);
            for end in 0..text.len() {
                let cut = view(text.get(..end).unwrap()).fields();
                assert!(cut.last().is_none_or(|last| last.is_err()), "{end} bytes of {text}");
            }
        }
    }

    #[test]
    fn items_are_those_that_a_parser_finds() {
        let text = |item: Result<JsonView<'static>, _>| Ok::<_, Malformed>(str::from_utf8(item?.text()).unwrap());
        let texts = |list: &'static str| view(list).items().map(text).collect::<Result<Vec<_>, _>>();
        assert_eq!(texts(" [ ] "), Ok(vec![]));
        assert_eq!(texts(r#"[1, {"a": [2]} ,"]", null]"#), Ok(vec!["1", r#"{"a": [2]}"#, r#""]""#, "null"]));
        for malformed in ["", "1", "{}", "[", "[1", "[1,", "[1}", "[,]"] {
            assert!(texts(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn a_string_is_borrowed_unless_something_in_it_is_escaped() {
        assert!(matches!(view(r#""a b""#).string(), Ok(Cow::Borrowed("a b"))));
        assert_eq!(view(r#""a\"b\u0041""#).string().unwrap(), "a\"bA");
        for other in [&b"1"[..], b"\"", b"\"\xff\""] {
            assert!(JsonView::new(other).string().is_err(), "{other:?}");
        }
    }

    #[rstest]
    fn a_text_that_is_not_an_object_is_malformed(
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
        let mut fields = view(text).fields();
        assert!(fields.any(|field| field.is_err()), "{text}");
        assert_eq!(fields.next(), None, "nothing follows an error");
    }

    #[test]
    fn a_nested_object_is_visited_in_the_same_pass() {
        let mut found = Vec::new();
        let mut outer = view(r#"{"a": {"b": 1, "c": {}} , "d": {}, "e": 2}"#).fields();
        while let Some(key) = outer.next_key().unwrap() {
            if key == b"e" {
                found.push((&b""[..], outer.value().unwrap().text()));
                continue;
            }
            outer.object(|key, inner| inner.value().map(|value| found.push((key, value.text())))).unwrap();
        }
        assert_eq!(found, [(&b"b"[..], &b"1"[..]), (b"c", b"{}"), (b"", b"2")]);
    }

    #[test]
    fn null_has_no_fields_for_non_null_and_is_no_object_for_object() {
        let given = |text: &'static str| {
            let mut fields = view(text).fields();
            let mut found = 0;
            assert_eq!(fields.next_key(), Ok(Some(&b"a"[..])));
            let counted = fields.non_null(|_, _| {
                found += 1;
                Ok::<_, Malformed>(())
            });
            counted.map(|()| (found, fields.next_key()))
        };
        assert_eq!(given(r#"{"a": null, "b": 1}"#), Ok((0, Ok(Some(&b"b"[..])))));
        assert_eq!(given(r#"{"a": {"c": null, "d": 1}}"#), Ok((1, Ok(None))));
        assert!(given(r#"{"a": nothing}"#).is_err() && given(r#"{"a": 1}"#).is_err());
        let mut outer = view(r#"{"a": null}"#).fields();
        outer.next_key().unwrap();
        assert!(outer.object(|_, inner| inner.value().map(drop)).is_err());
    }

    #[test]
    fn a_field_is_found_by_its_key_and_null_is_absent() {
        let found = ["a", "b", "c"].map(|key| view(r#"{"a": 1, "b": null}"#).field(key));
        assert_eq!(found, [Ok(Some(view("1"))), Ok(None), Ok(None)]);
    }
}
