//! JSON written straight to text. A tree of values costs the sandbox an allocation per field and a second walk to write it;
//! most of an answer is known when the provider is compiled.

use bartizan_contract::Failure;
use serde::Serialize;

use crate::failure;

/// One JSON value as text: what [`object!`](crate::object) makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Result<Vec<u8>, String>);

impl Json {
    /// `null`: as a field of an object it is left out.
    #[must_use]
    pub fn null() -> Self {
        Self(Ok(b"null".to_vec()))
    }

    /// A list.
    #[must_use]
    pub fn list<T: WriteJson>(items: impl IntoIterator<Item = T>) -> Self {
        let mut writer = Writer::default();
        writer.begin_list();
        items.into_iter().for_each(|item| writer.item(&item));
        writer.end_list();
        writer.finish()
    }

    /// Any value that can be serialized.
    #[must_use]
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        Self(serde_json::to_vec(value).map_err(|error| error.to_string()))
    }

    /// Text that is known to be JSON.
    pub(crate) fn written(text: Vec<u8>) -> Self {
        Self(Ok(text))
    }

    /// The text.
    ///
    /// # Errors
    /// `internal` if a part of it could not be written.
    pub fn into_bytes(self) -> Result<Vec<u8>, Failure> {
        self.0.map_err(|error| failure::internal(format!("the answer cannot be written as JSON: {error}")))
    }
}

/// What can stand as a value in [`object!`](crate::object): whatever serializes, and JSON that is written already.
pub trait WriteJson {
    /// Appends the value as JSON.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn write_json(&self, text: &mut Vec<u8>) -> Result<(), String>;
}

impl<T: Serialize + ?Sized> WriteJson for T {
    fn write_json(&self, text: &mut Vec<u8>) -> Result<(), String> {
        serde_json::to_writer(text, self).map_err(|error| error.to_string())
    }
}

impl WriteJson for Json {
    fn write_json(&self, text: &mut Vec<u8>) -> Result<(), String> {
        text.extend_from_slice(self.0.as_ref().map_err(Clone::clone)?);
        Ok(())
    }
}

/// Writes JSON from left to right. For [`object!`](crate::object); a comma is due wherever the last byte opens nothing.
#[derive(Debug, Default)]
pub struct Writer {
    text: Vec<u8>,
    broken: Option<String>,
}

impl Writer {
    /// Opens an object, as the whole text or after a key.
    pub fn begin_object(&mut self) {
        self.separate();
        self.text.push(b'{');
    }

    /// Closes it.
    pub fn end_object(&mut self) {
        self.text.push(b'}');
    }

    /// Opens a list.
    pub fn begin_list(&mut self) {
        self.separate();
        self.text.push(b'[');
    }

    /// Closes it.
    pub fn end_list(&mut self) {
        self.text.push(b']');
    }

    /// Writes the key of a value that follows: a constant of which no character needs escaping.
    pub fn key(&mut self, key: &'static str) {
        self.separate();
        self.text.push(b'"');
        self.text.extend_from_slice(key.as_bytes());
        self.text.extend_from_slice(b"\":");
    }

    /// Writes a field of an object; none if its value is null.
    pub fn field<T: WriteJson + ?Sized>(&mut self, key: &'static str, value: &T) {
        let before = self.text.len();
        self.key(key);
        let start = self.text.len();
        self.value(value);
        if self.text.get(start..) == Some(b"null") {
            self.text.truncate(before);
        }
    }

    /// Writes an item of a list.
    pub fn item<T: WriteJson + ?Sized>(&mut self, value: &T) {
        self.separate();
        self.value(value);
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Json {
        Json(self.broken.map_or(Ok(self.text), Err))
    }

    fn value<T: WriteJson + ?Sized>(&mut self, value: &T) {
        if let Err(error) = value.write_json(&mut self.text) {
            self.broken = Some(error);
        }
    }

    fn separate(&mut self) {
        if !matches!(self.text.last(), None | Some(b'{' | b'[' | b':')) {
            self.text.push(b',');
        }
    }
}

/// A JSON object in the form of `serde_json::json!`, written straight to text: keys are constants, values whatever
/// serializes or is [`Json`]. A field whose value is null is left out.
///
/// ```
/// use bartizan_sdk::object;
///
/// let ports = vec![80, 443];
/// let object = object!({"kind": "Service", "spec": {"type": None::<&str>, "ports": ports, "names": ["a", "b"]}});
/// let text = r#"{"kind":"Service","spec":{"ports":[80,443],"names":["a","b"]}}"#;
/// assert_eq!(object.into_bytes(), Ok(text.as_bytes().to_vec()));
/// ```
#[macro_export]
macro_rules! object {
    ({ $($fields:tt)* }) => {{
        let mut writer = $crate::json::Writer::default();
        writer.begin_object();
        $crate::object!(@fields writer $($fields)*);
        writer.end_object();
        writer.finish()
    }};
    (@fields $writer:ident) => {};
    (@fields $writer:ident $key:tt : { $($inner:tt)* } $(, $($rest:tt)*)?) => {
        $writer.key($key);
        $writer.begin_object();
        $crate::object!(@fields $writer $($inner)*);
        $writer.end_object();
        $crate::object!(@fields $writer $($($rest)*)?);
    };
    (@fields $writer:ident $key:tt : [ $($inner:tt)* ] $(, $($rest:tt)*)?) => {
        $writer.key($key);
        $writer.begin_list();
        $crate::object!(@items $writer $($inner)*);
        $writer.end_list();
        $crate::object!(@fields $writer $($($rest)*)?);
    };
    (@fields $writer:ident $key:tt : $value:expr $(, $($rest:tt)*)?) => {
        $writer.field($key, &$value);
        $crate::object!(@fields $writer $($($rest)*)?);
    };
    (@items $writer:ident) => {};
    (@items $writer:ident { $($inner:tt)* } $(, $($rest:tt)*)?) => {
        $writer.begin_object();
        $crate::object!(@fields $writer $($inner)*);
        $writer.end_object();
        $crate::object!(@items $writer $($($rest)*)?);
    };
    (@items $writer:ident $value:expr $(, $($rest:tt)*)?) => {
        $writer.item(&$value);
        $crate::object!(@items $writer $($($rest)*)?);
    };
}
