//! Generates JSON texts, and texts that are nearly JSON.

use proptest::prelude::*;

/// An object or list, with whitespace, escapes, long strings and duplicate keys, at any alignment.
pub(crate) fn json() -> impl Strategy<Value = String> {
    let root = prop_oneof![4 => object(value()), 1 => list(value())];
    (" {0,70}", root, whitespace()).prop_map(|(before, root, after)| [before, root, after].concat())
}

/// A JSON text in which some bytes were changed, removed or added, or the end cut off.
pub(crate) fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = (
        any::<prop::sample::Index>(),
        prop_oneof![
            interesting_byte().prop_map(Change::Replace),
            interesting_byte().prop_map(Change::Insert),
            Just(Change::Remove),
            Just(Change::Cut),
        ],
    );
    (json(), prop::collection::vec(change, 1..4)).prop_map(|(text, changes)| {
        let mut text = text.into_bytes();
        for (index, change) in changes {
            if text.is_empty() {
                break;
            }
            let at = index.index(text.len());
            match change {
                Change::Replace(byte) => text[at] = byte,
                Change::Insert(byte) => text.insert(at, byte),
                Change::Remove => drop(text.remove(at)),
                Change::Cut => text.truncate(at),
            }
        }
        text
    })
}

#[derive(Clone, Debug)]
enum Change {
    Replace(u8),
    Insert(u8),
    Remove,
    Cut,
}

fn interesting_byte() -> impl Strategy<Value = u8> {
    prop_oneof![4 => prop::sample::select(br#"{}[]":,\ 0-tn"#.to_vec()), 1 => any::<u8>()]
}

fn value() -> BoxedStrategy<String> {
    let number = "-?(0|[1-9][0-9]{0,18})(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?";
    let word = prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned);
    let leaf = prop_oneof![3 => string(&[ESCAPES, LONE_SURROGATE]), 2 => number, 2 => word];
    leaf.prop_recursive(6, 96, 8, |inner| prop_oneof![2 => object(inner.clone()), 1 => list(inner)]).boxed()
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = prop_oneof![3 => "[a-c]{0,3}".prop_map(|key| format!("\"{key}\"")), 1 => string(&[ESCAPES])];
    let field = (whitespace(), key, whitespace(), whitespace(), value, whitespace());
    let field = field.prop_map(|(a, key, b, c, value, d)| [a, key, b, ":".to_owned(), c, value, d].concat());
    (prop::collection::vec(field, 0..8), whitespace()).prop_map(|(fields, space)| match fields.as_slice() {
        [] => format!("{{{space}}}"),
        fields => format!("{{{}}}", fields.join(",")),
    })
}

fn list(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let item = (whitespace(), value, whitespace()).prop_map(|(before, item, after)| [before, item, after].concat());
    (prop::collection::vec(item, 0..8), whitespace()).prop_map(|(items, space)| match items.as_slice() {
        [] => format!("[{space}]"),
        items => format!("[{}]", items.join(",")),
    })
}

const ESCAPES: &[&str] =
    &[r#"\""#, r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0041", r"\u00e9", r"\ud83c\udff0"];

/// An escape that JSON's grammar allows, and no string can hold.
const LONE_SURROGATE: &[&str] = &[r"\ud83c"];

fn string(escapes: &[&[&'static str]]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z0-9 ]{0,20}",
        2 => "[\\[\\]{}:,]{1,4}",
        2 => prop::sample::select(escapes.concat()).prop_map(str::to_owned),
        1 => "[\u{7f}\u{e9}\u{2028}\u{1f3f0}]{1,3}",
        // Runs of backslashes that reach over the ends of blocks.
        1 => (0..40_usize).prop_map(|pairs| r"\\".repeat(pairs)),
        1 => (50..80_usize).prop_map(|length| "x".repeat(length)),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn whitespace() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "[ \n\r\t]{1,3}"]
}
