//! A serde deserializer over a JSON value that tracks its path.

use std::cell::RefCell;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, StringDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::error::Error;
use super::path::Path;
use crate::storage::quantity;

/// The paths of fields that no type knows.
type Unknown = RefCell<Vec<String>>;

/// The name of k8s-openapi's type of quantities, which accepts strings only, while users write `cpu: 1`.
const QUANTITY: &str = "Quantity";

/// A value and its path.
#[derive(Clone, Copy)]
pub(super) struct Node<'de, 'p> {
    pub(super) value: &'de Value,
    pub(super) path: &'p Path<'p>,
    pub(super) unknown: &'p Unknown,
}

impl<'de, 'p> Node<'de, 'p> {
    fn fields(self, known: Option<&'static [&'static str]>) -> Option<Fields<'de, 'p>> {
        let object = self.value.as_object()?;
        Some(Fields { entries: object.iter(), path: self.path, known, unknown: self.unknown, value: None })
    }

    fn unexpected(self) -> Unexpected<'de> {
        match self.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), _, _) => Unexpected::Unsigned(number),
                (_, Some(number), _) => Unexpected::Signed(number),
                (_, _, number) => Unexpected::Float(number.unwrap_or_default()),
            },
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        }
    }

    fn visit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (self.value, self.unexpected()) {
            (Value::String(text), _) => visitor.visit_borrowed_str(text),
            (Value::Array(items), _) => {
                visitor.visit_seq(Items { items: items.iter().enumerate(), path: self.path, unknown: self.unknown })
            }
            (Value::Object(object), _) => visitor.visit_map(Fields {
                entries: object.iter(),
                path: self.path,
                known: None,
                unknown: self.unknown,
                value: None,
            }),
            (_, Unexpected::Bool(value)) => visitor.visit_bool(value),
            (_, Unexpected::Unsigned(number)) => visitor.visit_u64(number),
            (_, Unexpected::Signed(number)) => visitor.visit_i64(number),
            (_, Unexpected::Float(number)) => visitor.visit_f64(number),
            _ => visitor.visit_unit(),
        }
    }
}

impl<'de> Deserializer<'de> for Node<'de, '_> {
    type Error = Error;

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit(visitor).map_err(|error| error.at(self.path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.fields(Some(known)) {
            Some(fields) => visitor.visit_map(fields).map_err(|error| error.at(self.path)),
            None => Err(Error::invalid_type(self.unexpected(), &"an object").at(self.path)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name != QUANTITY {
            return visitor.visit_newtype_struct(self);
        }
        let text = match self.value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => return Err(Error::invalid_type(self.unexpected(), &QUANTITY).at(self.path)),
        };
        if quantity::parse(&text).is_none() {
            return Err(Error::invalid_value(self.unexpected(), &"a quantity such as 500m or 2Gi").at(self.path));
        }
        visitor.visit_newtype_struct::<StringDeserializer<Error>>(text.into_deserializer())
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let read = match (self.value, self.fields(None)) {
            (Value::String(text), _) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            (_, Some(fields)) => visitor.visit_enum(MapAccessDeserializer::new(fields)),
            _ => Err(Error::invalid_type(self.unexpected(), &"a string")),
        };
        read.map_err(|error| error.at(self.path))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.unknown.borrow_mut().push(self.path.to_string());
        visitor.visit_unit()
    }
}

/// The fields of an object that are not null.
struct Fields<'de, 'p> {
    entries: serde_json::map::Iter<'de>,
    path: &'p Path<'p>,
    /// The fields that the type knows; absent: it accepts any.
    known: Option<&'static [&'static str]>,
    unknown: &'p Unknown,
    value: Option<(&'de str, &'de Value)>,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        for (key, value) in self.entries.by_ref() {
            if self.known.is_some_and(|known| !known.contains(&key.as_str())) {
                self.unknown.borrow_mut().push(Path::Field(self.path, key).to_string());
            } else if !value.is_null() {
                self.value = Some((key, value));
                return seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, value) = self.value.take().ok_or_else(|| Error::custom("a value was requested before its key"))?;
        let path = Path::Field(self.path, key);
        seed.deserialize(Node { value, path: &path, unknown: self.unknown }).map_err(|error| error.at(&path))
    }
}

/// The items of a list.
struct Items<'de, 'p> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
    path: &'p Path<'p>,
    unknown: &'p Unknown,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        let path = Path::Index(self.path, index);
        seed.deserialize(Node { value, path: &path, unknown: self.unknown }).map_err(|error| error.at(&path)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}
