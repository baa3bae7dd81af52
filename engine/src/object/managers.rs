//! What `metadata.managedFields` tells about an object: who applied it, who wrote it last, and which part of its status is the host's.

use bartizan_contract::names::{self, OWNER_UID_LABEL};
use serde_json::{Map, Value};

use crate::managed_fields::extract;

/// What managed fields tell about the host's writes.
pub(super) struct Managers {
    pub(super) applied_by_host: bool,
    pub(super) applied_by_a_provider: bool,
    pub(super) labelled_by_host: bool,
    pub(super) written_by_others_since: bool,
    pub(super) last_writer: Option<String>,
}

/// Whether the host's manager applied and owns the label, and whether another manager wrote at or after that. Times are RFC 3339 in UTC
/// and whole seconds, so that they compare as text; equal seconds count as later, which costs one apply that changes nothing.
pub(super) fn managers(object: &Value, manager: &str) -> Managers {
    let label = format!("f:{OWNER_UID_LABEL}");
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let field = |entry: &Map<String, Value>, name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
    let (mut applied_by_host, mut applied_by_a_provider, mut labelled_by_host) = (false, false, false);
    let mut ours: Option<String> = None;
    let mut others: Option<String> = None;
    let mut last_writer = None;
    for entry in entries.into_iter().flatten().filter_map(Value::as_object) {
        if entry.get("subresource").and_then(Value::as_str).is_some_and(|name| !name.is_empty()) {
            continue;
        }
        let time = field(entry, "time").unwrap_or_default();
        let is_ours = field(entry, "manager").as_deref() == Some(manager);
        let labels = || entry.get("fieldsV1")?.get("f:metadata")?.get("f:labels")?.get(&label);
        let applies = is_ours && field(entry, "operation").as_deref() == Some("Apply");
        // What was adopted and not applied yet has no more than its labels of the host, if an edit took the rest.
        applied_by_host |= applies || is_ours && labels().is_some();
        applied_by_a_provider |= field(entry, "operation").as_deref() == Some("Apply")
            && field(entry, "manager").is_some_and(|manager| names::is_field_manager(&manager));
        labelled_by_host |= is_ours && labels().is_some();
        // Restoring labels is an Update of ours, which does not revert what others wrote before.
        let slot = match (applies, is_ours) {
            (true, _) => &mut ours,
            (false, true) => continue,
            (false, false) => &mut others,
        };
        if slot.as_ref().is_none_or(|seen| *seen < time) {
            *slot = Some(time);
            if !is_ours {
                last_writer = field(entry, "manager");
            }
        }
    }
    let written_by_others_since = match (&ours, &others) {
        (Some(ours), Some(others)) => others >= ours,
        (Some(_), None) => false,
        (None, _) => true,
    };
    let last_writer = last_writer.filter(|_| written_by_others_since);
    Managers { applied_by_host, applied_by_a_provider, labelled_by_host, written_by_others_since, last_writer }
}

/// How a manager owns its part of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusOwnership {
    /// Whether it was written as a subresource.
    pub is_subresource: bool,
    /// Whether the list of conditions has one owner, so that those of others are in it.
    pub is_atomic: bool,
}

impl Default for StatusOwnership {
    fn default() -> Self {
        Self { is_subresource: true, is_atomic: false }
    }
}

/// The fields of the status that the host's manager owns, and how.
pub(super) fn owned_status(object: &Value, manager: &str) -> (Value, StatusOwnership) {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let is = |entry: &Value, field: &str, expected: &str| entry.get(field).and_then(Value::as_str) == Some(expected);
    let fields = |entry: &Value| entry.pointer("/fieldsV1/f:status").cloned();
    // Where the status is no subresource, it is written with the object.
    let applied =
        entries.into_iter().flatten().filter(|entry| is(entry, "manager", manager) && is(entry, "operation", "Apply"));
    // Of a kind whose status became a subresource, or is none any more, there are two: the later one counts.
    let found = applied.filter_map(|entry| {
        let time = entry.get("time").and_then(Value::as_str).unwrap_or_default();
        Some((time, fields(entry)?, is(entry, "subresource", "status")))
    });
    let found = found.max_by(|(left, ..), (right, ..)| left.cmp(right)).map(|(_, fields, is_sub)| (fields, is_sub));
    match (object.get("status"), found) {
        // An empty set is what is left of an empty status: it owns nothing.
        (Some(status), Some((fields, is_subresource)))
            if fields.as_object().is_none_or(|fields| !fields.is_empty()) =>
        {
            let conditions = fields.get("f:conditions").and_then(Value::as_object);
            let is_atomic = conditions.is_some_and(serde_json::Map::is_empty);
            (extract(status, &fields), StatusOwnership { is_subresource, is_atomic })
        }
        _ => (Value::Null, StatusOwnership::default()),
    }
}
