//! States that came to be in different ways: UIDs, resource versions and times are told by their order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use serde_json::Value;

/// UIDs by the order in which they are met, resource versions and times by their own.
#[derive(Default)]
pub(super) struct Names {
    uids: HashMap<String, usize>,
    versions: BTreeSet<u64>,
    times: BTreeSet<String>,
}

/// The ranks of all of them.
pub(super) struct Ranks {
    uids: HashMap<String, usize>,
    versions: BTreeMap<String, usize>,
    times: BTreeMap<String, usize>,
}

impl Names {
    /// Takes in what a value names.
    pub(super) fn note(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value.as_str()) {
                        ("uid", Some(uid)) => {
                            let next = self.uids.len();
                            self.uids.entry(uid.to_owned()).or_insert(next);
                        }
                        ("resourceVersion", Some(version)) => self.versions.extend(version.parse::<u64>()),
                        ("time" | "deletionTimestamp", Some(time)) => _ = self.times.insert(time.to_owned()),
                        _ => self.note(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.note(item)),
            _ => {}
        }
    }

    /// Their ranks, once all are known.
    pub(super) fn ranks(self) -> Ranks {
        let versions = self.versions.into_iter().enumerate().map(|(rank, version)| (version.to_string(), rank));
        let times = self.times.into_iter().enumerate().map(|(rank, time)| (time, rank));
        Ranks { uids: self.uids, versions: versions.collect(), times: times.collect() }
    }
}

impl Ranks {
    /// Writes a value with ranks in the place of names.
    pub(super) fn write(&self, value: &Value, out: &mut String) {
        match value {
            Value::Object(fields) => {
                out.push('{');
                for (name, value) in fields {
                    let _ = write!(out, "{name}:");
                    match value.as_str().filter(|_| name == "resourceVersion").and_then(|text| self.versions.get(text))
                    {
                        Some(rank) => _ = write!(out, "#{rank}"),
                        None => self.write(value, out),
                    }
                    out.push(',');
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for item in items {
                    self.write(item, out);
                    out.push(',');
                }
                out.push(']');
            }
            Value::String(text) => match (self.uids.get(text), self.times.get(text)) {
                (Some(rank), _) => _ = write!(out, "uid-{rank}"),
                (None, Some(rank)) => _ = write!(out, "time-{rank}"),
                (None, None) => out.push_str(&self.in_text(text)),
            },
            other => _ = write!(out, "{other}"),
        }
    }

    /// A text that may hold names, as an annotation that lists versions of objects.
    pub(super) fn in_text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (uid, rank) in &self.uids {
            if text.contains(&**uid) {
                text = text.replace(&format!("\"{uid}\""), &format!("\"uid-{rank}\""));
            }
        }
        text
    }
}
