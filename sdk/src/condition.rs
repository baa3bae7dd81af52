//! The conditions that all providers have in common.

use bartizan_contract::{Condition, ConditionStatus};

use crate::failure::Fault;

/// The parent's state matches its spec.
pub const READY: &str = "Ready";
/// The provider is taking a step or waiting for something.
pub const PROGRESSING: &str = "Progressing";
/// The spec is valid.
pub const VALID: &str = "Valid";
/// The parent has fields that the spec type does not know. Set by the SDK; absent if there are none.
pub const UNKNOWN_FIELDS: &str = "UnknownFields";

/// How many unknown fields the message lists; the rest is only counted, to keep it readable.
const LISTED_FIELDS: usize = 10;

/// `Valid=True`.
#[must_use]
pub fn valid() -> Condition {
    Condition::new(VALID, ConditionStatus::True, "SpecValid", "")
}

/// `Valid=False` with every fault and its field.
#[must_use]
pub fn invalid(reason: &str, faults: &[Fault]) -> Condition {
    let message = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ");
    Condition::new(VALID, ConditionStatus::False, reason, message)
}

/// `Ready=True`.
#[must_use]
pub fn ready(reason: &str, message: impl Into<String>) -> Condition {
    Condition::new(READY, ConditionStatus::True, reason, message)
}

/// `Ready=False`.
#[must_use]
pub fn not_ready(reason: &str, message: impl Into<String>) -> Condition {
    Condition::new(READY, ConditionStatus::False, reason, message)
}

/// `UnknownFields=True` with the paths of the fields; nothing if there are none.
pub(crate) fn unknown_fields(paths: &[String]) -> Option<Condition> {
    let listed = paths.get(..LISTED_FIELDS).unwrap_or(paths).join(", ");
    let message = match paths.len().checked_sub(LISTED_FIELDS) {
        None | Some(0) => format!("ignored: {listed}"),
        Some(more) => format!("ignored: {listed} and {more} more"),
    };
    (!paths.is_empty()).then(|| Condition::new(UNKNOWN_FIELDS, ConditionStatus::True, "UnknownFields", message))
}
