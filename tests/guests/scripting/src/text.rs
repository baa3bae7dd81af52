//! Placeholders in the texts of an answer.

use serde_json::Value;

use crate::request::Request;

/// Replaces the placeholders in every text of a value. Replaced text is not expanded again.
pub(crate) fn fill_all(value: &mut Value, request: &Request) {
    match value {
        Value::String(text) => {
            if let Some(filled) = fill(text, request) {
                *text = filled;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_all(item, request)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill_all(field, request)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text with its placeholders replaced; `None` if it has none.
pub(crate) fn fill(text: &str, request: &Request) -> Option<String> {
    let mut filled = None;
    let mut copied = 0;
    for (start, _) in text.match_indices("$(") {
        // Within a placeholder that was just replaced.
        if start < copied {
            continue;
        }
        let Some(length) = text[start..].find(')') else { break };
        let end = start + length;
        if let Some(value) = value_of(&text[start + 2..end], request) {
            let filled = filled.get_or_insert_with(String::new);
            filled.push_str(&text[copied..start]);
            filled.push_str(value);
            copied = end + 1;
        }
    }
    filled.map(|filled| filled + &text[copied..])
}

/// The value of a placeholder; `None` if it is not one of ours.
fn value_of<'a>(placeholder: &str, request: &'a Request) -> Option<&'a str> {
    let parent = |pointer| request.parent.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match placeholder {
        "parent.name" => return Some(parent("/metadata/name")),
        "parent.secret" => return Some(parent("/spec/secret")),
        _ => {}
    }
    let (kind, rest) = placeholder.split_once(':')?;
    let (path, key) = rest.split_once(':')?;
    let kind = match kind {
        "secret" => "Secret.v1",
        "config" => "ConfigMap.v1",
        _ => return None,
    };
    Some(request.data(kind, path, key).unwrap_or_default())
}
