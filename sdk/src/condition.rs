//! Conditions that every provider writes the same way.

use bartizan_contract::{Condition, ConditionStatus};

use crate::Fault;

/// The parent does what its spec asks for.
pub const READY: &str = "Ready";
/// Something is being done or waited for.
pub const PROGRESSING: &str = "Progressing";
/// The spec can be acted on.
pub const VALID: &str = "Valid";
/// The parent has fields that nobody reads. Written by the SDK, absent when there are none.
pub const UNKNOWN_FIELDS: &str = "UnknownFields";

/// How many unknown fields a message lists before it only counts: a condition's message is for people.
const LISTED_FIELDS: usize = 10;

/// `Valid=True`.
#[must_use]
pub fn valid() -> Condition {
    Condition::new(VALID, ConditionStatus::True, "SpecValid", "")
}

/// `Valid=False`: every fault with its field.
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

/// `UnknownFields=True` with their paths; nothing when there are none.
pub(crate) fn unknown_fields(paths: &[String]) -> Option<Condition> {
    let listed = paths.get(..LISTED_FIELDS).unwrap_or(paths).join(", ");
    let message = match paths.len().checked_sub(LISTED_FIELDS) {
        None | Some(0) => format!("ignored: {listed}"),
        Some(more) => format!("ignored: {listed} and {more} more"),
    };
    (!paths.is_empty()).then(|| Condition::new(UNKNOWN_FIELDS, ConditionStatus::True, "UnknownFields", message))
}
