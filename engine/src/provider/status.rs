//! The status of a Provider, from its admission and from how it serves. No I/O.

use bartizan_contract::names::APPROVE_ANNOTATION;
use bartizan_contract::provider::{
    ActiveModule, Approvers, CandidateModule, Provider, ProviderStatus, condition_types,
};
use bartizan_contract::{Condition, ConditionStatus, GroupKind, Reason};

use serde_json::{Map, Value, json};

use super::admission::Admission;
use super::declaration::{FolderNote, NoteKind};
use super::upgrade_hold::Held;
use super::version::Version;

/// How far a Provider is with serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serving {
    /// It serves.
    Yes,
    /// It starts; the condition stays as it was for a moment, so that a restart changes nothing.
    Starting,
    /// It does not, and why.
    No(Reason, String),
}

/// What is known of a Provider beside its admission.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Why an older Provider has all its parents.
    pub conflict: Option<&'a String>,
    /// What the folder declares of it and does not take effect.
    pub note: Option<&'a FolderNote>,
    /// How far it is with serving.
    pub serving: Serving,
    /// The version that serves now.
    pub active: Option<&'a Version>,
    /// The version that was started, whether or not it serves already.
    pub started: Option<&'a Version>,
    /// How its account can read the host's own Secrets, for which it does not start.
    pub reads_host: Option<&'a str>,
    /// Why the version that it should serve with cannot yet.
    pub not_ready: Option<&'a str>,
    /// The version that may not serve yet, and why.
    pub candidate: Option<(CandidateModule, Held)>,
    /// The approval of a version of which it is not known yet whether it waits: what was said of it before stays.
    pub judged: Option<String>,
    /// Its parents; `None`: not counted yet.
    pub parents: Option<usize>,
    /// The status of how many parents cannot be written, and one of them with the reason; `None`: not known yet.
    pub status_blocked: Option<&'a (usize, String)>,
    /// Fields that a status must have.
    pub status_requires: Option<&'a str>,
    /// What the CRDs of the cluster lack of the module's own.
    pub crds_lack: Option<&'a str>,
    /// Kinds of an earlier version of which nothing is left.
    pub vacated: &'a [GroupKind],
    /// Why children that an earlier version wrote are left alone.
    pub left_alone: Option<&'a str>,
    /// Why it is not gone yet though it was deleted: reason and message.
    pub removal: Option<(Reason, String)>,
}

/// The status of a Provider.
pub fn status(provider: &Provider, admission: &Admission, facts: Facts<'_>, now: &str) -> ProviderStatus {
    let before = &provider.status;
    let starts = facts.serving == Serving::Starting;
    let mut draft = Draft { provider, now, conditions: Vec::new() };
    match (&admission.accepted, facts.conflict, facts.note, &admission.orphaned_by) {
        (Err(problem), ..) => draft.set(condition_types::ACCEPTED, false, problem.reason, &problem.message),
        (Ok(_), Some(message), ..) => draft.set(condition_types::ACCEPTED, false, Reason::Conflict, message),
        (Ok(_), None, ..) if let Some(message) = facts.reads_host => {
            draft.set(condition_types::ACCEPTED, false, Reason::CanReadHost, message);
        }
        // It serves all the same.
        (Ok(_), None, Some(FolderNote { kind, message, .. }), _) => {
            let (accepted, reason) = match kind {
                NoteKind::Copy => (true, Reason::Accepted),
                NoteKind::Conflict => (false, Reason::Conflict),
                NoteKind::Wrong => (false, Reason::Invalid),
            };
            draft.set(condition_types::ACCEPTED, accepted, reason, message);
        }
        (Ok(_), None, None, Some(file)) => {
            let message = format!(
                "the spec can be honoured as it stands; {file}, which it was made from, is gone from the folder: delete \
                 the Provider if it should go, too"
            );
            draft.set(condition_types::ACCEPTED, true, Reason::SourceMissing, &message);
        }
        (Ok(_), None, None, None) => {
            draft.set(condition_types::ACCEPTED, true, Reason::Accepted, "the spec can be honoured as it stands")
        }
    }
    match (&admission.loaded, &facts.not_ready) {
        (Err(problem), _) => draft.set(condition_types::LOADED, false, problem.reason, &problem.message),
        (Ok(()), Some(reason)) => {
            let next = admission.version.as_ref().map_or("", Version::number);
            let keeps = facts.active.map(|active| format!("; version {} keeps serving", active.number()));
            let message = format!("version {next} cannot start yet: {reason}{}", keeps.unwrap_or_default());
            draft.set(condition_types::LOADED, false, Reason::NotReady, &message);
        }
        (Ok(()), None) => match (facts.crds_lack, held_instead(admission)) {
            (None, instead) => {
                let message = format!("the module was loaded{instead}");
                draft.set(condition_types::LOADED, true, Reason::Loaded, &message);
            }
            (Some(lacks), instead) => {
                let message = format!(
                    "the module was loaded{instead}; {lacks}: what is written there is not checked, or dropped. Apply its CustomResourceDefinitions (bartizan \
                     crds prints them)"
                );
                draft.set(condition_types::LOADED, true, Reason::CrdOutdated, &message);
            }
        },
    }
    // Of the same version only.
    let waited = before.candidate.as_ref().filter(|waited| facts.judged.as_ref() == Some(&waited.approval));
    match (&facts.candidate, waited) {
        (Some((_, Held { reason, message })), _) => draft.set(condition_types::UPGRADE_HELD, true, *reason, message),
        (None, Some(_)) if draft.before(condition_types::UPGRADE_HELD).is_some() => {
            draft.keep(condition_types::UPGRADE_HELD);
        }
        (None, _) => draft.set(condition_types::UPGRADE_HELD, false, Reason::NoneWaits, "no other version waits"),
    }
    if let Some((reason, message)) = &facts.removal {
        draft.set(condition_types::REMOVAL_BLOCKED, true, *reason, message);
    }
    match (facts.status_blocked, facts.status_requires) {
        (Some((parents @ 1.., example)), _) => {
            let of = if *parents == 1 { "1 parent".to_owned() } else { format!("{parents} parents") };
            let example = if example.is_empty() { String::new() } else { format!("; {example}") };
            let message =
                format!("the status of {of} cannot be written as given; failures are reported as events{example}");
            draft.set(condition_types::STATUS_BLOCKED, true, Reason::StatusRefused, &message);
        }
        (_, Some(fields)) => {
            let message = format!(
                "{fields}: as long as the provider gave no status with it, nothing can be said on a parent but by events; make \
                 it optional in the CustomResourceDefinition"
            );
            draft.set(condition_types::STATUS_BLOCKED, true, Reason::StatusRequired, &message);
        }
        // Whether that is so still, the controller will say.
        (None, None) if starts || facts.started.is_some() => draft.keep(condition_types::STATUS_BLOCKED),
        _ => {}
    }
    match facts.serving {
        Serving::Yes => {
            let left_alone = facts.left_alone.map(|reason| format!("; {reason}")).unwrap_or_default();
            let message = format!("parents are served{left_alone}");
            draft.set(condition_types::SERVING, true, Reason::Serving, &message);
        }
        Serving::No(reason, message) => draft.set(condition_types::SERVING, false, reason, &message),
        Serving::Starting => draft.keep(condition_types::SERVING),
    }
    let conditions = draft.with_ready(starts);
    let previous = match (facts.active, &before.active) {
        (Some(serves), Some(before)) if !serves.is(before) => Some(before.clone()),
        _ => before.previous.clone(),
    };
    ProviderStatus {
        observed_generation: provider.metadata.generation,
        // What serves is recorded once it does: a host that starts in between must find what served before.
        active: facts
            .active
            .or(facts.started.filter(|_| before.active.is_none()))
            .map(|version| active(provider, version, now))
            .or_else(|| before.active.clone()),
        has_served: match before.has_served {
            _ if facts.active.is_some() => Some(true),
            // An earlier host, which did not say so, may have served.
            None => before.active.is_none().then_some(false),
            said => said,
        },
        previous,
        candidate: facts.candidate.map(|(candidate, _)| candidate).or_else(|| waited.cloned()),
        parents: facts.parents.map(|parents| u32::try_from(parents).unwrap_or(u32::MAX)).or(before.parents),
        kinds: kinds(provider, facts.started, facts.vacated),
        conditions,
    }
}

/// The merge patch that takes off what the status was not to say any more, and says still, since somebody else applied it, too (a backup
/// that was restored with its status). `None` if there is nothing of it. What others say beside stays.
#[must_use]
pub fn left_over(sent: &ProviderStatus, stored: &ProviderStatus) -> Option<Value> {
    let is_left = |condition: &&Condition| {
        [condition_types::REMOVAL_BLOCKED, condition_types::STATUS_BLOCKED].contains(&condition.type_.as_str())
            && !sent.conditions.iter().any(|said| said.type_ == condition.type_)
    };
    let mut patch = Map::new();
    if stored.conditions.iter().any(|condition| is_left(&condition)) {
        let conditions: Vec<&Condition> = stored.conditions.iter().filter(|condition| !is_left(condition)).collect();
        patch.insert("conditions".to_owned(), json!(conditions));
    }
    if sent.candidate.is_none() && stored.candidate.is_some() {
        patch.insert("candidate".to_owned(), Value::Null);
    }
    (!patch.is_empty()).then(|| json!({"status": patch}))
}

/// What the source holds in place of the pinned module that serves.
fn held_instead(admission: &Admission) -> String {
    admission.passed_over.as_ref().map(|instead| format!("; {instead}")).unwrap_or_default()
}

/// The version that serves, since when, and who approved it.
fn active(provider: &Provider, version: &Version, now: &str) -> ActiveModule {
    let before = &provider.status;
    let (since, approved_by) = match before.active.as_ref().filter(|before| version.is(before)) {
        Some(same) => (same.since.clone(), same.approved_by.clone()),
        None => (Some(now.to_owned()), approver(provider, version)),
    };
    ActiveModule { since, approved_by, ..version.active_module() }
}

/// Who approved a version that waited.
fn approver(provider: &Provider, version: &Version) -> Option<String> {
    let approval = version.id().approval();
    provider.status.candidate.as_ref().filter(|waited| waited.approval == approval)?;
    let Approvers { annotation, spec } = &provider.metadata.approvers;
    let by = |who: &Option<String>, place: &str| {
        format!("{} ({place})", who.as_deref().unwrap_or("an unknown field manager"))
    };
    match provider.metadata.annotations.get(APPROVE_ANNOTATION) {
        Some(approved) if *approved == approval => Some(by(annotation, APPROVE_ANNOTATION)),
        _ if provider.spec.upgrade.approves(&approval) => Some(by(spec, "spec.upgrade.approved")),
        _ => None,
    }
}

/// The conditions, as they are said one after the other.
struct Draft<'a> {
    provider: &'a Provider,
    now: &'a str,
    conditions: Vec<Condition>,
}

impl Draft<'_> {
    fn set(&mut self, type_: &str, status: bool, reason: Reason, message: &str) {
        let status = if status { ConditionStatus::True } else { ConditionStatus::False };
        self.conditions.push(self.condition(type_, status, reason, message));
    }

    /// What was said before stays, if anything was.
    fn keep(&mut self, type_: &str) {
        self.conditions.extend(self.before(type_).cloned());
    }

    fn before(&self, type_: &str) -> Option<&Condition> {
        self.provider.status.conditions.iter().find(|old| old.type_ == type_)
    }

    /// All of them, and first whether it serves as its spec wants it: it does not if one of the others says so. While it starts, what was
    /// said of the same generation stays.
    fn with_ready(mut self, starts: bool) -> Vec<Condition> {
        // Of one that starts, what was said of the one before stays in its conditions.
        let serving = (!starts).then_some(condition_types::SERVING);
        let wanted = [Some(condition_types::ACCEPTED), serving, Some(condition_types::LOADED)];
        let find = |type_: &str| self.conditions.iter().find(|found| found.type_ == type_);
        let mut found = wanted.into_iter().flatten().filter_map(find);
        let cause = found.find(|found| found.status == ConditionStatus::False);
        let is_of_generation = |before: &&Condition| before.observed_generation == self.provider.metadata.generation;
        let new = |status, reason, message: &str| self.condition(condition_types::READY, status, reason, message);
        let ready = match (cause, self.before(condition_types::READY).filter(is_of_generation)) {
            (Some(cause), _) => {
                let reason = cause.reason.parse().unwrap_or(Reason::NotReady);
                new(ConditionStatus::False, reason, &format!("{}: {}", cause.type_, cause.message))
            }
            (None, Some(before)) if starts => before.clone(),
            (None, _) if starts => new(ConditionStatus::Unknown, Reason::Starting, "it starts"),
            (None, _) => new(ConditionStatus::True, Reason::Ready, "it serves as its spec wants it"),
        };
        self.conditions.insert(0, ready);
        self.conditions
    }

    /// A condition, with the time of its last transition kept where there was none.
    fn condition(&self, type_: &str, status: ConditionStatus, reason: Reason, message: &str) -> Condition {
        let mut condition = Condition::new(type_, status, reason.as_str(), message);
        condition.observed_generation = self.provider.metadata.generation;
        let same = self.before(type_).filter(|old| old.status == status);
        let since = same.and_then(|old| old.last_transition_time.clone());
        condition.last_transition_time = Some(since.unwrap_or_else(|| self.now.to_owned()));
        condition
    }
}

/// Every kind that the provider may have written: those of its children that it is granted, if it was started, and those of before, but
/// for those of which nothing is left.
pub fn kinds(provider: &Provider, started: Option<&Version>, vacated: &[GroupKind]) -> Vec<GroupKind> {
    let mut kinds = provider.status.kinds.clone();
    kinds.retain(|kind| !vacated.contains(kind));
    if let Some(version) = started {
        let asked = version.module.manifest.children.iter().map(|asked| asked.kind());
        let granted = asked.filter(|kind| provider.spec.grants.covers_child(kind));
        kinds.extend(granted.map(|kind| GroupKind::from(&kind)));
    }
    kinds.sort();
    kinds.dedup();
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(types: &[&str]) -> ProviderStatus {
        let conditions = types.iter().map(|type_| Condition::new(type_, ConditionStatus::True, "Reason", "m"));
        ProviderStatus { conditions: conditions.collect(), ..ProviderStatus::default() }
    }

    #[test]
    fn what_a_restored_backup_says_of_a_provider_is_taken_off_and_what_others_say_stays() {
        let sent = said(&[condition_types::READY]);
        let mut stored = said(&["Theirs", condition_types::READY, condition_types::STATUS_BLOCKED]);
        let candidate = json!({"name": "minio", "version": "0.1.0", "digest": "sha256:00", "approval": "sha256:00"});
        stored.candidate = Some(serde_json::from_value(candidate).unwrap());
        let patch = left_over(&sent, &stored).unwrap();
        let left = said(&["Theirs", condition_types::READY]).conditions;
        assert_eq!(patch, json!({"status": {"conditions": left, "candidate": null}}));
        assert_eq!(left_over(&sent, &said(&["Theirs", condition_types::READY])), None);
        assert_eq!(left_over(&stored, &stored), None);
    }
}
