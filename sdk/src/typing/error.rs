//! Why a value does not fit its type, in the words of the person who wrote the value.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

use super::path::Path;
use crate::Fault;

/// What is wrong, and once it is known, where. Boxed: every step of reading returns one, and hardly ever does.
#[derive(Debug)]
pub(super) struct Error(Box<Problem>);

#[derive(Debug)]
struct Problem {
    message: String,
    /// A field below the place that is at fault: one that is missing.
    below: Option<&'static str>,
    field: Option<String>,
}

impl Error {
    /// Remembers the place, if no place further down is known.
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
        Self::new("is there twice".to_owned(), Some(field))
    }

    #[cold]
    #[inline(never)]
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("must be one of {}, but is \"{variant}\"", expected.join(", ")), None)
    }
}

/// What was found, as its author wrote it.
struct Found<'a>(Unexpected<'a>);

impl Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Str(text) => write!(f, "\"{text}\""),
            Unexpected::Bool(value) => write!(f, "{value}"),
            Unexpected::Unsigned(number) => write!(f, "{number}"),
            Unexpected::Signed(number) => write!(f, "{number}"),
            // Not written by `core::fmt`: its code for that is large, and serde_json's is in the module anyway.
            Unexpected::Float(number) => write!(f, "{}", serde_json::Value::from(number)),
            Unexpected::Unit => f.write_str("null"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("an object"),
            _ => f.write_str("something else"),
        }
    }
}

/// Rust's names of what a type expects in the words of YAML.
fn wanted(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        "Quantity" => "a quantity",
        _ if expected.starts_with("struct ") => "an object",
        // The types of Kubernetes expect themselves by name: "NodeAffinity".
        _ if expected.starts_with(|first: char| first.is_ascii_uppercase()) => "an object",
        _ => expected,
    }
}
