//! Whether a version takes over or waits, from what it would change. No I/O.

use bartizan_contract::Reason;
use bartizan_contract::provider::{CandidateChanges, HoldOn, Upgrade, UpgradePolicy};

use crate::crd_compat::Incompatibility;

/// Why a version waits: CamelCase for programs, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The gravest reason.
    pub reason: Reason,
    /// What it would do, and what to do about it.
    pub message: String,
}

/// What is known of a version that could take over.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// What it would change.
    pub changes: &'a CandidateChanges,
    /// What of its CRDs does not fit those of the version that serves; where that is not at hand, those of the cluster.
    pub crds: &'a [Incompatibility],
    /// What it asks for beyond the version that serves.
    pub rights: &'a [String],
}

/// Why this version does not take over by itself; `None`: it does.
pub fn held(provider: &str, upgrade: &Upgrade, number: &str, plan: Plan<'_>) -> Option<Held> {
    let CandidateChanges { parents, create, update, delete, recreate, release, refuse, fail, unknown } = *plan.changes;
    let holds = |on: HoldOn| upgrade.hold_on.contains(&on);
    let reason = if fail > 0 {
        Reason::Fails
    } else if !plan.crds.is_empty() {
        Reason::CrdIncompatible
    } else if !plan.rights.is_empty() {
        Reason::MoreRights
    } else if unknown > 0 && holds(HoldOn::Unknown) {
        Reason::Unknown
    } else if refuse > 0 {
        Reason::Refuses
    } else if delete > 0 && holds(HoldOn::Delete) {
        Reason::Deletes
    } else if recreate > 0 && holds(HoldOn::Recreate) {
        Reason::Recreates
    } else if upgrade.policy == UpgradePolicy::Manual {
        Reason::Manual
    } else {
        return None;
    };
    let counted = [
        (create, "create"),
        (update, "update"),
        (recreate, "recreate"),
        (delete, "delete"),
        (release, "release"),
        (refuse, "fail to change"),
    ];
    let counted: Vec<String> = counted
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, verb)| format!("{verb} {}", counted_of(*count, "child", "children")))
        .collect();
    let mut would = match counted.split_last() {
        None => format!("version {number} would change no children"),
        Some((last, others)) => {
            let all = if others.is_empty() { last.clone() } else { format!("{} and {last}", others.join(", ")) };
            format!("version {number} would {all} of {}", counted_of(parents, "parent", "parents"))
        }
    };
    if fail > 0 {
        would.push_str(&format!(", and has no acceptable answer for {}", counted_of(fail, "parent", "parents")));
    }
    if unknown > 0 {
        would.push_str(&format!(", and could not be asked about {}", counted_of(unknown, "parent", "parents")));
    }
    if let Some(first) = plan.crds.first() {
        let more = plan.crds.len() - 1;
        would.push_str(&format!("; its CustomResourceDefinitions do not fit: {first}"));
        if more > 0 {
            would.push_str(&format!(", and {more} more"));
        }
    }
    if !plan.rights.is_empty() {
        would.push_str(&format!("; it asks for more rights than the version before: {}", plan.rights.join(", ")));
    }
    let message = format!(
        "{would}; see bartizan diff provider/{provider}, and let it take over with bartizan approve provider/{provider}"
    );
    Some(Held { reason, message })
}

/// A number with what it counts.
pub fn counted_of(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(policy: UpgradePolicy, hold_on: &[HoldOn], changes: CandidateChanges) -> Option<(Reason, String)> {
        hold_with(policy, hold_on, changes, &[])
    }

    fn hold_with(
        policy: UpgradePolicy,
        hold_on: &[HoldOn],
        changes: CandidateChanges,
        rights: &[String],
    ) -> Option<(Reason, String)> {
        let upgrade = Upgrade { policy, hold_on: hold_on.to_vec(), approved: None };
        let plan = Plan { changes: &changes, crds: &[], rights };
        held("minio", &upgrade, "2.0.0", plan).map(|held| {
            let message = held.message.split_once(
                "; see bartizan diff provider/minio, and let it take over with bartizan approve provider/minio",
            );
            (held.reason, message.unwrap().0.to_owned())
        })
    }

    #[test]
    fn a_version_that_asks_for_more_rights_waits_whatever_hold_on_says() {
        let rights = ["to write Secret".to_owned(), "to read Pod below its children".to_owned()];
        let held = hold_with(UpgradePolicy::Automatic, &[], CandidateChanges::default(), &rights);
        let expected = "version 2.0.0 would change no children; it asks for more rights than the version before: to write Secret, to read Pod \
                        below its children";
        assert_eq!(held, Some((Reason::MoreRights, expected.to_owned())));
    }

    #[test]
    fn deletes_and_recreations_wait_unless_hold_on_leaves_them_out() {
        use UpgradePolicy::{Automatic, Manual};
        let both = [HoldOn::Delete, HoldOn::Recreate];
        let nothing = CandidateChanges::default();
        let update = CandidateChanges { parents: 3, create: 1, update: 3, ..nothing };
        let delete = CandidateChanges { parents: 1, delete: 1, ..update };
        let recreate = CandidateChanges { parents: 2, recreate: 2, ..nothing };
        let fail = CandidateChanges { fail: 1, ..nothing };
        let refuse = CandidateChanges { parents: 1, refuse: 1, ..nothing };
        for (policy, hold_on, changes, expected) in [
            (Automatic, &both[..], nothing, None),
            (Automatic, &both[..], update, None),
            (Manual, &[][..], nothing, Some((Reason::Manual, "version 2.0.0 would change no children"))),
            (
                Manual,
                &both[..],
                update,
                Some((Reason::Manual, "version 2.0.0 would create 1 child and update 3 children of 3 parents")),
            ),
            (
                Automatic,
                &both[..],
                delete,
                Some((
                    Reason::Deletes,
                    "version 2.0.0 would create 1 child, update 3 children and delete 1 child of 1 parent",
                )),
            ),
            (Automatic, &both[1..], delete, None),
            (Automatic, &both[..1], recreate, None),
            (
                Automatic,
                &both[..],
                recreate,
                Some((Reason::Recreates, "version 2.0.0 would recreate 2 children of 2 parents")),
            ),
            (
                Automatic,
                &[HoldOn::Unknown],
                CandidateChanges { unknown: 2, ..nothing },
                Some((
                    Reason::Unknown,
                    "version 2.0.0 would change no children, and could not be asked about 2 parents",
                )),
            ),
            (Automatic, &both[..], CandidateChanges { unknown: 2, ..nothing }, None),
            // Nobody says that a version may fail.
            (
                Automatic,
                &[][..],
                fail,
                Some((
                    Reason::Fails,
                    "version 2.0.0 would change no children, and has no acceptable answer for 1 parent",
                )),
            ),
            (
                Automatic,
                &[][..],
                refuse,
                Some((Reason::Refuses, "version 2.0.0 would fail to change 1 child of 1 parent")),
            ),
        ] {
            let expected = expected.map(|(reason, message)| (reason, message.to_owned()));
            assert_eq!(hold(policy, hold_on, changes), expected, "{policy:?} {hold_on:?} {changes:?}");
        }
    }
}
