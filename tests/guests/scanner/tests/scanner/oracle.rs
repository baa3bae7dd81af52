//! The transcript of valid JSON, made by `serde_json`.

use std::fmt;

use scanner::Lines;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The transcript that the scanner should make of a text; nothing if the text is not JSON, or has a key that `serde_json` cannot
/// decode.
pub(crate) fn transcript(text: &str) -> Option<Vec<u8>> {
    let whole: &RawValue = serde_json::from_str(text).ok()?;
    let mut lines = Lines::default();
    walk(whole.get(), &mut lines)?;
    lines.add(b"pass", b"");
    if pass(whole.get(), &mut lines).is_none() {
        lines.add(b"malformed", b"");
    }
    Some(lines.text)
}

/// A field: its key as it stands between its quotes, and its value.
type Field<'a> = (&'a str, &'a str);

fn walk(text: &str, lines: &mut Lines) -> Option<()> {
    match text.as_bytes().first() {
        Some(b'{') => {
            lines.add(b"object", b"");
            let fields = fields(text)?;
            for (key, value) in &fields {
                lines.add(b"key", key.as_bytes());
                walk(value, lines)?;
            }
            for (key, _) in &fields {
                let (_, first) = fields.iter().find(|(other, _)| other == key)?;
                if *first == "null" { lines.add(b"null", b"") } else { lines.add(b"found", first.as_bytes()) }
            }
            lines.add(b"end", b"");
        }
        Some(b'[') => {
            lines.add(b"list", b"");
            for item in serde_json::from_str::<Vec<&RawValue>>(text).unwrap() {
                walk(item.get(), lines)?;
            }
            lines.add(b"end", b"");
        }
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(text) => lines.add(b"string", serde_json::to_string(&text).unwrap().as_bytes()),
            Err(_) => lines.add(b"no string", b""),
        },
        // The standard library rounds correctly.
        Some(b'-' | b'0'..=b'9') => match text.parse::<f64>().unwrap() {
            number if number.is_finite() => {
                lines.add(b"number", serde_json::to_string(&number).unwrap().as_bytes());
            }
            _ => lines.add(b"no number", b""),
        },
        _ => lines.add(b"word", text.as_bytes()),
    }
    Some(())
}

/// Nothing where the scanner's pass should fail, since a value is not an object.
fn pass(text: &str, lines: &mut Lines) -> Option<()> {
    for (key, value) in fields(text)? {
        lines.add(b"key", key.as_bytes());
        match key.len() % 3 {
            0 => {
                pass(value, lines)?;
                lines.add(b"end", b"");
            }
            1 if value == "null" => {}
            1 => {
                for (key, value) in fields(value)?.into_iter().filter(|(_, value)| *value != "null") {
                    lines.add(b"field", key.as_bytes());
                    lines.add(b"value", value.as_bytes());
                }
            }
            _ => lines.add(b"value", value.as_bytes()),
        }
    }
    Some(())
}

/// The fields of an object, in the order of the text; nothing if the text is another value.
fn fields(object: &str) -> Option<Vec<Field<'_>>> {
    let values: Values<'_> = serde_json::from_str(object).ok()?;
    let mut end = 0;
    let mut fields = Vec::new();
    for value in values.0 {
        let start = value.as_ptr().addr() - object.as_ptr().addr();
        // Between two values stands the key of the second one, and neither the comma nor the colon around it has quotes.
        let between = &object[end..start];
        fields.push((&between[between.find('"')? + 1..between.rfind('"')?], value));
        end = start + value.len();
    }
    Some(fields)
}

/// The values of an object's fields.
struct Values<'a>(Vec<&'a str>);

impl<'de> Deserialize<'de> for Values<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some((IgnoredAny, value)) = map.next_entry::<_, &RawValue>()? {
            values.push(value.get());
        }
        Ok(Values(values))
    }
}
