//! A fast path for strings without escapes and for null, which most values of a response are.

use std::fmt;

use serde::ser::{Impossible, Serialize, Serializer};

use crate::bytes::has_escaped;

/// Writes a value if it is null or a string without escapes; returns whether it did.
#[inline]
pub(super) fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> bool {
    value.serialize(Plain(out)).is_ok()
}

/// Accepts strings without escapes and null, and refuses everything else before it has written anything.
struct Plain<'w>(&'w mut Vec<u8>);

/// The value is anything else.
#[derive(Debug)]
struct Other;

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither null nor a string without escapes")
    }
}

impl std::error::Error for Other {}

impl serde::ser::Error for Other {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// Methods that refuse their values.
macro_rules! refuse {
    ($($method:ident($($type:ty),*) -> $ok:ty;)*) => {
        $(#[inline]
        fn $method(self, $(_: $type),*) -> Result<$ok, Other> {
            Err(Other)
        })*
    };
}

impl Serializer for Plain<'_> {
    type Ok = ();
    type Error = Other;
    type SerializeSeq = Impossible<(), Other>;
    type SerializeTuple = Impossible<(), Other>;
    type SerializeTupleStruct = Impossible<(), Other>;
    type SerializeTupleVariant = Impossible<(), Other>;
    type SerializeMap = Impossible<(), Other>;
    type SerializeStruct = Impossible<(), Other>;
    type SerializeStructVariant = Impossible<(), Other>;

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Other> {
        if write_text(self.0, text) { Ok(()) } else { Err(Other) }
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Other> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Other> {
        self.serialize_none()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Other> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Other> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Other> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Other> {
        Err(Other)
    }

    /// The default implementation would format the value here, and once more if the result has escapes.
    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<(), Other> {
        Err(Other)
    }

    refuse! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_seq(Option<usize>) -> Impossible<(), Other>;
        serialize_tuple(usize) -> Impossible<(), Other>;
        serialize_tuple_struct(&'static str, usize) -> Impossible<(), Other>;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Impossible<(), Other>;
        serialize_map(Option<usize>) -> Impossible<(), Other>;
        serialize_struct(&'static str, usize) -> Impossible<(), Other>;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Impossible<(), Other>;
    }
}

/// Writes a quoted string, unless something in it needs escaping.
fn write_text(out: &mut Vec<u8>, text: &str) -> bool {
    let bytes = text.as_bytes();
    if has_escaped(bytes) {
        return false;
    }
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    append(out, bytes);
    out.push(b'"');
    true
}

/// Appends a text. Most are short, and for those a bulk copy costs more than a copy in pieces.
pub(super) fn append(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        0..4 => out.extend(text),
        4..8 => append_pieces::<4>(out, text),
        8..16 => append_pieces::<8>(out, text),
        16..64 => append_pieces::<16>(out, text),
        _ => out.extend_from_slice(text),
    }
}

/// Appends a text of at least `N` bytes in pieces of `N`. The last piece overlaps the one before it.
fn append_pieces<const N: usize>(out: &mut Vec<u8>, text: &[u8]) {
    let end = out.len() + text.len();
    let (pieces, _) = text.as_chunks::<N>();
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    if let Some(last) = text.last_chunk::<N>() {
        out.truncate(end - N);
        out.extend_from_slice(last);
    }
}

#[cfg(test)]
mod tests {
    use crate::json::to_text;

    /// Whatever the special character and its position.
    #[test]
    fn strings_are_written_as_serde_json_does() {
        for special in ["", "\"", "\\", "\n", "\u{1f}", "\u{7f}", " ", "\u{e9}", "\u{2028}", "\u{10ffff}", "\0"] {
            for before in 0..40 {
                for after in 0..40 {
                    let text = [&"a".repeat(before), special, &"b".repeat(after)].concat();
                    assert_eq!(to_text(&text), Ok(serde_json::to_vec(&text).unwrap()), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn other_values_are_written_as_serde_json_does() {
        fn check(value: impl serde::Serialize) {
            assert_eq!(to_text(&value), Ok(serde_json::to_vec(&value).unwrap()));
        }
        check(());
        check(None::<&str>);
        check(Some("a"));
        check(Some(vec![Some("a\"b"), None]));
        check(format_args!("{}\"", 1));
        check([(1, 'c', 2.5, true)]);
        check(serde_json::json!({"a": [{"b": null}], "c": "d"}));
    }
}
