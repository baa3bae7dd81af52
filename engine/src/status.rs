//! The parent's status: what the provider reports, and beside it the host's conditions. `Synced` is true while the observed
//! children match the desired ones; `Reconciling` and `Stalled` follow kstatus and are present only while they are true.

use bartizan_contract::{Condition, ConditionStatus, EventType, ProviderEvent, Reason};
use serde_json::{Map, Value, json};

use crate::gate::HOST_CONDITIONS;
use crate::object::{Hash, Observed, hash_json};
use crate::status_shape::{ConditionsRoom, StatusShape};

/// How a reconcile ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The cluster matches the desired state.
    Applied,
    /// The provider set `hold`: nothing was applied or pruned.
    Held,
    /// The parent is paused (`bartizan.dev/paused`).
    Paused,
    /// Something must happen first, and a watch will report it.
    Waiting {
        /// One sentence.
        message: String,
    },
    /// Nobody serves it now, so that nobody knows.
    Unserved {
        /// Why.
        reason: Reason,
        /// One sentence: which provider does not serve it, and why.
        message: String,
    },
    /// It failed.
    Failed {
        /// Machine-readable reason.
        reason: Reason,
        /// One sentence: what failed, for which object, and what to do about it.
        message: String,
        /// Whether a retry is pointless until somebody changes something.
        stalled: bool,
    },
}

/// What the provider reported as the parent's status.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReportedStatus<'a> {
    /// Nothing, since it did not answer: what it reported before stays.
    NoAnswer,
    /// This status; `None` if the answer has none.
    Status(Option<&'a Value>),
}

impl Outcome {
    /// The reason of the conditions.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Applied => Reason::Applied,
            Self::Held => Reason::Held,
            Self::Paused => Reason::Paused,
            Self::Waiting { .. } => Reason::Waiting,
            Self::Unserved { reason, .. } | Self::Failed { reason, .. } => *reason,
        }
    }

    /// The status of the parent's condition `Synced`.
    #[must_use]
    pub fn synced(&self) -> ConditionStatus {
        match self {
            Self::Applied => ConditionStatus::True,
            Self::Unserved { .. } => ConditionStatus::Unknown,
            Self::Held | Self::Paused | Self::Waiting { .. } | Self::Failed { .. } => ConditionStatus::False,
        }
    }

    /// For whoever can act on it; empty if there is nothing to do.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Applied | Self::Held | Self::Paused => "",
            Self::Waiting { message } | Self::Unserved { message, .. } | Self::Failed { message, .. } => message,
        }
    }
}

/// The reason of the parent's condition `Synced` while that is not true; `None` if it is true or absent.
#[must_use]
pub fn last_reason(parent: &Observed) -> Option<Reason> {
    let conditions = conditions_of(&parent.owned_status);
    let synced = conditions.into_iter().find(|condition| condition.type_ == SYNCED)?;
    (synced.status != ConditionStatus::True).then(|| synced.reason.parse().ok()).flatten()
}

/// The input of [`next`].
#[derive(Clone, Copy, Debug)]
pub struct StatusInput<'a> {
    /// The part of the parent's status that the host's manager owns; `Null` if none.
    pub owned: &'a Value,
    /// The whole status, as the API server holds it.
    pub live: &'a Value,
    /// What room its kind has for a status.
    pub shape: &'a StatusShape,
    /// Types of the conditions that the provider gave when the status was written last.
    pub written: &'a [String],
    /// Whether `Ready` stays as the provider reports it while `Synced` is not true.
    pub keeps_ready: bool,
    /// What the provider reported.
    pub reported: ReportedStatus<'a>,
    /// How the reconcile ended.
    pub outcome: &'a Outcome,
    /// Generation of the parent that was reconciled.
    pub generation: Option<i64>,
    /// RFC 3339 in UTC, to the second, for conditions that change now.
    pub now: &'a str,
}

/// The host's condition that is true while the observed children match the desired ones.
const SYNCED: &str = "Synced";
/// The provider's condition that is true while the parent can be used.
const READY: &str = "Ready";
/// Stands in the message of a lowered `Ready` before what the provider reported.
const LOWERED: &str = "; the provider reports: ";

/// Longest message of a condition, in characters: room for the first lines of a backtrace, small enough for etcd.
const MAX_MESSAGE: usize = 2048;

/// The status to apply; `None` if the parent already has it.
#[must_use]
pub fn next(input: &StatusInput<'_>) -> Option<Value> {
    let room = input.shape.conditions();
    // Of a list that is written as a whole, whoever wrote last owns everything.
    let mut held = input.owned.clone();
    if let (ConditionsRoom::Atomic, Some(conditions)) = (room, input.live.get("conditions")) {
        match &mut held {
            Value::Object(held) => {
                held.insert("conditions".to_owned(), conditions.clone());
            }
            _ => held = json!({"conditions": conditions}),
        }
    }
    let before = conditions_of(input.owned);
    let (mut status, mut conditions) = match input.reported {
        // Of a list that is written as a whole, everything else stays as it is.
        ReportedStatus::NoAnswer if room == ConditionsRoom::Atomic => {
            let is_ours = input.written.iter().any(|type_| type_ == READY);
            // One that stands there already stays as it stands, with whatever else its entry holds.
            let ready = ready_of(&held).filter(|_| is_ours);
            let lowered = ready.and_then(|ready| lowered(&ready, input).filter(|next| *next != ready));
            (without_conditions(input.owned), lowered.into_iter().collect())
        }
        ReportedStatus::NoAnswer => {
            let kept = before.iter().filter(|condition| !HOST_CONDITIONS.contains(&condition.type_.as_str()));
            (without_conditions(input.owned), kept.cloned().collect::<Vec<_>>())
        }
        ReportedStatus::Status(status) => {
            let status = status.unwrap_or(&Value::Null);
            let mut conditions = conditions_of(status);
            for condition in &mut conditions {
                condition.observed_generation = condition.observed_generation.or(input.generation);
            }
            (without_conditions(status), conditions)
        }
    };
    for condition in &mut conditions {
        if let Some(lowered) = lowered(condition, input) {
            *condition = lowered;
        }
    }
    for mut condition in host_conditions(input.outcome) {
        condition.observed_generation = input.generation;
        if condition.status == ConditionStatus::Unknown && !input.shape.takes_unknown() {
            condition.status = ConditionStatus::False;
        }
        conditions.push(condition);
    }
    for condition in &mut conditions {
        condition.message = shorten(&condition.message);
        condition.last_transition_time = Some(since(&held, condition).unwrap_or_else(|| input.now.to_owned()));
    }
    let conditions = conditions.iter().filter_map(|condition| serde_json::to_value(condition).ok()).collect();
    status.insert("conditions".to_owned(), Value::Array(conditions));
    let ours = HOST_CONDITIONS.iter().map(|own| (*own).to_owned());
    let ours: Vec<String> = match input.reported {
        ReportedStatus::NoAnswer => ours.collect(),
        ReportedStatus::Status(_) => ours.chain(input.written.to_vec()).collect(),
    };
    let status = input.shape.fit(Value::Object(status), input.live, &ours);
    (!same(&status, &held)).then_some(status)
}

/// A parent that is not as its spec wants it is not ready, whatever runs: everybody who waits for `Ready` alone (kstatus, Argo CD, Flux,
/// `kubectl wait`) would go on too early. Not ready for good is one for which somebody must change something first.
/// `None`: the condition stays as it is.
fn lowered(condition: &Condition, input: &StatusInput<'_>) -> Option<Condition> {
    if condition.type_ != READY || input.keeps_ready || *input.outcome == Outcome::Applied {
        return None;
    }
    let before = condition.message.split_once(LOWERED).filter(|(before, _)| before.starts_with(SYNCED));
    let said = match (condition.status, before, input.reported) {
        (ConditionStatus::True, ..) if condition.message.is_empty() => &condition.reason,
        (ConditionStatus::True, ..) => &condition.message,
        // Without an answer: it was lowered before, perhaps for another reason.
        (_, Some((_, said)), ReportedStatus::NoAnswer) => said,
        _ => return None,
    };
    let is_stalled = matches!(input.outcome, Outcome::Failed { stalled: true, .. });
    let is_false = is_stalled || !input.shape.takes_unknown();
    let (status, reason) =
        (if is_false { ConditionStatus::False } else { ConditionStatus::Unknown }, input.outcome.reason());
    let message = format!("{SYNCED} is not True ({reason}){LOWERED}{said}");
    Some(Condition {
        observed_generation: input.generation,
        ..Condition::new(READY, status, reason.as_str(), &message)
    })
}

/// `Ready` in a list with whatever fields its kind has room for.
fn ready_of(status: &Value) -> Option<Condition> {
    let mut list = status.get("conditions").and_then(Value::as_array)?.iter();
    let ready = list.find(|condition| condition["type"] == READY)?;
    let text = |field: &str| ready.get(field).and_then(Value::as_str).unwrap_or_default();
    let status = serde_json::from_value(ready.get("status")?.clone()).ok()?;
    let observed_generation = ready.get("observedGeneration").and_then(Value::as_i64);
    Some(Condition { observed_generation, ..Condition::new(READY, status, text("reason"), text("message")) })
}

/// When a condition changed to what it is, if it was so before. Read as it is: a kind may have no room for other fields of conditions.
fn since(status: &Value, condition: &Condition) -> Option<String> {
    let status_of = serde_json::to_value(condition.status).ok()?;
    let mut conditions = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let is_same = |old: &&Value| old["type"] == *condition.type_ && old["status"] == status_of;
    conditions.find(is_same)?.get("lastTransitionTime")?.as_str().map(str::to_owned)
}

/// Types of the conditions in a status, without those that are the host's own.
#[must_use]
pub fn condition_types(status: &Value) -> Vec<String> {
    let conditions = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let types = conditions.filter_map(|condition| condition.get("type").and_then(Value::as_str));
    types.filter(|type_| !HOST_CONDITIONS.contains(type_)).map(str::to_owned).collect()
}

/// A merge patch that removes from a status what a manager owns of it: its fields, and of the conditions its own. `is_atomic`: the list
/// of conditions has one owner, so that those of others are in it; only those that no other writer has are removed.
#[must_use]
pub fn without(live: &Value, owned: &Value, is_atomic: bool) -> Value {
    let mut patch = Map::new();
    for (field, value) in owned.as_object().into_iter().flatten() {
        let live = live.get(field).unwrap_or(&Value::Null);
        let rest = match value {
            Value::Array(ours) if field == "conditions" => {
                let type_of = |condition: &Value| condition.get("type").cloned();
                let is_others = |condition: &&Value| match is_atomic {
                    true => !HOST_CONDITIONS.iter().any(|own| condition["type"] == **own),
                    false => !ours.iter().any(|own| type_of(own) == type_of(condition)),
                };
                let others: Vec<Value> = live.as_array().into_iter().flatten().filter(is_others).cloned().collect();
                if others.is_empty() { Value::Null } else { Value::Array(others) }
            }
            Value::Object(nested) if live.as_object().is_some_and(|live| live.len() > nested.len()) => {
                without(live, value, is_atomic)
            }
            _ => Value::Null,
        };
        patch.insert(field.clone(), rest);
    }
    Value::Object(patch)
}

/// Whether a status reports this outcome. It does not where the CustomResourceDefinition has no room for conditions.
#[must_use]
pub fn reports(owned: &Value, outcome: &Outcome) -> bool {
    let reason = outcome.reason();
    conditions_of(owned).iter().any(|condition| condition.type_ == SYNCED && condition.reason == reason.as_str())
}

/// Whether a status says that the provider answered when it was called last, whatever came of the answer.
#[must_use]
pub fn had_answer(owned: &Value) -> bool {
    let answered = [
        Reason::Applied,
        Reason::Held,
        Reason::Waiting,
        Reason::NameTaken,
        Reason::ApplyFailed,
        Reason::ApplyRefused,
        Reason::Forbidden,
        Reason::ImmutableField,
        Reason::Contested,
        Reason::Unsettled,
        Reason::StatusRefused,
        Reason::Refused,
        Reason::Invalid,
        Reason::ProviderFailed,
    ];
    let conditions = owned.get("conditions").and_then(Value::as_array).into_iter().flatten();
    let mut synced = conditions.filter(|condition| condition["type"] == SYNCED);
    synced.any(|synced| answered.iter().any(|reason| synced["reason"] == reason.as_str()))
}

/// Digest of a status without the times of its conditions, which follow from the rest.
#[must_use]
pub fn digest(status: &Value) -> Hash {
    let mut status = status.clone();
    for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(condition) = condition.as_object_mut() {
            condition.remove("lastTransitionTime");
        }
    }
    hash_json(&status)
}

fn host_conditions(outcome: &Outcome) -> Vec<Condition> {
    use ConditionStatus::{False, True};
    let condition = |type_, status, message: &str| Condition::new(type_, status, outcome.reason().as_str(), message);
    match outcome {
        Outcome::Applied => vec![condition(SYNCED, True, "All children match the desired state")],
        Outcome::Held => {
            vec![condition(
                SYNCED,
                False,
                "The provider set hold: nothing is applied or pruned until it answers without it",
            )]
        }
        Outcome::Paused => {
            let message = "Paused by annotation bartizan.dev/paused: children are not reconciled until it is removed";
            vec![condition(SYNCED, False, message)]
        }
        Outcome::Waiting { message } => {
            vec![condition(SYNCED, False, message), condition("Reconciling", True, message)]
        }
        Outcome::Unserved { message, .. } => vec![condition(SYNCED, ConditionStatus::Unknown, message)],
        Outcome::Failed { message, stalled, .. } => {
            let type_ = if *stalled { "Stalled" } else { "Reconciling" };
            vec![condition(SYNCED, False, message), condition(type_, True, message)]
        }
    }
}

/// The host's event where the status cannot hold what happened, or cannot be written: each failure once, and its end.
#[must_use]
pub fn event_instead(told: Option<&Outcome>, outcome: &Outcome) -> Option<ProviderEvent> {
    event_after(told.map(Outcome::reason), told.is_some(), outcome)
}

/// The event for an outcome after this reason, if there was one, and after a failure or none.
fn event_after(before: Option<Reason>, was_failed: bool, outcome: &Outcome) -> Option<ProviderEvent> {
    let event = |type_, message: &str| {
        Some(ProviderEvent { type_, reason: outcome.reason().to_string(), message: shorten(message) })
    };
    match outcome {
        Outcome::Failed { reason, message, .. } if before != Some(*reason) => event(EventType::Warning, message),
        Outcome::Applied if was_failed => event(EventType::Normal, "All children match the desired state again"),
        _ => None,
    }
}

/// The host's event for a change of `Synced`: only a transition emits one, and a first success does not.
#[must_use]
pub fn event(owned: &Value, outcome: &Outcome) -> Option<ProviderEvent> {
    let before = conditions_of(owned).into_iter().find(|condition| condition.type_ == SYNCED);
    let reason_before = before.as_ref().and_then(|before| before.reason.parse::<Reason>().ok());
    let was_failed = |before: &Condition| {
        let was_waiting = matches!(reason_before, Some(Reason::Waiting | Reason::Held | Reason::Paused));
        before.status != ConditionStatus::True && !was_waiting
    };
    event_after(reason_before, before.as_ref().is_some_and(was_failed), outcome)
}

fn conditions_of(status: &Value) -> Vec<Condition> {
    let list = status.get("conditions").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|value| serde_json::from_value(value.clone()).ok()).collect()
}

fn without_conditions(status: &Value) -> Map<String, Value> {
    let mut status = status.as_object().cloned().unwrap_or_default();
    status.remove("conditions");
    status
}

fn shorten(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message.to_owned(),
    }
}

/// Whether two statuses are equivalent: explicit nulls count as absent, and conditions have no order.
fn same(left: &Value, right: &Value) -> bool {
    let normal = |status: &Value| {
        let conditions = status.get("conditions").and_then(Value::as_array).into_iter().flatten();
        let mut conditions: Vec<Value> = conditions.map(without_nulls).collect();
        let type_of = |condition: &Value| condition["type"].as_str().unwrap_or_default().to_owned();
        conditions.sort_by_key(type_of);
        (without_nulls(&Value::Object(without_conditions(status))), conditions)
    };
    normal(left) == normal(right)
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
