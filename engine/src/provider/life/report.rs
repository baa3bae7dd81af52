//! What the status of a Provider says. Computing it changes nothing.

use bartizan_contract::Reason;
use bartizan_contract::provider::{ActiveModule, CandidateModule, Provider, ProviderStatus};

use super::state::Life;
use crate::provider::admission::{Admission, Last};
use crate::provider::event::{Now, Readiness, Target};
use crate::provider::removal;
use crate::provider::status::{self, Facts, Serving};
use crate::provider::upgrade_hold::{Held, counted_of};
use crate::provider::version::Version;

impl Life {
    /// The status; `None` if nothing is known yet: it stays as it is.
    #[must_use]
    pub fn status(&self, now: &Now) -> Option<ProviderStatus> {
        let (provider, admission) = (self.provider.as_ref()?, self.admission.as_ref()?);
        (!admission.is_pending())
            .then(|| status::status(provider, admission, self.facts(provider, admission, now), &now.time))
    }

    /// The status, if it differs from what the API server holds.
    pub(super) fn unwritten_status(&self, now: &Now) -> Option<(Target, ProviderStatus)> {
        let provider = self.provider.as_ref()?;
        let is_there =
            |status: &ProviderStatus| *status == provider.status || self.written.is_settled(status, &provider.status);
        let status = self.status(now).filter(|status| !is_there(status))?;
        Some((Target::of(provider), status))
    }

    /// The status with the kinds that a version may write, before it does.
    pub(super) fn status_before_start(
        &self,
        provider: &Provider,
        admission: &Admission,
        version: &Version,
        now: &Now,
    ) -> ProviderStatus {
        let facts = self.facts(provider, admission, now);
        let facts = Facts { conflict: None, serving: Serving::Starting, started: Some(version), ..facts };
        status::status(provider, admission, facts, &now.time)
    }

    pub(super) fn facts(&self, provider: &Provider, admission: &Admission, now: &Now) -> Facts<'_> {
        let active = self.active.as_ref().filter(|_| self.runner.is_some());
        let next = admission.version.as_ref().map(Version::id);
        let candidate = self.candidate.as_ref().filter(|candidate| Some(candidate.version.id()) == next);
        let candidate = candidate.and_then(|candidate| candidate.waits(provider));
        Facts {
            conflict: self.conflict.as_ref(),
            note: self.note.as_ref(),
            serving: self.serving(provider, admission, candidate.as_ref(), now),
            active,
            started: self.runner.as_ref().map(|runner| &runner.version),
            // Of one that serves as it should, nothing is held.
            reads_host: self.reads_host().filter(|_| self.runner.is_some()),
            not_ready: self.reported.held.as_deref().filter(|_| active.map(Version::id) != next),
            judged: self.judged(provider, admission),
            candidate,
            parents: self.parents(provider),
            status_blocked: match &self.runner {
                Some(_) => self.reported.status_blocked.as_ref(),
                None => self.untold(),
            },
            status_requires: self.reported.status_requires.as_deref().filter(|_| self.runner.is_some()),
            crds_lack: self.reported.crds_lack.as_deref().filter(|_| self.runner.is_some()),
            vacated: &self.reported.vacated,
            left_alone: self.reported.left_alone.as_deref().filter(|_| self.runner.is_some()),
            removal: self
                .removal
                .as_ref()
                .filter(|_| removal::awaits_removal(provider))
                .and_then(|removal| removal.reason(provider, self.reported.parents)),
        }
    }

    fn reads_host(&self) -> Option<&str> {
        self.reported.reads_host.as_ref().map(|(_, how)| how.as_str())
    }

    /// The version of which it is not known yet whether it waits: it was not compared with the one before, or that is still looked for.
    /// Somebody who looks at it, or has approved it, need not be told meanwhile that none waits.
    fn judged(&self, provider: &Provider, admission: &Admission) -> Option<String> {
        let next = admission.version.as_ref()?.id();
        let is_unknown = match self.candidate.as_ref().filter(|candidate| candidate.version.id() == next) {
            Some(candidate) => candidate.verdict(provider).is_none(),
            None => is_looked_for(provider, admission),
        };
        is_unknown.then(|| next.approval())
    }

    /// Of one that does not serve, the number of parents is not known; one that never did has none.
    fn parents(&self, provider: &Provider) -> Option<usize> {
        let is_none = self.conflict.is_some() || removal::never_served(provider);
        self.reported.parents.or_else(|| is_none.then_some(0))
    }

    fn serving(
        &self,
        provider: &Provider,
        admission: &Admission,
        waits: Option<&(CandidateModule, Held)>,
        now: &Now,
    ) -> Serving {
        let Some(runner) = &self.runner else {
            if let Some((_, Held { message, .. })) = waits {
                return Serving::No(Reason::UpgradeHeld, format!("nothing serves until it is approved: {message}"));
            }
            return match (removal::has_ended(provider), provider.spec.suspend, &self.conflict) {
                (true, ..) => Serving::No(Reason::Removing, "it was deleted".to_owned()),
                (false, true, _) => {
                    Serving::No(Reason::Suspended, "spec.suspend: nothing is called or written".to_owned())
                }
                (false, false, Some(message)) => Serving::No(Reason::Conflict, message.clone()),
                // The version that served before is looked for, and serves on if it is found.
                (false, false, None) if is_looked_for(provider, admission) => Serving::Starting,
                (false, false, None) if self.not_before.is_some() => match &self.reported.readiness {
                    Some(Readiness::NotYet(reason)) => Serving::No(Reason::NotReady, reason.clone()),
                    _ => Serving::Starting,
                },
                (false, false, None) => {
                    Serving::No(Reason::NotStarted, "it is not accepted, or its module is not loaded".to_owned())
                }
            };
        };
        if let Some(message) = &self.reported.breaker {
            return Serving::No(Reason::BreakerOpen, message.clone());
        }
        match &self.reported.readiness {
            Some(Readiness::Ready) => match &self.reported.denied {
                Some((parents, example)) => {
                    let of = counted_of(u32::try_from(*parents).unwrap_or(u32::MAX), "parent", "parents");
                    let message = format!(
                        "the account of the provider lacks a right that {of} need{}; {example}",
                        if *parents == 1 { "s" } else { "" }
                    );
                    Serving::No(Reason::Forbidden, message)
                }
                None => Serving::Yes,
            },
            Some(Readiness::Forbidden(reason)) => Serving::No(Reason::Forbidden, reason.clone()),
            _ if self.reads_host().is_some() && self.serving_run.is_none() => {
                Serving::No(Reason::NotStarted, "it is not accepted".to_owned())
            }
            _ if runner.is_starting(now.instant) => Serving::Starting,
            Some(Readiness::NotYet(reason)) => Serving::No(Reason::NotReady, reason.clone()),
            None => Serving::No(Reason::NotReady, "it is starting".to_owned()),
        }
    }
}

/// Whether the version that served before this host started is looked for. The one that is to serve now is at hand.
fn is_looked_for(provider: &Provider, admission: &Admission) -> bool {
    let is_next = |active: &ActiveModule| admission.version.as_ref().is_some_and(|next| next.is(active));
    let is_another = provider.status.active.as_ref().is_some_and(|active| !is_next(active));
    matches!(admission.before, Last::Unknown) && is_another
}
