//! What `bartizan status` shows: a pure summary of Providers, parents, the lease and the host's metrics.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bartizan_contract::provider::{Provider, condition_types};
use bartizan_contract::{Condition, ConditionStatus};
use serde::Serialize;
use serde_json::Value;

/// Most lines of what needs attention; JSON and YAML have all.
const MOST_LINES: usize = 50;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Who holds the lease, for people.
    pub(crate) lease: String,
    /// Why queues and watches are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<String>,
    /// The Providers, by name.
    pub(crate) providers: Vec<ProviderLine>,
    /// What people should look at: hosts, then Providers, then parents.
    pub(crate) attention: Vec<Attention>,
}

/// One Provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProviderLine {
    /// Its name.
    pub(crate) name: String,
    /// Version of the module that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// Status of its condition Serving.
    pub(crate) serving: String,
    /// Its parents by the reason of their condition Synced.
    pub(crate) parents: BTreeMap<String, usize>,
    /// Parents that are due and wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<u64>,
    /// Its watches, and how many of them are up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) watches: Option<Watches>,
}

/// Watches of one Provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Watches {
    /// How many there are.
    pub(crate) all: usize,
    /// How many of them are up.
    pub(crate) up: usize,
}

/// Something that people should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attention {
    /// The object: `ObjectStore.minio.rook.io rook-minio/my-store`.
    pub(crate) object: String,
    /// The condition, such as `Synced=False`; empty if it has none.
    pub(crate) condition: String,
    /// Its reason.
    pub(crate) reason: String,
    /// Its message, verbatim.
    pub(crate) message: String,
}

impl Attention {
    /// Without a condition.
    pub(crate) fn new(object: &str, reason: &str, message: impl Into<String>) -> Self {
        Self { object: object.to_owned(), condition: String::new(), reason: reason.to_owned(), message: message.into() }
    }

    fn of(object: &str, condition: &Condition) -> Self {
        let Condition { type_, status, reason, message, .. } = condition;
        let condition = format!("{type_}={status:?}");
        Self { object: object.to_owned(), condition, reason: reason.clone(), message: message.clone() }
    }
}

/// The line of a Provider, without what only its parents and the host know, and what of it needs attention.
pub(crate) fn of_provider(provider: &Provider) -> (ProviderLine, Vec<Attention>) {
    let status = &provider.status;
    let find = |type_: &str| status.conditions.iter().find(|condition| condition.type_ == type_);
    let serving = find(condition_types::SERVING).map_or("Unknown".to_owned(), |found| format!("{:?}", found.status));
    let line = ProviderLine {
        name: provider.metadata.name.clone(),
        version: status.active.as_ref().map(|active| active.version.clone()),
        serving,
        ..ProviderLine::default()
    };
    let object = format!("Provider.bartizan.dev {}", provider.metadata.name);
    let good = [condition_types::ACCEPTED, condition_types::LOADED, condition_types::SERVING];
    let bad = [condition_types::UPGRADE_HELD, condition_types::REMOVAL_BLOCKED, condition_types::STATUS_BLOCKED];
    let is_bad = |condition: &&Condition| match condition.status {
        ConditionStatus::True => bad.contains(&condition.type_.as_str()),
        ConditionStatus::False | ConditionStatus::Unknown => good.contains(&condition.type_.as_str()),
    };
    let mut attention: Vec<Attention> =
        status.conditions.iter().filter(is_bad).map(|condition| Attention::of(&object, condition)).collect();
    if status.conditions.is_empty() {
        attention.push(Attention::new(&object, "NoStatus", "no host has said anything about it"));
    }
    (line, attention)
}

/// A parent as far as `status` looks at it.
pub(crate) struct Parent<'a> {
    /// For people: `ObjectStore.minio.rook.io rook-minio/my-store`.
    pub(crate) object: String,
    /// The object.
    pub(crate) value: &'a Value,
}

impl Parent<'_> {
    fn conditions(&self) -> Vec<Condition> {
        let all = self.value.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|condition| serde_json::from_value(condition.clone()).ok()).collect()
    }

    /// The reason of its condition Synced; `NoStatus` if it has none.
    pub(crate) fn state(&self) -> String {
        let conditions = self.conditions();
        let synced = conditions.into_iter().find(|condition| condition.type_ == "Synced");
        synced.map_or("NoStatus".to_owned(), |synced| synced.reason)
    }

    /// What of it needs attention: the first of its conditions that is not as it should be, the cause before its consequences.
    pub(crate) fn attention(&self) -> Option<Attention> {
        let conditions = self.conditions();
        let find = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
        let is = |condition: &&Condition, status| condition.status == status;
        let is_not_true = |condition: &&Condition| condition.status != ConditionStatus::True;
        let found = find("Valid")
            .filter(|valid| is(valid, ConditionStatus::False))
            .or_else(|| find("Synced").filter(is_not_true))
            .or_else(|| find("Stalled").filter(|stalled| is(stalled, ConditionStatus::True)))
            .or_else(|| find("Degraded").filter(|degraded| is(degraded, ConditionStatus::True)))
            .or_else(|| find("Ready").filter(is_not_true));
        if let Some(found) = found {
            return Some(Attention::of(&self.object, found));
        }
        let Some(synced) = find("Synced") else {
            return Some(Attention::new(&self.object, "NoStatus", "no provider has said anything about it"));
        };
        let generation = self.value.pointer("/metadata/generation").and_then(Value::as_i64);
        match (synced.observed_generation, generation) {
            (Some(observed), Some(generation)) if observed < generation => {
                let message =
                    format!("its status is about generation {observed}, and its spec is generation {generation}");
                Some(Attention::new(&self.object, "OutOfDate", message))
            }
            _ => None,
        }
    }
}

impl Report {
    /// The text for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("lease: {}\n", self.lease);
        // Writing to a string cannot fail, here and below.
        if let Some(unknown) = &self.unknown {
            let _ = writeln!(text, "queues and watches are not known: {unknown}");
        }
        text.push('\n');
        if self.providers.is_empty() {
            text.push_str("There are no Providers.\n");
        } else {
            text.push_str(&table(&self.providers));
        }
        if self.attention.is_empty() {
            text.push_str("\nNothing needs attention.\n");
            return text;
        }
        let _ = writeln!(text, "\nNeeds attention ({}):", self.attention.len());
        for Attention { object, condition, reason, message } in self.attention.iter().take(MOST_LINES) {
            let condition = if condition.is_empty() { String::new() } else { format!("{condition} ") };
            let _ = writeln!(text, "  {object}: {condition}{}: {}", printable(reason), printable(message));
        }
        if self.attention.len() > MOST_LINES {
            let _ = writeln!(text, "  and {} more; -o json has all", self.attention.len() - MOST_LINES);
        }
        text
    }
}

/// Without what would move the cursor of a terminal: modules write messages.
fn printable(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { char.escape_default().to_string() } else { char.to_string() })
        .collect()
}

/// A table as kubectl prints it.
fn table(providers: &[ProviderLine]) -> String {
    let mut rows: Vec<[String; 6]> =
        vec![["NAME", "VERSION", "SERVING", "QUEUE", "WATCHES", "PARENTS"].map(str::to_owned)];
    for ProviderLine { name, version, serving, parents, queue, watches } in providers {
        let none = || "<none>".to_owned();
        let states: Vec<String> = parents.iter().map(|(state, count)| format!("{count} {state}")).collect();
        rows.push([
            name.clone(),
            version.clone().unwrap_or_else(none),
            serving.clone(),
            queue.map_or_else(none, |queue| queue.to_string()),
            watches.map_or_else(none, |Watches { all, up }| format!("{up}/{all}")),
            if states.is_empty() { "0".to_owned() } else { states.join(", ") },
        ]);
    }
    let widths: [usize; 6] = std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("   ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parent(value: &Value) -> Parent<'_> {
        Parent { object: "ObjectStore.minio.rook.io n/s".to_owned(), value }
    }

    fn condition(type_: &str, status: &str, reason: &str, generation: i64) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": "m", "observedGeneration": generation})
    }

    #[test]
    fn of_a_parent_the_cause_is_shown_before_its_consequences() {
        let with = |conditions: Value| json!({"metadata": {"generation": 2}, "status": {"conditions": conditions}});
        for (conditions, expected) in [
            (json!([condition("Ready", "True", "Ready", 2), condition("Synced", "True", "Applied", 2)]), None),
            (json!([condition("Synced", "True", "Applied", 1)]), Some("OutOfDate")),
            (json!([]), Some("NoStatus")),
            (json!([condition("Ready", "True", "Ready", 2)]), Some("NoStatus")),
            (
                json!([condition("Ready", "False", "Starting", 2), condition("Synced", "True", "Applied", 2)]),
                Some("Starting"),
            ),
            (
                json!([condition("Ready", "False", "Starting", 2), condition("Synced", "False", "Forbidden", 2)]),
                Some("Forbidden"),
            ),
            (
                json!([condition("Synced", "False", "Held", 2), condition("Valid", "False", "InvalidSpec", 2)]),
                Some("InvalidSpec"),
            ),
        ] {
            let value = with(conditions);
            let found = parent(&value).attention().map(|attention| attention.reason);
            assert_eq!(found.as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_provider_that_was_never_looked_at_and_one_that_holds_an_upgrade_need_attention() {
        let provider = |status: Value| -> Provider {
            let value = json!({
                "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "minio"},
                "spec": {"module": {"file": "minio.wasm"}}, "status": status,
            });
            serde_json::from_value(value).unwrap()
        };
        let (line, attention) = of_provider(&provider(json!({})));
        assert_eq!((line.serving.as_str(), line.version), ("Unknown", None));
        assert_eq!(
            attention,
            [Attention::new("Provider.bartizan.dev minio", "NoStatus", "no host has said anything about it")]
        );
        let conditions = json!([
            condition("Accepted", "True", "Accepted", 1),
            condition("Serving", "True", "Serving", 1),
            condition("UpgradeHeld", "True", "ApprovalRequired", 1),
        ]);
        let (line, attention) = of_provider(&provider(json!({"conditions": conditions})));
        assert_eq!(line.serving, "True");
        let found: Vec<&str> = attention.iter().map(|attention| attention.condition.as_str()).collect();
        assert_eq!(found, ["UpgradeHeld=True"]);
    }

    #[test]
    fn the_text_has_a_table_and_every_message_word_for_word() {
        let line = ProviderLine {
            name: "minio".to_owned(),
            version: Some("0.1.0".to_owned()),
            serving: "True".to_owned(),
            parents: BTreeMap::from([("Applied".to_owned(), 12), ("Forbidden".to_owned(), 1)]),
            queue: Some(0),
            watches: Some(Watches { all: 5, up: 4 }),
        };
        let report = Report {
            lease: "held by a, renewed 1 s ago".to_owned(),
            unknown: None,
            providers: vec![line],
            attention: vec![Attention {
                object: "ObjectStore.minio.rook.io n/s".to_owned(),
                condition: "Synced=False".to_owned(),
                reason: "Forbidden".to_owned(),
                message: "it may\nnot".to_owned(),
            }],
        };
        let expected = "lease: held by a, renewed 1 s ago\n\n\
                        NAME    VERSION   SERVING   QUEUE   WATCHES   PARENTS\n\
                        minio   0.1.0     True      0       4/5       12 Applied, 1 Forbidden\n\n\
                        Needs attention (1):\n  ObjectStore.minio.rook.io n/s: Synced=False Forbidden: it may\\nnot\n";
        assert_eq!(report.text(), expected);
        let quiet = Report { lease: "nobody holds it".to_owned(), ..Report::default() };
        assert_eq!(quiet.text(), "lease: nobody holds it\n\nThere are no Providers.\n\nNothing needs attention.\n");
    }
}
