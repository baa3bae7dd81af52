//! The scanner of the SDK as a module: the response to a request is the [`transcript`] of what the scanner finds in it. The
//! tests compare transcripts made natively, made in WebAssembly, where other code classifies bytes, and made by `serde_json`.
//!
//! The request is any text and the response is not JSON: this module is for its tests only, and no host could serve it.

use bartizan_sdk::json;
use bartizan_sdk::view::{Fields, JsonView, Malformed};

/// Everything that the scanner finds in a text, one finding per line.
///
/// The first part walks the whole text by iterators, and looks up every key again. The second part is a single pass by a
/// cursor; the length of a key decides how its value is taken, so that one text exercises every method.
#[must_use]
pub fn transcript(text: &[u8]) -> Vec<u8> {
    let mut lines = Lines::default();
    let view = JsonView::new(text);
    walk(view, &mut lines);
    lines.add(b"pass", b"");
    let mut cursor = view.fields();
    if let Err(error) = pass(&mut cursor, &mut lines) {
        lines.malformed(error);
    }
    lines.text
}

/// A transcript.
#[derive(Debug, Default)]
pub struct Lines {
    /// The lines so far, each with its line break.
    pub text: Vec<u8>,
}

impl Lines {
    /// Adds a finding.
    pub fn add(&mut self, what: &[u8], finding: &[u8]) {
        for part in [what, b" ", finding, b"\n"] {
            self.text.extend_from_slice(part);
        }
    }

    fn malformed(&mut self, error: Malformed) {
        self.add(b"malformed", error.to_string().as_bytes());
    }
}

fn walk(view: JsonView<'_>, lines: &mut Lines) {
    match view.text().trim_ascii_start().first() {
        Some(b'{') => walk_object(view, lines),
        Some(b'[') => {
            lines.add(b"list", b"");
            for item in view.items() {
                match item {
                    Ok(item) => walk(item, lines),
                    Err(error) => lines.malformed(error),
                }
            }
            lines.add(b"end", b"");
        }
        Some(b'"') => match view.string() {
            Ok(text) => lines.add(b"string", &json::to_text(&text).unwrap_or_default()),
            Err(_) => lines.add(b"no string", b""),
        },
        Some(b'-' | b'0'..=b'9') => match view.parse::<f64>() {
            Ok(number) => lines.add(b"number", &json::to_text(&number).unwrap_or_default()),
            Err(_) => lines.add(b"no number", b""),
        },
        _ => lines.add(b"word", view.text()),
    }
}

fn walk_object(view: JsonView<'_>, lines: &mut Lines) {
    lines.add(b"object", b"");
    for field in view.fields() {
        match field {
            Ok((key, value)) => {
                lines.add(b"key", key);
                walk(value, lines);
            }
            Err(error) => lines.malformed(error),
        }
    }
    for (key, _) in view.fields().map_while(Result::ok) {
        match str::from_utf8(key).map(|key| view.field(key)) {
            Ok(Ok(Some(value))) => lines.add(b"found", value.text()),
            Ok(Ok(None)) => lines.add(b"null", b""),
            Ok(Err(error)) => lines.malformed(error),
            Err(_) => lines.add(b"no text", b""),
        }
    }
    lines.add(b"end", b"");
}

fn pass<'a>(cursor: &mut Fields<'a>, lines: &mut Lines) -> Result<(), Malformed> {
    while let Some(key) = cursor.next_key()? {
        pass_value(key, cursor, lines)?;
    }
    Ok(())
}

fn pass_value<'a>(key: &'a [u8], cursor: &mut Fields<'a>, lines: &mut Lines) -> Result<(), Malformed> {
    lines.add(b"key", key);
    match key.len() % 3 {
        0 => {
            cursor.object(|key, inner| pass_value(key, inner, lines))?;
            lines.add(b"end", b"");
        }
        1 => cursor.non_null(|key, value| {
            lines.add(b"field", key);
            lines.add(b"value", value.text());
            Ok::<_, Malformed>(())
        })?,
        _ => lines.add(b"value", cursor.value()?.text()),
    }
    Ok(())
}

#[cfg(target_arch = "wasm32")]
mod component {
    use bartizan_sdk::guest::{Guest, GuestFailure};

    struct Component;

    impl Guest for Component {
        fn describe() -> Vec<u8> {
            Vec::new()
        }

        fn reconcile(request: Vec<u8>) -> Result<Vec<u8>, GuestFailure> {
            Ok(crate::transcript(&request))
        }
    }

    bartizan_sdk::guest::export_component!(Component with_types_in bartizan_sdk::bindings);
}
