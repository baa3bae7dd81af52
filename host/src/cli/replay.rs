//! `bartizan replay`: calls a module with a recorded request, and compares its answer with the recorded one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use bartizan_contract::digest::sha256_hex;
use bartizan_contract::names::API_VERSION;
use bartizan_runtime::{Config, Runtime};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::telemetry::recorder::{Failed, KIND, Recording};

/// Most differences to print: one cause often has many.
const MOST_DIFFERENCES: usize = 100;
/// Longest value in a difference, in characters.
const LONGEST_VALUE: usize = 200;

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// A file that `bartizan run --record` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) recording: PathBuf,
    /// Provider module to call.
    #[arg(long, value_name = "MODULE")]
    pub(crate) provider: PathBuf,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answered {
    Response(Vec<u8>),
    Failed(Failed),
}

/// Replays a recording. Exit code 0 if the answer is the same, otherwise 1.
///
/// # Errors
/// If the recording or the module cannot be read.
pub(crate) fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let file = args.recording.display();
    let text = std::fs::read(&args.recording).with_context(|| format!("recording {file}"))?;
    let recording = read(&text).map_err(|reason| anyhow::anyhow!("{file} is not a recording: {reason}"))?;
    let recorded = recorded(&recording).map_err(|reason| anyhow::anyhow!("{file} is not a recording: {reason}"))?;
    let module = load(&args.provider)?;

    if module.digest() != recording.module {
        println!("another module: recorded was {}, this is {}", recording.module, module.digest());
    }
    let request = recording.request.get().as_bytes();
    if sha256_hex(request) != recording.digest {
        println!("another request: the file was changed since it was recorded");
    }
    let now = match module.reconcile(request, &recording.limits.into()) {
        Ok(answer) => Answered::Response(answer.response),
        Err(error) => Answered::Failed((&error).into()),
    };
    let (same, text) = compare(&recorded, &now);
    println!("{text}");
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn load(file: &Path) -> anyhow::Result<bartizan_runtime::Module> {
    let bytes = std::fs::read(file).with_context(|| format!("module {}", file.display()))?;
    let runtime = Runtime::new(Config::default())?;
    runtime.load(&bytes).with_context(|| format!("module {}", file.display()))
}

fn read(text: &[u8]) -> Result<Recording, String> {
    let recording: Recording = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if (recording.api_version.as_str(), recording.kind.as_str()) != (API_VERSION, KIND) {
        let (version, kind) = (recording.api_version, recording.kind);
        return Err(format!("it is a {kind} of {version}, and this program reads a {KIND} of {API_VERSION}"));
    }
    Ok(recording)
}

fn recorded(recording: &Recording) -> Result<Answered, String> {
    match (&recording.response, &recording.response_base64, &recording.failure) {
        (Some(response), None, None) => Ok(Answered::Response(response.get().as_bytes().to_vec())),
        (None, Some(encoded), None) => {
            let bytes = BASE64_STANDARD.decode(encoded).map_err(|error| format!("responseBase64: {error}"))?;
            Ok(Answered::Response(bytes))
        }
        (None, None, Some(failure)) => Ok(Answered::Failed(failure.clone())),
        _ => Err("needs one of response, responseBase64 and failure".to_owned()),
    }
}

/// Whether both are the same, and the text to print.
fn compare(recorded: &Answered, now: &Answered) -> (bool, String) {
    let failed = |failed: &Failed| format!("{}: {}", failed.reason, failed.message);
    match (recorded, now) {
        (Answered::Response(recorded), Answered::Response(now)) if recorded == now => {
            (true, format!("the same answer, {} bytes", now.len()))
        }
        (Answered::Failed(recorded), Answered::Failed(now)) if recorded == now => {
            (true, format!("the same failure: {}", failed(now)))
        }
        (Answered::Response(recorded), Answered::Response(now)) => (false, differences(recorded, now)),
        (Answered::Failed(recorded), Answered::Failed(now)) => {
            (false, format!("another failure\n- {}\n+ {}", failed(recorded), failed(now)))
        }
        (Answered::Response(recorded), Answered::Failed(now)) => {
            (false, format!("no answer\n- an answer of {} bytes\n+ {}", recorded.len(), failed(now)))
        }
        (Answered::Failed(recorded), Answered::Response(now)) => {
            (false, format!("an answer, and no failure\n- {}\n+ an answer of {} bytes", failed(recorded), now.len()))
        }
    }
}

/// What differs between two answers, path by path.
fn differences(recorded: &[u8], now: &[u8]) -> String {
    let parsed = (serde_json::from_slice::<Value>(recorded), serde_json::from_slice::<Value>(now));
    let (Ok(old), Ok(new)) = parsed else {
        return format!("another answer: {}", first_difference(recorded, now));
    };
    let mut found = Vec::new();
    walk("response", Some(&old), Some(&new), &mut found);
    if found.is_empty() {
        return format!("the same JSON in other bytes: {}", first_difference(recorded, now));
    }
    let mut text = "another answer (- recorded, + now)".to_owned();
    for line in found.iter().take(MOST_DIFFERENCES) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{line}");
    }
    if found.len() > MOST_DIFFERENCES {
        let _ = write!(text, "\n… and {} more", found.len() - MOST_DIFFERENCES);
    }
    text
}

fn first_difference(recorded: &[u8], now: &[u8]) -> String {
    let same = recorded.iter().zip(now).take_while(|(old, new)| old == new).count();
    format!("{} bytes were recorded, {} came now; they differ from byte {same} on", recorded.len(), now.len())
}

/// Adds the differences at this path and within.
fn walk(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<String>) {
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                walk(&format!("{path}.{key}"), old.get(key), new.get(key), found);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for position in 0..old.len().max(new.len()) {
                walk(&format!("{path}[{position}]"), old.get(position), new.get(position), found);
            }
        }
        (old, new) if old == new => {}
        (old, new) => {
            let line = |sign: char, value: &Value| format!("{sign} {path}: {}", shortened(value));
            let lines = [old.map(|old| line('-', old)), new.map(|new| line('+', new))];
            found.push(lines.into_iter().flatten().collect::<Vec<_>>().join("\n"));
        }
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(text: &str) -> Answered {
        Answered::Response(text.as_bytes().to_vec())
    }

    fn failure(message: &str) -> Answered {
        Answered::Failed(Failed { reason: "ProviderFailed".to_owned(), message: message.to_owned() })
    }

    #[test]
    fn the_same_bytes_are_the_same_answer() {
        let text = "the same answer, 7 bytes".to_owned();
        assert_eq!(compare(&response("{\"a\":1}"), &response("{\"a\":1}")), (true, text));
        let text = "the same failure: ProviderFailed: no".to_owned();
        assert_eq!(compare(&failure("no"), &failure("no")), (true, text));
    }

    #[test]
    fn a_difference_names_each_path() {
        let old = response(r#"{"children":[{"object":{"spec":{"replicas":3}}}],"status":{"ready":"1/3"},"hold":true}"#);
        let new = response(r#"{"children":[{"object":{"spec":{"replicas":4}}},{}],"status":{"ready":"1/3","x":null}}"#);
        let (same, text) = compare(&old, &new);
        let expected = "another answer (- recorded, + now)\n\
                        - response.children[0].object.spec.replicas: 3\n\
                        + response.children[0].object.spec.replicas: 4\n\
                        + response.children[1]: {}\n\
                        - response.hold: true\n\
                        + response.status.x: null";
        assert_eq!((same, text.as_str()), (false, expected));
    }

    #[test]
    fn equal_json_in_other_bytes_is_another_answer() {
        let (same, text) = compare(&response("{\"a\":1}"), &response("{ \"a\":1}"));
        let expected = "the same JSON in other bytes: 7 bytes were recorded, 8 came now; they differ from byte 1 on";
        assert_eq!((same, text.as_str()), (false, expected));
        let (same, text) = compare(&response("x"), &response("{}"));
        let expected = "another answer: 1 bytes were recorded, 2 came now; they differ from byte 0 on";
        assert_eq!((same, text.as_str()), (false, expected));
        let (same, text) = compare(&failure("no"), &response("{}"));
        let expected = "an answer, and no failure\n- ProviderFailed: no\n+ an answer of 2 bytes";
        assert_eq!((same, text.as_str()), (false, expected));
    }

    #[test]
    fn a_file_that_is_no_recording_is_refused_with_the_reason() {
        assert!(read(b"{}").unwrap_err().starts_with("missing field `apiVersion`"));
        assert!(read(b"hello").unwrap_err().starts_with("expected value at line 1"));
    }
}
