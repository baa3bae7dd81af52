//! What a version would change of a parent's children, for people: child by child, field by field.

use std::fmt::Write as _;

use bartizan_engine::preview::{Change, FieldChange};
use bartizan_engine::provider::upgrade_plan::ParentPreview;
use serde_json::Value;

/// Longest value that is shown whole, in characters.
const LONGEST_VALUE: usize = 120;

/// Adds the lines of one parent.
pub(super) fn describe(text: &mut String, parent: &ParentPreview) {
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(text, "{}", parent.parent);
    if let Some(failure) = &parent.failure {
        let _ = match parent.as_before {
            true => writeln!(text, "  = no acceptable answer, as before: {failure}"),
            false => writeln!(text, "  ! no acceptable answer: {failure}"),
        };
    }
    for change in &parent.changes {
        child(text, change);
    }
}

fn child(text: &mut String, change: &Change) {
    let because = change.because_of.as_ref().map(|field| format!(" ({field} never changes)")).unwrap_or_default();
    let _ = writeln!(text, "  {} {}{because}", change.action, change.child);
    for FieldChange { path, before, after } in &change.fields {
        if let Some(before) = before {
            let _ = writeln!(text, "    - {path}: {}", shown(before));
        }
        if let Some(after) = after {
            let _ = writeln!(text, "    + {path}: {}", shown(after));
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}... ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        None => text,
    }
}
