//! The status of a Provider, from its admission and from how it serves. No I/O.

use bartizan_contract::provider::{CandidateModule, Provider, ProviderStatus, condition_types};
use bartizan_contract::{Condition, ConditionStatus, GroupKind, Reason};

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
    let (mut conditions, mut kept) = (Vec::new(), Vec::new());
    let mut set = |type_: &str, status: bool, reason: Reason, message: &str| {
        let status = if status { ConditionStatus::True } else { ConditionStatus::False };
        conditions.push(condition(provider, type_, status, reason, message, now));
    };
    match (&admission.accepted, facts.conflict, facts.note, &admission.orphaned_by) {
        (Err(problem), ..) => set(condition_types::ACCEPTED, false, problem.reason, &problem.message),
        (Ok(_), Some(message), ..) => set(condition_types::ACCEPTED, false, Reason::Conflict, message),
        // It serves all the same.
        (Ok(_), None, Some(FolderNote { kind, message, .. }), _) => {
            let (accepted, reason) = match kind {
                NoteKind::Copy => (true, Reason::Accepted),
                NoteKind::Conflict => (false, Reason::Conflict),
                NoteKind::Wrong => (false, Reason::Invalid),
            };
            set(condition_types::ACCEPTED, accepted, reason, message);
        }
        (Ok(_), None, None, Some(file)) => {
            let message = format!(
                "the spec can be honoured as it stands; {file}, which it was made from, is gone from the folder: delete \
                 the Provider if it should go, too"
            );
            set(condition_types::ACCEPTED, true, Reason::SourceMissing, &message);
        }
        (Ok(_), None, None, None) => {
            set(condition_types::ACCEPTED, true, Reason::Accepted, "the spec can be honoured as it stands")
        }
    }
    match (&admission.loaded, &facts.not_ready) {
        (Err(problem), _) => set(condition_types::LOADED, false, problem.reason, &problem.message),
        (Ok(()), Some(reason)) => {
            let next = admission.version.as_ref().map_or("", Version::number);
            let keeps = facts.active.map(|active| format!("; version {} keeps serving", active.number()));
            let message = format!("version {next} cannot start yet: {reason}{}", keeps.unwrap_or_default());
            set(condition_types::LOADED, false, Reason::NotReady, &message);
        }
        (Ok(()), None) => set(condition_types::LOADED, true, Reason::Loaded, "the module was loaded"),
    }
    // Of the same version only.
    let waited = before.candidate.as_ref().filter(|waited| facts.judged.as_ref() == Some(&waited.approval));
    let held_before = before.conditions.iter().find(|old| old.type_ == condition_types::UPGRADE_HELD);
    match (&facts.candidate, held_before.filter(|_| waited.is_some())) {
        (Some((_, Held { reason, message })), _) => set(condition_types::UPGRADE_HELD, true, *reason, message),
        (None, Some(before)) => kept.push(before.clone()),
        (None, None) => set(condition_types::UPGRADE_HELD, false, Reason::NoneWaits, "no other version waits"),
    }
    if let Some((reason, message)) = &facts.removal {
        set(condition_types::REMOVAL_BLOCKED, true, *reason, message);
    }
    let is_blocked = facts.status_blocked.is_some_and(|(parents, _)| *parents > 0);
    if let Some(fields) = facts.status_requires.filter(|_| !is_blocked) {
        let message = format!(
            "{fields}: as long as the provider gave no status with it, nothing can be said on a parent but by events; make it \
             optional in the CustomResourceDefinition"
        );
        set(condition_types::STATUS_BLOCKED, true, Reason::StatusRequired, &message);
    }
    if let Some((parents, example)) = facts.status_blocked.filter(|_| is_blocked) {
        let of = if *parents == 1 { "1 parent".to_owned() } else { format!("{parents} parents") };
        let example = if example.is_empty() { String::new() } else { format!("; {example}") };
        let message =
            format!("the status of {of} cannot be written as given; failures are reported as events{example}");
        set(condition_types::STATUS_BLOCKED, true, Reason::StatusRefused, &message);
    }
    match facts.serving.clone() {
        Serving::Yes => {
            let left_alone = facts.left_alone.map(|reason| format!("; {reason}")).unwrap_or_default();
            let message = format!("parents are served{left_alone}");
            set(condition_types::SERVING, true, Reason::Serving, &message);
        }
        Serving::No(reason, message) => set(condition_types::SERVING, false, reason, &message),
        Serving::Starting => {
            conditions.extend(before.conditions.iter().find(|old| old.type_ == condition_types::SERVING).cloned());
        }
    }
    let starts = facts.serving == Serving::Starting;
    let is_running = starts || facts.started.is_some();
    if is_running && facts.status_blocked.is_none() && facts.status_requires.is_none() {
        // Whether that is so still, the controller will say.
        kept.extend(before.conditions.iter().find(|old| old.type_ == condition_types::STATUS_BLOCKED).cloned());
    }
    conditions.append(&mut kept);
    conditions.insert(0, ready(provider, &conditions, starts, now));
    let previous = match (facts.active, &before.active) {
        (Some(serves), Some(before)) if !serves.is(before) => Some(before.clone()),
        _ => before.previous.clone(),
    };
    // What serves is recorded once it does: a host that starts in between must find what served before.
    let first = || facts.started.map(Version::active_module);
    ProviderStatus {
        observed_generation: provider.metadata.generation,
        active: facts.active.map(Version::active_module).or_else(|| before.active.clone()).or_else(first),
        previous,
        candidate: facts.candidate.map(|(candidate, _)| candidate).or_else(|| waited.cloned()),
        parents: facts.parents.map(|parents| u32::try_from(parents).unwrap_or(u32::MAX)).or(before.parents),
        kinds: kinds(provider, facts.started, facts.vacated),
        conditions,
    }
}

/// Whether it serves as its spec wants it: it does not if one of the other conditions says so. While it starts, what was said of the same
/// generation stays.
fn ready(provider: &Provider, conditions: &[Condition], starts: bool, now: &str) -> Condition {
    let condition =
        |status, reason, message: &str| condition(provider, condition_types::READY, status, reason, message, now);
    // Of one that starts, what was said of the one before stays in its conditions.
    let serving = (!starts).then_some(condition_types::SERVING);
    let wanted = [Some(condition_types::ACCEPTED), serving, Some(condition_types::LOADED)];
    let mut found =
        wanted.into_iter().flatten().filter_map(|type_| conditions.iter().find(|found| found.type_ == type_));
    if let Some(cause) = found.find(|found| found.status == ConditionStatus::False) {
        let reason = cause.reason.parse().unwrap_or(Reason::NotReady);
        return condition(ConditionStatus::False, reason, &format!("{}: {}", cause.type_, cause.message));
    }
    let before = provider.status.conditions.iter().find(|old| old.type_ == condition_types::READY);
    match before.filter(|before| starts && before.observed_generation == provider.metadata.generation) {
        Some(before) => before.clone(),
        None if starts => condition(ConditionStatus::Unknown, Reason::Starting, "it starts"),
        None => condition(ConditionStatus::True, Reason::Ready, "it serves as its spec wants it"),
    }
}

/// A condition, with the time of its last transition kept where there was none.
fn condition(
    provider: &Provider,
    type_: &str,
    status: ConditionStatus,
    reason: Reason,
    message: &str,
    now: &str,
) -> Condition {
    let mut condition = Condition::new(type_, status, reason.as_str(), message);
    condition.observed_generation = provider.metadata.generation;
    let same = provider.status.conditions.iter().find(|old| old.type_ == type_ && old.status == status);
    let since = same.and_then(|old| old.last_transition_time.clone());
    condition.last_transition_time = Some(since.unwrap_or_else(|| now.to_owned()));
    condition
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
