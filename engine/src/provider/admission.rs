//! Whether a Provider can be served as it stands, and by which module. No I/O.

use std::collections::BTreeMap;

use bartizan_contract::provider::{EffectiveLimits, ParentClaim, Provider};
use bartizan_contract::{GroupKind, Reason, RelatedAccess};

use super::claims::Claim;
use super::grant_check;
use super::module::ModuleInfo;
use super::source::{Origin, Snapshot, Trouble};
use super::version::Version;

/// Why a condition does not hold: CamelCase for programs, one sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// What is known of a Provider before it serves.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The version that can serve: what its source holds now with the settings of the spec, or else the last that could.
    pub version: Option<Version>,
    /// The version that served last, if it still may.
    pub before: Last<Version>,
    /// The version that served last, whether it still may or not; `None` if it is not at hand.
    pub known: Option<Version>,
    /// Whether its source holds that module.
    pub loaded: Result<(), Problem>,
    /// Whether its spec can be honoured, and with which limits.
    pub accepted: Result<EffectiveLimits, Problem>,
    /// What it claims, if that is known.
    pub claim: Option<Claim>,
    /// What its source holds in place of the module that the spec pins, if that serves all the same.
    pub passed_over: Option<String>,
    /// The file in the folder that it was made from, if that is gone.
    pub orphaned_by: Option<String>,
}

impl Admission {
    /// Whether nothing is known yet.
    pub fn is_pending(&self) -> bool {
        self.version.is_none() && matches!(&self.loaded, Err(problem) if problem.reason == Reason::Loading)
    }

    /// Whether the source could not be asked.
    pub fn is_unavailable(&self) -> bool {
        matches!(&self.loaded, Err(problem) if problem.reason == Reason::SourceUnavailable)
    }
}

/// The version that served a Provider last.
#[derive(Clone, Debug)]
pub enum Last<T> {
    /// There was none.
    None,
    /// There was one, and whether the host still has it is not known yet.
    Unknown,
    /// This one.
    Known(T),
}

impl Last<Version> {
    /// What this host served, or else what the status says that one before it did.
    pub fn of(provider: &Provider, served: Option<&Version>, snapshot: &Snapshot) -> Self {
        match (served, &provider.status.active) {
            (Some(served), _) => Self::Known(served.clone()),
            (None, None) => Self::None,
            (None, Some(active)) => match snapshot.recalled.get(&active.digest) {
                None => Self::Unknown,
                Some(None) => Self::None,
                Some(Some(recalled)) => Self::Known(Version::new(recalled, &active.settings)),
            },
        }
    }
}

fn problem<T>(reason: Reason, message: impl Into<String>) -> Result<T, Problem> {
    Err(Problem { reason, message: message.into() })
}

/// Decides about one Provider by itself, whose spec says that its module is from `origin`.
pub fn admit(
    provider: &Provider,
    origin: Result<Origin, String>,
    snapshot: &Snapshot,
    last: Last<Version>,
    previous: Option<&ModuleInfo>,
) -> Admission {
    let spec = &provider.spec;
    let from = provider.metadata.annotations.get(bartizan_contract::names::FILE_ANNOTATION);
    let orphaned_by = from.filter(|file| !snapshot.files.contains(*file)).cloned();
    let known = match &last {
        Last::Known(last) => Some(last.clone()),
        Last::Unknown | Last::None => None,
    };
    let mut errors: Vec<String> = spec.check().iter().map(ToString::to_string).collect();
    errors.extend(provider.metadata.not_understood.clone());
    let origin = match origin {
        _ if !errors.is_empty() => Err(Problem { reason: Reason::Invalid, message: errors.join("; ") }),
        Ok(origin) => Ok(origin),
        Err(message) => Err(Problem { reason: Reason::Invalid, message }),
    };
    let origin = match origin {
        Ok(origin) => origin,
        Err(problem) => {
            let message = "the spec does not say which module".to_owned();
            let loaded = Err(Problem { reason: Reason::NotAccepted, message });
            // Whatever is wrong with it, its parents stay its own: another Provider would take them over for good.
            let claim = claim(provider, known.as_ref().map(|known| &known.module), None);
            let (before, accepted) = (Last::None, Err(problem));
            let passed_over = None;
            return Admission { version: None, before, known: None, loaded, accepted, claim, passed_over, orphaned_by };
        }
    };
    let newest =
        newest(provider, &origin, snapshot, &last, previous).map(|loaded| Version::new(loaded, &spec.settings));
    // Who serves until another may take over. Whether the spec pins that other one by its digest makes no difference to it.
    let last = match last {
        Last::Known(last) => {
            let accepted = accept(provider, &last);
            Last::Known((last, accepted))
        }
        Last::Unknown => Last::Unknown,
        Last::None => Last::None,
    };
    let before = match &last {
        Last::Known((last, Ok(_))) => Last::Known(last.clone()),
        Last::Unknown => Last::Unknown,
        Last::Known(_) | Last::None => Last::None,
    };
    let choice = choose(
        newest.map(|version| {
            let accepted = accept(provider, &version);
            (version, accepted)
        }),
        last,
        |last| format!("version {} keeps serving", last.number()),
    );
    // What a module asks for is not known without it.
    let spec_alone =
        || spec.limits.effective().map_err(|error| Problem { reason: Reason::Invalid, message: error.to_string() });
    let accepted = choice.accepted.unwrap_or_else(spec_alone);
    let held = snapshot.library.get(&origin).and_then(|state| state.as_ref().ok());
    let next = choice.module.as_ref().map(|version| &version.module).or(held);
    let claim = claim(provider, known.as_ref().map(|known| &known.module), next);
    let passed_over = choice.loaded.is_ok().then(|| held_instead(provider, &origin, snapshot)).flatten();
    Admission {
        version: choice.module,
        before,
        known,
        loaded: choice.loaded,
        accepted,
        claim,
        passed_over,
        orphaned_by,
    }
}

/// The module that the source holds now.
fn newest<'a>(
    provider: &Provider,
    origin: &Origin,
    snapshot: &'a Snapshot,
    last: &'a Last<Version>,
    previous: Option<&'a ModuleInfo>,
) -> Result<&'a ModuleInfo, Problem> {
    let held = held(provider, origin, snapshot);
    // What is pinned serves: that its source has another by now is what the pin is for.
    if let (Err(Problem { reason: Reason::DigestMismatch, .. }), Last::Known(last)) = (&held, last)
        && !is_pinned_to_another(provider, &last.module)
    {
        return Ok(&last.module);
    }
    let serves = match (last, &provider.status.active) {
        (Last::Known(last), _) => Some(last.digest()),
        (_, active) => active.as_ref().map(|active| active.digest.as_str()),
    };
    match &provider.spec.module.digest {
        // A version that served before is at hand, whatever the source holds by now: that is the way back.
        Some(wanted) if held.is_err() && serves != Some(wanted) && may_be_recalled(provider, origin, wanted) => {
            match snapshot.recalled.get(wanted) {
                _ if previous.is_some_and(|previous| *previous.digest == **wanted) => previous.map_or(held, Ok),
                Some(Some(recalled)) => Ok(recalled),
                Some(None) => held,
                None => problem(Reason::Loading, format!("module {wanted} is looked for")),
            }
        }
        _ => held,
    }
}

/// The digest of a module that the spec wants, and that its source does not hold: it may be at hand since it served before.
pub fn wants_back(provider: &Provider, origin: &Origin, snapshot: &Snapshot) -> Option<String> {
    let wanted = provider.spec.module.digest.clone()?;
    (may_be_recalled(provider, origin, &wanted) && held(provider, origin, snapshot).is_err()).then_some(wanted)
}

/// Whether a module may come from elsewhere than its source. One that must be signed only if it is what served before.
fn may_be_recalled(provider: &Provider, origin: &Origin, wanted: &str) -> bool {
    let must_be_signed = matches!(origin, Origin::Oci(oci) if oci.verify.is_some());
    let served = [&provider.status.active, &provider.status.previous];
    !must_be_signed || served.into_iter().flatten().any(|module| module.digest == wanted)
}

/// The module that the source holds now, if it is the one that the spec wants.
fn held<'a>(provider: &Provider, origin: &Origin, snapshot: &'a Snapshot) -> Result<&'a ModuleInfo, Problem> {
    let loaded = match (snapshot.library.get(origin), origin) {
        (None, Origin::File(file)) => {
            let message =
                format!("there is no {file} in the host's folder of providers; it is loaded once it is there");
            return problem(Reason::SourceMissing, message);
        }
        (None, Origin::ConfigMap { .. } | Origin::Oci(_)) | (Some(Err(Trouble::Loading)), _) => {
            return problem(Reason::Loading, format!("module {origin} is being loaded"));
        }
        (Some(Err(Trouble::Missing(message))), _) => return problem(Reason::SourceMissing, message),
        (Some(Err(Trouble::Unavailable(message))), _) => {
            return problem(Reason::SourceUnavailable, format!("module {origin}: {message}"));
        }
        (Some(Err(Trouble::Invalid(reason))), _) => {
            return problem(Reason::ModuleInvalid, format!("module {origin}: {reason}"));
        }
        (Some(Err(Trouble::Unverified(message))), _) => return problem(Reason::NotVerified, message),
        (Some(Err(Trouble::OtherDigest(digest))), _) => return mismatch(provider, origin, digest),
        (Some(Ok(loaded)), _) => loaded,
    };
    if is_pinned_to_another(provider, loaded) {
        return mismatch(provider, origin, &loaded.digest);
    }
    Ok(loaded)
}

/// That the source holds another module than the one that is pinned.
fn held_instead(provider: &Provider, origin: &Origin, snapshot: &Snapshot) -> Option<String> {
    match held(provider, origin, snapshot) {
        Err(Problem { reason: Reason::DigestMismatch, message }) => Some(message),
        _ => None,
    }
}

fn mismatch<T>(provider: &Provider, origin: &Origin, digest: &str) -> Result<T, Problem> {
    let wanted = provider.spec.module.digest.as_deref().unwrap_or_default();
    problem(Reason::DigestMismatch, format!("module {origin} is {digest}, and spec.module.digest wants {wanted}"))
}

fn is_pinned_to_another(provider: &Provider, loaded: &ModuleInfo) -> bool {
    provider.spec.module.digest.as_ref().is_some_and(|wanted| **wanted != *loaded.digest)
}

/// What serves, and why nothing newer does. `accepted` is `None` if there is no module to decide by.
struct Choice<T> {
    module: Option<T>,
    loaded: Result<(), Problem>,
    accepted: Option<Result<EffectiveLimits, Problem>>,
}

/// The newest module serves if it can; if not, the one that served last, as long as the spec allows it.
fn choose<T: Clone>(
    newest: Result<(T, Result<EffectiveLimits, Problem>), Problem>,
    last: Last<(T, Result<EffectiveLimits, Problem>)>,
    keeps_serving: impl Fn(&T) -> String,
) -> Choice<T> {
    let problem = match &newest {
        Ok((module, Ok(limits))) => {
            return Choice { module: Some(module.clone()), loaded: Ok(()), accepted: Some(Ok(*limits)) };
        }
        Ok((_, Err(problem))) | Err(problem) => problem.clone(),
    };
    match last {
        Last::Known((module, Ok(limits))) => {
            let message = format!("{}; {}", problem.message, keeps_serving(&module));
            let loaded = Err(Problem { reason: problem.reason, message });
            Choice { module: Some(module), loaded, accepted: Some(Ok(limits)) }
        }
        Last::Unknown => {
            let message = "the module that served before is looked for".to_owned();
            Choice { module: None, loaded: Err(Problem { reason: Reason::Loading, message }), accepted: None }
        }
        Last::None | Last::Known(_) => match newest {
            Ok((_, accepted)) => Choice { module: None, loaded: Ok(()), accepted: Some(accepted) },
            Err(problem) => Choice { module: None, loaded: Err(problem), accepted: None },
        },
    }
}

/// What a Provider claims. Its parents stay its own until another module takes over: first come the kinds that the module owned
/// that served last, as far as that is known, then those of the module that is to serve, and without any module those that the
/// spec names. `None` if that cannot be known.
fn claim(provider: &Provider, last: Option<&ModuleInfo>, next: Option<&ModuleInfo>) -> Option<Claim> {
    let of = |owned: &[GroupKind]| Claim::new(provider, owned).ok();
    let recorded = || provider.status.active.as_ref().map(|active| active.owns.clone()).filter(|owns| !owns.is_empty());
    let named = || provider.spec.parents.iter().map(ParentClaim::group_kind).collect::<Vec<_>>();
    let served = last.map(ModuleInfo::owned).or_else(recorded).and_then(|owned| of(&owned));
    served.or_else(|| match next {
        Some(next) => of(&next.owned()),
        None if last.is_none() && !provider.spec.parents.is_empty() => of(&named()),
        None => None,
    })
}

fn accept(provider: &Provider, version: &Version) -> Result<EffectiveLimits, Problem> {
    let (spec, manifest) = (&provider.spec, &version.module.manifest);
    if let Err(error) = Claim::new(provider, &version.module.owned()) {
        return problem(Reason::Invalid, error.to_string());
    }
    let missing = grant_check::not_granted(manifest, &spec.grants);
    if let Some(message) = grant_check::message(manifest, &missing) {
        problem(Reason::NotGranted, message)
    } else if spec.grants.related.iter().any(|grant| grant.access == RelatedAccess::Plaintext) {
        problem(
            Reason::NotSupported,
            "spec.grants.related: access: Plaintext is not supported by this host yet; use Opaque",
        )
    } else if let Err(message) = &version.given {
        problem(Reason::Invalid, message.to_string())
    } else {
        spec.limits.effective().map_err(|error| Problem { reason: Reason::Invalid, message: error.to_string() })
    }
}

/// The Providers that serve nothing since older ones claim all that they claim, each with the sentence that says so.
pub fn shadowed(claims: &[Claim]) -> BTreeMap<String, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    type Newest = Result<(&'static str, Result<EffectiveLimits, Problem>), Problem>;

    fn limits() -> Result<EffectiveLimits, Problem> {
        Ok(bartizan_contract::provider::ProviderLimits::default().effective().unwrap())
    }

    fn refused(reason: Reason) -> Problem {
        Problem { reason, message: reason.as_str().to_lowercase() }
    }

    /// What serves, why the newest does not, and why the spec cannot be honoured.
    fn chosen(
        newest: Newest,
        last: Last<(&'static str, Result<EffectiveLimits, Problem>)>,
    ) -> (Option<&'static str>, String, String) {
        let choice = choose(newest, last, |module| format!("{module} keeps serving"));
        let text = |problem: Problem| format!("{}: {}", problem.reason, problem.message);
        (
            choice.module,
            choice.loaded.err().map(text).unwrap_or_default(),
            choice.accepted.and_then(Result::err).map(text).unwrap_or_default(),
        )
    }

    #[test]
    fn the_newest_module_serves_or_the_last_good_one_with_the_reason() {
        let (good, bad) = (|| Ok(("new", limits())), || Err(refused(Reason::ModuleInvalid)));
        let ungranted = || Ok(("new", Err(refused(Reason::NotGranted))));
        let old = || Last::Known(("old", limits()));
        for (newest, last, expected) in [
            (good(), Last::None, (Some("new"), "", "")),
            (good(), old(), (Some("new"), "", "")),
            (good(), Last::Unknown, (Some("new"), "", "")),
            (bad(), Last::None, (None, "ModuleInvalid: moduleinvalid", "")),
            (bad(), old(), (Some("old"), "ModuleInvalid: moduleinvalid; old keeps serving", "")),
            (bad(), Last::Unknown, (None, "Loading: the module that served before is looked for", "")),
            // What the spec no longer allows does not keep serving.
            (bad(), Last::Known(("old", Err(refused(Reason::NotGranted)))), (None, "ModuleInvalid: moduleinvalid", "")),
            (ungranted(), Last::None, (None, "", "NotGranted: notgranted")),
            (ungranted(), old(), (Some("old"), "NotGranted: notgranted; old keeps serving", "")),
        ] {
            let (module, loaded, accepted) = expected;
            assert_eq!(chosen(newest, last), (module, loaded.to_owned(), accepted.to_owned()));
        }
    }
}
