//! The fields that a view is read from, whether or not a pass over the request has already found them.

use serde_json::Error;

use crate::view::{self, JsonView};

/// The fields of an object.
#[derive(Debug)]
pub struct Fields<'f, 'a>(Source<'f, 'a>);

#[derive(Debug)]
enum Source<'f, 'a> {
    /// Still to be scanned.
    Text(JsonView<'a>),
    /// Found in an earlier pass.
    Found(&'f [view::Field<'a>]),
}

/// The value of a field.
#[derive(Debug)]
pub struct Field<'f, 'a>(Value<'f, 'a>);

#[derive(Debug)]
enum Value<'f, 'a> {
    /// The cursor is before it.
    Next(&'f mut view::Fields<'a>),
    /// The cursor is behind it, or it was found in an earlier pass.
    Found(JsonView<'a>),
}

impl<'f, 'a> Fields<'f, 'a> {
    /// The fields of an object's JSON text.
    pub(crate) fn of(text: &'a [u8]) -> Self {
        Self(Source::Text(JsonView::new(text)))
    }

    /// Fields that were found before.
    pub(crate) fn found(fields: &'f [view::Field<'a>]) -> Self {
        Self(Source::Found(fields))
    }

    /// Visits every field, with its key as it stands between its quotes.
    ///
    /// # Errors
    /// If the text is malformed, and any error of `take`.
    pub fn each(self, mut take: impl FnMut(&'a [u8], &mut Field<'_, 'a>) -> Result<(), Error>) -> Result<(), Error> {
        match self.0 {
            Source::Text(text) => {
                let mut fields = text.fields();
                while let Some(key) = fields.next_key()? {
                    let mut field = Field(Value::Next(&mut fields));
                    take(key, &mut field)?;
                    field.value()?;
                }
                Ok(())
            }
            Source::Found(fields) => {
                fields.iter().try_for_each(|(key, value)| take(key, &mut Field(Value::Found(*value))))
            }
        }
    }

    /// Visits the fields of the field `wanted`, as [`Field::each`] does. What follows it in the text is not looked at.
    pub(super) fn only(
        self,
        wanted: &[u8],
        take: impl FnMut(&'a [u8], JsonView<'a>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match self.0 {
            Source::Text(text) => {
                let mut fields = text.fields();
                while let Some(key) = fields.next_key()? {
                    if key == wanted {
                        return Field(Value::Next(&mut fields)).each(take);
                    }
                    fields.value()?;
                }
                Ok(())
            }
            Source::Found(fields) => match fields.iter().find(|(key, _)| *key == wanted) {
                Some((_, value)) => Field(Value::Found(*value)).each(take),
                None => Ok(()),
            },
        }
    }
}

impl<'a> Field<'_, 'a> {
    /// The value; nothing if it is null.
    ///
    /// # Errors
    /// If the text is malformed.
    pub fn value(&mut self) -> Result<Option<JsonView<'a>>, Error> {
        if let Value::Next(fields) = &mut self.0 {
            self.0 = Value::Found(fields.value()?);
        }
        match self.0 {
            Value::Found(value) if !value.is_null() => Ok(Some(value)),
            Value::Found(_) | Value::Next(_) => Ok(None),
        }
    }

    /// Visits those fields of the object that the value is that are not null. `null` itself has no fields.
    ///
    /// # Errors
    /// If the value is not an object, and any error of `take`.
    pub fn each(&mut self, take: impl FnMut(&'a [u8], JsonView<'a>) -> Result<(), Error>) -> Result<(), Error> {
        match &mut self.0 {
            Value::Next(fields) => fields.non_null(take)?,
            Value::Found(value) if value.is_null() => {}
            Value::Found(value) => each_field(*value, take)?,
        }
        self.0 = Value::Found(JsonView::NULL);
        Ok(())
    }
}

/// Visits the fields of an object that are not null.
pub(super) fn each_field<'a>(
    object: JsonView<'a>,
    mut take: impl FnMut(&'a [u8], JsonView<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    for field in object.fields() {
        let (key, value) = field?;
        if !value.is_null() {
            take(key, value)?;
        }
    }
    Ok(())
}
