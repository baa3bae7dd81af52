//! Errors of values that do not fit their type, in terms of the YAML that the user wrote.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use super::path::Path;
use crate::failure::Fault;

/// The message and, once it is known, the path. Boxed to keep the results of all deserialization steps small.
#[derive(Debug)]
pub(super) struct Error(Box<Problem>);

#[derive(Debug)]
struct Problem {
    message: String,
    /// A field below the current path that is at fault because it is missing.
    below: Option<&'static str>,
    field: Option<String>,
}

impl Error {
    /// Sets the path, unless a path further down is set already.
    #[cold]
    #[inline(never)]
    pub(super) fn at(mut self, path: &Path<'_>) -> Self {
        let problem = &mut self.0;
        if problem.field.is_none() {
            problem.field = Some(match problem.below {
                Some(name) => Path::Field(path, name).to_string(),
                None => path.to_string(),
            });
        }
        self
    }

    pub(super) fn into_fault(self, root: &Path<'_>) -> Fault {
        let problem = self.at(root).0;
        Fault { field: problem.field.unwrap_or_default(), message: problem.message }
    }

    fn new(message: String, below: Option<&'static str>) -> Self {
        Self(Box::new(Problem { message, below, field: None }))
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string(), None)
    }

    #[cold]
    #[inline(never)]
    fn missing_field(field: &'static str) -> Self {
        Self::new("is required".to_owned(), Some(field))
    }

    #[cold]
    #[inline(never)]
    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("must be {}, but is {}", wanted(&expected.to_string()), Found(found)), None)
    }

    #[cold]
    #[inline(never)]
    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let message = match (wanted(&expected), found) {
            ("an integer", Unexpected::Signed(number)) if number < 0 && expected.starts_with('u') => {
                format!("must not be negative, but is {number}")
            }
            ("an integer", _) => format!("is out of range: {}", Found(found)),
            (wanted, _) => format!("must be {wanted}, but is {}", Found(found)),
        };
        Self::new(message, None)
    }

    #[cold]
    #[inline(never)]
    fn duplicate_field(field: &'static str) -> Self {
        Self::new("occurs twice".to_owned(), Some(field))
    }

    #[cold]
    #[inline(never)]
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("must be one of {}, but is \"{variant}\"", expected.join(", ")), None)
    }
}

/// The value that was found, as the user wrote it.
struct Found<'a>(Unexpected<'a>);

impl Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Str(text) => write!(f, "\"{text}\""),
            Unexpected::Bool(value) => write!(f, "{value}"),
            Unexpected::Unsigned(number) => write!(f, "{number}"),
            Unexpected::Signed(number) => write!(f, "{number}"),
            // Not formatted by `core::fmt`, whose code for floats is large; that of serde_json is in the module anyway.
            Unexpected::Float(number) => write!(f, "{}", serde_json::Value::from(number)),
            Unexpected::Unit => f.write_str("null"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("an object"),
            _ => f.write_str("something else"),
        }
    }
}

/// The YAML term for what a Rust type expects.
fn wanted(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        "Quantity" => "a quantity",
        _ if expected.starts_with("struct ") => "an object",
        // Types of k8s-openapi expect themselves by name: "NodeAffinity".
        _ if expected.starts_with(|first: char| first.is_ascii_uppercase()) => "an object",
        _ => expected,
    }
}
