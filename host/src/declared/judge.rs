//! Whether a Provider can be served as it stands, and what it says of itself then. No I/O.

use std::collections::BTreeMap;

use bartizan_contract::provider::{
    ActiveModule, EffectiveLimits, ParentClaim, Provider, ProviderStatus, condition_types,
};
use bartizan_contract::{Condition, ConditionStatus, GroupKind, RelatedAccess};

use super::claims::Claim;
use super::{granted, module_file};
use crate::catalog::{Library, Loaded};

/// Why a condition does not hold: CamelCase for programs, one sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    reason: &'static str,
    message: String,
}

/// What can be said of a Provider before it serves.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    /// Whether its module is there.
    pub(crate) loaded: Result<Loaded, Problem>,
    /// Whether its spec can be honoured, and with which limits.
    pub(crate) accepted: Result<EffectiveLimits, Problem>,
    /// What it claims, if that is known.
    pub(crate) claim: Option<Claim>,
}

fn problem<T>(reason: &'static str, message: impl Into<String>) -> Result<T, Problem> {
    Err(Problem { reason, message: message.into() })
}

/// Judges one Provider by itself.
pub(crate) fn judge(provider: &Provider, library: &Library) -> Judged {
    // Whatever is wrong with it, its parents stay its own: another Provider would take them over for good.
    let claim = claim(provider, library);
    let unloaded = |problem: Problem| Judged { claim: claim.clone(), ..unloaded(problem) };
    let spec = &provider.spec;
    let errors: Vec<String> = spec.check().iter().map(ToString::to_string).collect();
    let file = match module_file(&spec.module) {
        _ if !errors.is_empty() => return unloaded(Problem { reason: "Invalid", message: errors.join("; ") }),
        Ok(file) => file,
        Err(message) => return unloaded(Problem { reason: "NotSupported", message }),
    };
    let loaded = match library.get(file) {
        None => problem(
            "ModuleMissing",
            format!("there is no {file} in the host's folder of providers: put it there and restart the host"),
        ),
        Some(Err(reason)) => problem("ModuleInvalid", format!("module {file}: {reason}")),
        Some(Ok(loaded)) => match &spec.module.digest {
            Some(wanted) if *wanted != loaded.module.digest() => problem(
                "DigestMismatch",
                format!("module {file} is {}, and spec.module.digest wants {wanted}", loaded.module.digest()),
            ),
            _ => Ok(loaded.clone()),
        },
    };
    let accepted = match &loaded {
        Ok(loaded) => accept(provider, loaded),
        // What a module asks for is not known without it.
        Err(_) => spec.limits.effective().map_err(|error| Problem { reason: "Invalid", message: error.to_string() }),
    };
    Judged { loaded, accepted, claim }
}

/// What a Provider claims: of the kinds that its module owns, or, if there is none, what it names. `None` if that cannot be
/// known.
fn claim(provider: &Provider, library: &Library) -> Option<Claim> {
    let module = module_file(&provider.spec.module).ok().and_then(|file| library.get(file));
    let owned: Vec<GroupKind> = match module {
        Some(Ok(loaded)) => loaded.parents.iter().map(|parent| GroupKind::from(&parent.kind)).collect(),
        _ if provider.spec.parents.is_empty() => return None,
        _ => provider.spec.parents.iter().map(ParentClaim::group_kind).collect(),
    };
    Claim::new(provider, &owned).ok()
}

fn unloaded(problem: Problem) -> Judged {
    let message = "the spec does not say which module".to_owned();
    Judged { loaded: Err(Problem { reason: "NotAccepted", message }), accepted: Err(problem), claim: None }
}

fn accept(provider: &Provider, loaded: &Loaded) -> Result<EffectiveLimits, Problem> {
    let (spec, manifest) = (&provider.spec, &loaded.manifest);
    let owned: Vec<GroupKind> = loaded.parents.iter().map(|parent| GroupKind::from(&parent.kind)).collect();
    if let Err(error) = Claim::new(provider, &owned) {
        return problem("Invalid", error.to_string());
    }
    let missing = granted::not_granted(manifest, &spec.grants);
    if let Some(message) = granted::message(manifest, &missing) {
        problem("NotGranted", message)
    } else if spec.grants.related.iter().any(|grant| grant.access == RelatedAccess::Plaintext) {
        problem("NotSupported", "spec.grants.related: access: Plaintext is not supported by this host yet; use Opaque")
    } else if manifest.settings.is_none() && !spec.settings.is_empty() {
        let message = format!("spec.settings: {} {} has no settings; leave them out", manifest.name, manifest.version);
        problem("Invalid", message)
    } else {
        spec.limits.effective().map_err(|error| Problem { reason: "Invalid", message: error.to_string() })
    }
}

/// The Providers that serve nothing since older ones claim all that they claim, each with the sentence that says so.
pub(crate) fn shadowed(claims: &[Claim]) -> BTreeMap<String, String> {
    let mut shadowed = BTreeMap::new();
    for claim in claims {
        let older = |kind: &GroupKind| claims.iter().find(|other| other.is_older_than(claim) && other.claims_all(kind));
        let takers: Option<Vec<(GroupKind, &Claim)>> =
            claim.kinds().map(|kind| older(&kind).map(|taker| (kind, taker))).collect();
        if let Some((kind, taker)) = takers.as_ref().and_then(|takers| takers.first()) {
            let message = format!(
                "{kind} is served by Provider {}, which is older; delete one of the two, or let them share by spec.parents' \
                 selectors",
                taker.provider()
            );
            shadowed.insert(claim.provider().to_owned(), message);
        }
    }
    shadowed
}

/// How far a Provider is with serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    /// It serves.
    Yes,
    /// It starts; what was said before stays for a moment, so that a restart says nothing.
    Starting,
    /// It does not, and why.
    No(&'static str, String),
}

/// The status of a Provider.
pub(crate) fn status(
    provider: &Provider,
    judged: &Judged,
    conflict: Option<&String>,
    serving: Serving,
    now: &str,
) -> ProviderStatus {
    let before = &provider.status;
    let mut conditions = Vec::new();
    let mut say = |type_: &str, status: bool, reason: &str, message: &str| {
        let status = if status { ConditionStatus::True } else { ConditionStatus::False };
        let mut condition = Condition::new(type_, status, reason, message);
        condition.observed_generation = provider.metadata.generation;
        let same = before.conditions.iter().find(|old| old.type_ == type_ && old.status == status);
        let since = same.and_then(|old| old.last_transition_time.clone());
        condition.last_transition_time = Some(since.unwrap_or_else(|| now.to_owned()));
        conditions.push(condition);
    };
    match (&judged.accepted, conflict) {
        (Err(problem), _) => say(condition_types::ACCEPTED, false, problem.reason, &problem.message),
        (Ok(_), Some(message)) => say(condition_types::ACCEPTED, false, "Conflict", message),
        (Ok(_), None) => say(condition_types::ACCEPTED, true, "Accepted", "the spec can be honoured as it stands"),
    }
    match &judged.loaded {
        Ok(_) => say(condition_types::LOADED, true, "Loaded", "the module was loaded"),
        Err(problem) => say(condition_types::LOADED, false, problem.reason, &problem.message),
    }
    match serving {
        Serving::Yes => say(condition_types::SERVING, true, "Serving", "parents are served"),
        Serving::No(reason, message) => say(condition_types::SERVING, false, reason, &message),
        Serving::Starting => {
            conditions.extend(before.conditions.iter().find(|old| old.type_ == condition_types::SERVING).cloned());
        }
    }
    let active = judged.loaded.as_ref().ok().map(|loaded| ActiveModule {
        version: loaded.manifest.version.clone(),
        digest: loaded.module.digest().to_owned(),
    });
    ProviderStatus {
        observed_generation: provider.metadata.generation,
        active,
        candidate: None,
        kinds: kinds(provider, judged),
        conditions,
    }
}

/// Every kind that the provider may have written: those of its children that it is granted, and those of before.
pub(crate) fn kinds(provider: &Provider, judged: &Judged) -> Vec<GroupKind> {
    let mut kinds = provider.status.kinds.clone();
    if let (Ok(loaded), Ok(_)) = (&judged.loaded, &judged.accepted) {
        let asked = loaded.manifest.children.iter().map(|asked| asked.kind());
        let granted = asked.filter(|kind| provider.spec.grants.covers_child(kind));
        kinds.extend(granted.map(|kind| GroupKind::from(&kind)));
    }
    kinds.sort();
    kinds.dedup();
    kinds
}
