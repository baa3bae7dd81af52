//! Writes JSON straight to text. A tree of values would cost an allocation per field and a second pass to serialize it, while
//! most of a response is known at compile time.

mod plain;

use bartizan_contract::Failure;
use serde::Serialize;

use crate::failure;

/// A JSON object that is passed on as it is, such as a part of a pod's spec: the API server validates it.
pub type Object = serde_json::Map<String, serde_json::Value>;

/// A value in [`object!`](crate::object): anything that serializes, and what the macro itself and the functions of this module
/// return.
pub trait WriteJson {
    /// Writes the value.
    fn write_json(&self, writer: &mut Writer);
}

impl<T: Serialize + ?Sized> WriteJson for T {
    fn write_json(&self, writer: &mut Writer) {
        if plain::write(&mut writer.text, self) {
            return;
        }
        if let Err(error) = serde_json::to_writer(&mut writer.text, self) {
            writer.broken = Some(error.to_string());
        }
    }
}

/// A value that is written on demand: what [`object!`](crate::object) expands to.
#[derive(Clone, Copy, Debug)]
pub struct Lazy<F>(F);

/// A value that a function writes.
pub fn lazy<F: Fn(&mut Writer)>(write: F) -> Lazy<F> {
    Lazy(write)
}

impl<F: Fn(&mut Writer)> WriteJson for Lazy<F> {
    fn write_json(&self, writer: &mut Writer) {
        (self.0)(writer);
    }
}

/// Text that is JSON already, as [`to_text`] returns it.
pub fn text(text: &[u8]) -> impl WriteJson {
    lazy(move |writer| writer.raw(text))
}

/// An object that is text already, extended with the fields of another one. For many objects with the same first fields,
/// which are then written only once.
///
/// ```
/// use bartizan_sdk::json::{extended, to_text};
/// use bartizan_sdk::object;
///
/// let both = |more: Option<i32>| to_text(&extended(br#"{"a":1}"#, object!({"b": more})));
/// assert_eq!(both(Some(2)), Ok(br#"{"a":1,"b":2}"#.to_vec()));
/// assert_eq!(both(None), Ok(br#"{"a":1}"#.to_vec()));
/// ```
pub fn extended(object: &[u8], more: impl WriteJson) -> impl WriteJson {
    lazy(move |writer| {
        writer.raw(object.strip_suffix(b"}").unwrap_or(object));
        let end = writer.text.len();
        more.write_json(writer);
        if writer.text.get(end) == Some(&b',') {
            writer.text.remove(end);
        }
        match (object, writer.text.get_mut(end..)) {
            (_, Some([b'{', b'}'])) => drop(writer.text.remove(end)),
            (b"{}", Some([b'{', ..])) => drop(writer.text.remove(end)),
            (_, Some([first, ..])) => *first = b',',
            _ => {}
        }
    })
}

/// A list of the items of an iterator.
pub fn list<I>(items: I) -> impl WriteJson
where
    I: IntoIterator<Item: WriteJson> + Clone,
{
    lazy(move |writer| {
        writer.begin_list();
        for item in items.clone() {
            writer.item(&item);
        }
        writer.end_list();
    })
}

/// A value, or null, which [`object!`](crate::object) leaves out.
pub fn optional<T: WriteJson>(value: Option<T>) -> impl WriteJson {
    lazy(move |writer| match &value {
        Some(value) => value.write_json(writer),
        None => ().write_json(writer),
    })
}

/// Enough for a pod template.
const TEXT_CAPACITY: usize = 4096;

/// The text of a value.
///
/// # Errors
/// `internal` if a part of it cannot be serialized.
pub fn to_text(value: &impl WriteJson) -> Result<Vec<u8>, Failure> {
    let mut writer = Writer::with_capacity(TEXT_CAPACITY);
    value.write_json(&mut writer);
    writer.finish()
}

/// Fails to compile if a Rust literal is not the same literal in JSON: if it has an escape, a suffix or a prefix.
#[doc(hidden)]
pub const fn check_literal(literal: &str) {
    let bytes = literal.as_bytes();
    let is_text = matches!(bytes, [b'"', .., b'"']);
    let mut at = 0;
    while at < bytes.len() {
        let plain = match bytes[at] {
            b'\\' | 0..b' ' => false,
            b'0'..=b'9' | b'-' | b'.' => true,
            _ => is_text || matches!(bytes, b"true" | b"false"),
        };
        assert!(plain, "this literal is written differently in JSON: put it in parentheses");
        at += 1;
    }
}

/// Writes JSON from left to right. Whether a comma is due follows from the last byte: it is unless that byte is an opening
/// bracket, a colon or a comma, none of which can end a string.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    text: Vec<u8>,
    broken: Option<String>,
}

impl Writer {
    /// A writer with this capacity in bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), broken: None }
    }

    /// Opens an object: the whole text, a field's value or an item.
    pub fn begin_object(&mut self) {
        self.separate();
        self.text.push(b'{');
    }

    /// Closes an object.
    pub fn end_object(&mut self) {
        self.text.push(b'}');
    }

    /// Opens a list.
    pub fn begin_list(&mut self) {
        self.separate();
        self.text.push(b'[');
    }

    /// Closes a list.
    pub fn end_list(&mut self) {
        self.text.push(b']');
    }

    /// Writes a key, in which no character may need escaping. Its value must follow.
    pub fn key(&mut self, key: &'static str) {
        self.separate();
        self.text.reserve(key.len() + 3);
        self.text.push(b'"');
        plain::append(&mut self.text, key.as_bytes());
        self.text.extend_from_slice(b"\":");
    }

    /// Writes a field of an object, or nothing if its value is null.
    pub fn field<T: WriteJson + ?Sized>(&mut self, key: &'static str, value: &T) {
        let before = self.text.len();
        self.key(key);
        self.value_after(before, value);
    }

    /// Writes text that is known at compile time, including its commas.
    #[doc(hidden)]
    #[inline]
    pub fn constant(&mut self, text: &'static str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// Writes text that is known at compile time and ends with the key of a field, `key` bytes long, and the field's value.
    #[doc(hidden)]
    #[inline]
    pub fn constant_field<T: WriteJson + ?Sized>(&mut self, text: &'static str, key: usize, value: &T) {
        self.constant(text);
        self.value_after(self.text.len() - key, value);
    }

    /// Writes the value of the field or item that begins at `before`, or removes it, and the comma before it, if the value is
    /// null.
    fn value_after<T: WriteJson + ?Sized>(&mut self, before: usize, value: &T) {
        let start = self.text.len();
        value.write_json(self);
        if self.text.get(start..) == Some(b"null") {
            self.text.truncate(before);
            self.text.pop_if(|last| *last == b',');
        }
    }

    /// Writes an item of a list.
    pub fn item<T: WriteJson + ?Sized>(&mut self, value: &T) {
        self.separate();
        value.write_json(self);
    }

    /// Writes an item of a list, or nothing if it is null.
    pub fn item_unless_null<T: WriteJson + ?Sized>(&mut self, value: &T) {
        let before = self.text.len();
        self.separate();
        self.value_after(before, value);
    }

    /// Writes text that is known to be JSON.
    pub(crate) fn raw(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// The text.
    ///
    /// # Errors
    /// `internal` if a part of it could not be serialized.
    pub fn finish(self) -> Result<Vec<u8>, Failure> {
        match self.broken {
            None => Ok(self.text),
            Some(error) => Err(failure::internal(format!("the response cannot be serialized: {error}"))),
        }
    }

    /// Writes a comma if one is due.
    #[doc(hidden)]
    pub fn separate(&mut self) {
        if !matches!(self.text.last(), None | Some(b'{' | b'[' | b':' | b',')) {
            self.text.push(b',');
        }
    }
}

/// A JSON object or list in the syntax of `serde_json::json!`, written straight to text on demand. Keys are constants; values are
/// anything that serializes, or the result of this macro or of a function in [`json`]. Literal keys and values become text at
/// compile time. Fields and items that are null are left out. More than some hundred fields and items need a higher
/// `#![recursion_limit]`.
///
/// ```
/// use bartizan_sdk::{json, object};
///
/// let ports = vec![80, 443];
/// let object = object!({"kind": "Service", "spec": {"type": None::<&str>, "ports": ports, "names": ["a", "b"]}});
/// let text = r#"{"kind":"Service","spec":{"ports":[80,443],"names":["a","b"]}}"#;
/// assert_eq!(json::to_text(&object), Ok(text.as_bytes().to_vec()));
/// ```
#[macro_export]
macro_rules! object {
    ({ $($fields:tt)* }) => {
        $crate::json::lazy(move |writer: &mut $crate::json::Writer| {
            $crate::object!(@fields writer ("{",) "" $($fields)*, @end);
        })
    };
    ([ $($items:tt)* ]) => {
        $crate::json::lazy(move |writer: &mut $crate::json::Writer| {
            $crate::object!(@items writer ("[",) "" $($items)*, @end);
        })
    };
    // The other rules munch fields and items, nested ones included. The first argument, in parentheses, is the pending text: what
    // is known at compile time up to the next value that is not. The second is the separator before the next field or item:
    // nothing or a comma. Where everything before it may have been null, the writer decides at run time.
    (@$in:ident $writer:ident $text:tt $comma:tt , $($rest:tt)*) => {
        $crate::object!(@$in $writer $text $comma $($rest)*);
    };
    (@fields $writer:ident ($($text:tt)*) $comma:tt @end) => {
        $writer.constant(concat!($($text)* "}"));
    };
    (@items $writer:ident ($($text:tt)*) $comma:tt @end) => {
        $writer.constant(concat!($($text)* "]"));
    };
    (@fields $writer:ident ($($text:tt)*) $comma:tt @end_in $in:ident $($rest:tt)*) => {
        $crate::object!(@$in $writer ($($text)* "}",) "," $($rest)*);
    };
    (@items $writer:ident ($($text:tt)*) $comma:tt @end_in $in:ident $($rest:tt)*) => {
        $crate::object!(@$in $writer ($($text)* "]",) "," $($rest)*);
    };
    (@fields $writer:ident ($($text:tt)*) $comma:tt $key:literal : $value:literal, $($rest:tt)*) => {
        const { $crate::json::check_literal(stringify!($value)) };
        $crate::object!(@fields $writer ($($text)* $comma, "\"", $key, "\":", stringify!($value),) "," $($rest)*);
    };
    (@fields $writer:ident ($($text:tt)*) $comma:tt $key:literal : { $($inner:tt)* }, $($rest:tt)*) => {
        $crate::object!(
            @fields $writer ($($text)* $comma, "\"", $key, "\":{",) "" $($inner)*, @end_in fields $($rest)*
        );
    };
    (@fields $writer:ident ($($text:tt)*) $comma:tt $key:literal : [ $($inner:tt)* ], $($rest:tt)*) => {
        $crate::object!(
            @items $writer ($($text)* $comma, "\"", $key, "\":[",) "" $($inner)*, @end_in fields $($rest)*
        );
    };
    (@fields $writer:ident ($($text:tt)*) "" $key:literal : $value:expr, $(,)? @ $($end:tt)*) => {
        $writer.constant_field(concat!($($text)* "\"", $key, "\":"), concat!("\"", $key, "\":").len(), &$value);
        $crate::object!(@fields $writer () "" @ $($end)*);
    };
    (@fields $writer:ident ($($text:tt)*) "" $key:literal : $value:expr, $($rest:tt)*) => {
        $writer.constant_field(concat!($($text)* "\"", $key, "\":"), concat!("\"", $key, "\":").len(), &$value);
        $writer.separate();
        $crate::object!(@fields $writer () "" $($rest)*);
    };
    (@fields $writer:ident ($($text:tt)*) "," $key:literal : $value:expr, $($rest:tt)*) => {
        $writer.constant_field(concat!($($text)* ",\"", $key, "\":"), concat!("\"", $key, "\":").len(), &$value);
        $crate::object!(@fields $writer () "," $($rest)*);
    };
    (@fields $writer:ident ($($text:tt)*) $comma:tt $key:ident : { $($inner:tt)* }, $($rest:tt)*) => {
        $writer.constant(concat!($($text)* $comma));
        $writer.key($key);
        $crate::object!(@fields $writer ("{",) "" $($inner)*, @end_in fields $($rest)*);
    };
    (@fields $writer:ident ($($text:tt)*) $comma:tt $key:ident : $value:expr, $(,)? @ $($end:tt)*) => {
        $writer.constant(concat!($($text)*));
        $writer.field($key, &$value);
        $crate::object!(@fields $writer () "" @ $($end)*);
    };
    (@fields $writer:ident ($($text:tt)*) $comma:tt $key:ident : $value:expr, $($rest:tt)*) => {
        $writer.constant(concat!($($text)*));
        $writer.field($key, &$value);
        $writer.separate();
        $crate::object!(@fields $writer () "" $($rest)*);
    };
    (@items $writer:ident ($($text:tt)*) $comma:tt { $($inner:tt)* }, $($rest:tt)*) => {
        $crate::object!(@fields $writer ($($text)* $comma, "{",) "" $($inner)*, @end_in items $($rest)*);
    };
    (@items $writer:ident ($($text:tt)*) $comma:tt $value:literal, $($rest:tt)*) => {
        const { $crate::json::check_literal(stringify!($value)) };
        $crate::object!(@items $writer ($($text)* $comma, stringify!($value),) "," $($rest)*);
    };
    (@items $writer:ident ($($text:tt)*) $comma:tt $value:expr, $(,)? @ $($end:tt)*) => {
        $writer.constant(concat!($($text)*));
        $writer.item_unless_null(&$value);
        $crate::object!(@items $writer () "" @ $($end)*);
    };
    (@items $writer:ident ($($text:tt)*) $comma:tt $value:expr, $($rest:tt)*) => {
        $writer.constant(concat!($($text)*));
        $writer.item_unless_null(&$value);
        $writer.separate();
        $crate::object!(@items $writer () "" $($rest)*);
    };
}

pub(crate) use object;
