//! The scanner finds what `serde_json` finds, natively and in WebAssembly, and both agree on texts that are not JSON.
// Clippy recognizes test functions, but not the functions that they call.
#![allow(clippy::unwrap_used, clippy::panic)]

mod oracle;
mod texts;

use std::sync::LazyLock;

use bartizan_build as build;
use bartizan_runtime::{Config, Limits, Module, Runtime};
use proptest::prelude::*;
use proptest::test_runner::Config as Cases;
use scanner::transcript;

/// The module, compiled once per test process.
static MODULE: LazyLock<Module> = LazyLock::new(|| {
    let files = build::guests(&["scanner"], &build::silent).unwrap();
    Runtime::new(Config::default()).unwrap().load(&std::fs::read(&files[0]).unwrap()).unwrap()
});

/// The transcript that the module makes.
fn in_wasm(text: &[u8]) -> String {
    readable(&MODULE.reconcile(text, &Limits::default()).unwrap().response)
}

fn native(text: &[u8]) -> String {
    readable(&transcript(text))
}

fn readable(transcript: &[u8]) -> String {
    String::from_utf8_lossy(transcript).into_owned()
}

/// The transcript of `serde_json`, if the text is JSON.
fn expected(text: &[u8]) -> Option<String> {
    oracle::transcript(str::from_utf8(text).ok()?).map(|transcript| readable(&transcript))
}

/// A transcript without the offsets of errors, of which `serde_json` knows nothing.
fn without_offsets(transcript: &str) -> String {
    // Not `lines`, which would drop a carriage return at the end of a line.
    let lines = transcript.split_inclusive('\n');
    lines.map(|line| if line.starts_with("malformed ") { "malformed \n" } else { line }).collect()
}

fn cases() -> Cases {
    Cases { cases: 1024, failure_persistence: None, ..Cases::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn json_has_the_parts_that_serde_json_finds(text in texts::json()) {
        let found = native(text.as_bytes());
        prop_assert_eq!(Some(without_offsets(&found)), expected(text.as_bytes()));
    }

    #[test]
    fn damaged_json_has_those_parts_if_it_is_still_json(text in texts::damaged()) {
        let found = native(&text);
        if let Some(expected) = expected(&text) {
            prop_assert_eq!(without_offsets(&found), expected);
        }
    }

    #[test]
    fn json_has_the_same_parts_in_wasm(text in texts::json()) {
        let found = in_wasm(text.as_bytes());
        prop_assert_eq!(Some(without_offsets(&found)), expected(text.as_bytes()));
        prop_assert_eq!(found, native(text.as_bytes()));
    }

    #[test]
    fn damaged_json_has_the_same_parts_and_errors_in_wasm(text in texts::damaged()) {
        prop_assert_eq!(in_wasm(&text), native(&text));
    }

    /// Among them bytes that are not UTF-8.
    #[test]
    fn any_bytes_have_the_same_parts_and_errors_in_wasm(text in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(in_wasm(&text), native(&text));
    }
}

#[test]
fn floats_keep_every_digit_in_wasm() {
    for number in
        ["99.99999999999999", "100.00000000000001", "31.245270191439438", "1.7976931348623157e308", "5.0e-324"]
    {
        let found = in_wasm(format!("[{number}]").as_bytes());
        let digits = serde_json::to_string(&number.parse::<f64>().unwrap()).unwrap();
        assert!(found.contains(&format!("number {digits}\n")), "{number}: {found}");
        assert_eq!(digits.parse::<f64>(), number.parse::<f64>());
    }
}
