//! The events on a Provider: what its status says for the first time. Derived from the status before and after a write, so that a restart
//! repeats none.

use bartizan_contract::provider::{ActiveModule, ProviderStatus, Upgrade, condition_types};
use bartizan_contract::{Condition, ConditionStatus, EventType, ProviderEvent, Reason};

use super::version::VersionId;

/// Conditions whose False is worth an event, and those whose True is.
const WANTED: [&str; 3] = [condition_types::ACCEPTED, condition_types::LOADED, condition_types::SERVING];
const UNWANTED: [&str; 3] =
    [condition_types::UPGRADE_HELD, condition_types::REMOVAL_BLOCKED, condition_types::STATUS_BLOCKED];

/// What to tell after a status was written.
#[must_use]
pub fn events(upgrade: &Upgrade, before: &ProviderStatus, after: &ProviderStatus) -> Vec<ProviderEvent> {
    let mut events: Vec<ProviderEvent> =
        changed_version(before.active.as_ref(), after.active.as_ref()).into_iter().collect();
    for condition in &after.conditions {
        let old = before.conditions.iter().find(|old| old.type_ == condition.type_);
        let is_told = old.is_some_and(|old| old.status == condition.status && old.reason == condition.reason);
        // Said by the event on the version, or by the condition that is the cause.
        let is_said = condition.type_ == condition_types::LOADED
            && condition.status == ConditionStatus::True
            && condition.reason != Reason::CrdOutdated.as_str()
            && !events.is_empty()
            || condition.reason == Reason::NotStarted.as_str();
        if !is_told && !is_said {
            events.extend(of(condition, old));
        }
    }
    events.extend(approved(upgrade, before, after));
    events
}

/// The version that waited serves, since the spec approves it. An annotation that does is taken off, and told then.
fn approved(upgrade: &Upgrade, before: &ProviderStatus, after: &ProviderStatus) -> Option<ProviderEvent> {
    let waited = before.candidate.as_ref().filter(|waited| upgrade.approves(&waited.approval))?;
    let serves = after.active.as_ref().filter(|_| after.active != before.active);
    let message = format!("version {} was approved by spec.upgrade.approved, and serves", waited.version);
    let is_it = serves.is_some_and(|active| VersionId::of(active).approval() == waited.approval);
    is_it.then(|| event(Reason::Approved, &message))
}

/// An event of the host itself.
#[must_use]
pub fn event(reason: Reason, message: &str) -> ProviderEvent {
    ProviderEvent { type_: EventType::Normal, reason: reason.to_string(), message: message.to_owned() }
}

fn changed_version(before: Option<&ActiveModule>, after: Option<&ActiveModule>) -> Option<ProviderEvent> {
    let after = after?;
    let ActiveModule { version, digest, .. } = after;
    match before {
        None => Some(event(Reason::Loaded, &format!("version {version} ({digest}) was loaded"))),
        Some(before) if before.digest != *digest => {
            Some(event(Reason::Replaced, &format!("version {version} ({digest}) replaced version {}", before.version)))
        }
        Some(before) if before.settings != after.settings => {
            Some(event(Reason::Replaced, &format!("version {version} serves with other settings")))
        }
        Some(_) => None,
    }
}

/// The event for a condition that has changed.
fn of(condition: &Condition, before: Option<&Condition>) -> Option<ProviderEvent> {
    let is_true = condition.status == ConditionStatus::True;
    let is_bad = match &*condition.type_ {
        type_ if WANTED.contains(&type_) => !is_true,
        type_ if UNWANTED.contains(&type_) => is_true,
        // Ready says the same once more.
        _ => return None,
    };
    let is_bad = is_bad || condition.reason == Reason::CrdOutdated.as_str();
    // That all is well is worth saying after it was not, and of serving always.
    let was_bad = before.is_some_and(|before| before.status != condition.status);
    let begins = condition.type_ == condition_types::SERVING && is_true && before.is_none();
    if !is_bad && !was_bad && !begins {
        return None;
    }
    // What somebody asked for, and what passes, is no warning.
    let is_asked_for = [Reason::Suspended, Reason::Removing, Reason::Loading];
    let is_warning = is_bad && !is_asked_for.iter().any(|reason| reason.as_str() == condition.reason);
    Some(ProviderEvent {
        type_: if is_warning { EventType::Warning } else { EventType::Normal },
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(active: Option<&str>, conditions: &[(&str, &str, &str)]) -> ProviderStatus {
        let conditions = conditions.iter().map(|(type_, status, reason)| {
            json!({"type": type_, "status": status, "reason": reason, "message": format!("{type_} {reason}")})
        });
        let active = active.map(|version| json!({"version": version, "digest": format!("sha256:{version}")}));
        serde_json::from_value(json!({"active": active, "conditions": conditions.collect::<Vec<_>>()})).unwrap()
    }

    fn told(before: &ProviderStatus, after: &ProviderStatus) -> Vec<String> {
        let text = |event: ProviderEvent| format!("{:?} {}: {}", event.type_, event.reason, event.message);
        events(&Upgrade::default(), before, after).into_iter().map(text).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let none = ProviderStatus::default();
        let fine = [
            ("Ready", "True", "Ready"),
            ("Accepted", "True", "Accepted"),
            ("Loaded", "True", "Loaded"),
            ("UpgradeHeld", "False", "NoneWaits"),
            ("Serving", "True", "Serving"),
        ];
        let serves = status(Some("1"), &fine);
        assert_eq!(
            told(&none, &serves),
            ["Normal Loaded: version 1 (sha256:1) was loaded", "Normal Serving: Serving Serving"]
        );
        assert_eq!(told(&serves, &serves), Vec::<String>::new());
        let replaced = status(Some("2"), &fine);
        assert_eq!(told(&serves, &replaced), ["Normal Replaced: version 2 (sha256:2) replaced version 1"]);
        let held = status(Some("1"), &[("UpgradeHeld", "True", "Deletes"), ("Serving", "True", "Serving")]);
        assert_eq!(told(&serves, &held), ["Warning Deletes: UpgradeHeld Deletes"]);
        let broken = status(Some("1"), &[("Serving", "False", "BreakerOpen"), ("Loaded", "False", "NotGranted")]);
        let expected = ["Warning BreakerOpen: Serving BreakerOpen", "Warning NotGranted: Loaded NotGranted"];
        assert_eq!(told(&serves, &broken), expected);
        let expected = ["Normal Loaded: Loaded Loaded", "Normal Serving: Serving Serving"];
        assert_eq!(told(&broken, &serves), expected);
        let suspended = status(Some("1"), &[("Serving", "False", "Suspended")]);
        assert_eq!(told(&serves, &suspended), ["Normal Suspended: Serving Suspended"]);
        let outdated = status(Some("1"), &[("Loaded", "True", "CrdOutdated"), ("Serving", "True", "Serving")]);
        assert_eq!(told(&serves, &outdated), ["Warning CrdOutdated: Loaded CrdOutdated"]);
        let refused = status(None, &[("Accepted", "False", "Invalid")]);
        assert_eq!(told(&none, &refused), ["Warning Invalid: Accepted Invalid"]);
    }
}
