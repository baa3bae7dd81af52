//! What is known of one Provider, and the changes to it that every step shares.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bartizan_contract::ProviderEvent;
use bartizan_contract::provider::{ActiveModule, EffectiveLimits, Provider, ProviderStatus};

use crate::provider::admission::{self, Admission, Last};
use crate::provider::candidate::Candidate;
use crate::provider::claims::Claim;
use crate::provider::context::{Context, RETRY};
use crate::provider::declaration::FolderNote;
use crate::provider::event::{Effect, Readiness, RunId};
use crate::provider::module::ModuleInfo;
use crate::provider::removal::Removal;
use crate::provider::runner::{Reported, Runner, STARTING};
use crate::provider::source::{CheckReference, Origin, Snapshot, Wanted};
use crate::provider::status_events;
use crate::provider::unserved::Unserved;
use crate::provider::version::Version;

/// What is known of one Provider.
#[derive(Clone, Debug)]
pub struct Life {
    pub(super) name: String,
    /// As the API server holds it; `None`: it is gone, and a controller may still be ending.
    pub(super) provider: Option<Provider>,
    /// The version that served last: it goes on if the next one cannot.
    pub(super) active: Option<Version>,
    /// The module that served before that: the way back needs no cache.
    pub(super) previous: Option<ModuleInfo>,
    /// What it claims. It holds while its spec or module is broken.
    pub(super) claim: Option<Claim>,
    pub(super) admission: Option<Admission>,
    /// Why an older Provider has all its parents.
    pub(super) conflict: Option<String>,
    /// What the folder declares of it and does not take effect.
    pub(super) note: Option<FolderNote>,
    pub(super) runner: Option<Runner>,
    /// The run that was started last to serve, until it ended, whether or not it was stopped since.
    pub(super) last_run: Option<RunId>,
    /// Runs that were to take over and were replaced before they began: one of them may still begin first.
    pub(super) replaced: BTreeMap<RunId, Version>,
    /// The run that began to serve last: that one's reports are those of the Provider.
    pub(super) serving_run: Option<RunId>,
    pub(super) candidate: Option<Candidate>,
    /// Whether it is shown what an upgrade would change.
    pub(super) shows_plan: bool,
    pub(super) removal: Option<Removal>,
    /// What its parents were told while nobody serves them.
    pub(super) unserved: Option<Unserved>,
    pub(super) reported: Reported,
    /// A request that was not answered yet: there is one at a time, so that the last is the newest.
    pub(super) request: Option<Request>,
    /// The status that was sent last, and what the API server holds since.
    pub(super) written: Written,
    /// What that says for the first time, to be told once it was written.
    pub(super) news: Vec<ProviderEvent>,
    /// Another one was due meanwhile.
    pub(super) postponed: bool,
    /// Until when nothing is requested without which it cannot start: the last time that failed.
    pub(super) not_before: Option<Instant>,
    /// The version that the status names, as far as controllers know.
    pub(super) recorded: Option<ActiveModule>,
    /// Until when the status stays as somebody else wrote it, with another version.
    pub(super) overwritten: Option<Instant>,
}

/// What was requested of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// To put the finalizer on, before it serves.
    Finalizer,
    /// To record the kinds that it may write, before it does.
    Kinds,
    /// To write the status.
    Status,
    /// To take the approval off.
    Approval,
}

/// The last write of the status. What the API server makes of it may differ: a condition that somebody else applied, too, or alone, stays.
/// That is no reason to write it again, or it would be written without end.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) sent: Option<Box<ProviderStatus>>,
    /// `None`: the write was not answered, or failed.
    pub(super) stored: Option<Box<ProviderStatus>>,
}

impl Written {
    /// Whether this is what was sent, and what came of it is still there.
    pub(super) fn is_settled(&self, status: &ProviderStatus, live: &ProviderStatus) -> bool {
        self.sent.as_deref() == Some(status) && self.stored.as_deref() == Some(live)
    }
}

/// Which version serves now.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    /// This one, with these limits.
    Serve(Box<Version>, EffectiveLimits),
    /// It is not known yet; what runs runs on.
    Later,
    /// None.
    Nothing,
}

/// What follows from an event for the rest of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Nothing.
    Nothing,
    /// The status of this Provider may have changed.
    Report,
    /// This Provider is settled again.
    Settle,
    /// Claims may have moved: all Providers are settled again.
    SettleAll,
}

impl Life {
    /// One of which nothing is known yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            provider: None,
            active: None,
            previous: None,
            claim: None,
            admission: None,
            conflict: None,
            note: None,
            runner: None,
            last_run: None,
            replaced: BTreeMap::new(),
            serving_run: None,
            candidate: None,
            shows_plan: false,
            removal: None,
            unserved: None,
            reported: Reported::default(),
            request: None,
            written: Written::default(),
            news: Vec::new(),
            postponed: false,
            not_before: None,
            recorded: None,
            overwritten: None,
        }
    }

    /// The Provider as the API server holds it now; `None`: it is gone.
    pub fn observe(&mut self, provider: Option<Provider>) {
        let uid = |provider: &Option<Provider>| provider.as_ref().and_then(|provider| provider.metadata.uid.clone());
        if uid(&self.provider) != uid(&provider) {
            // Another one with the same name has a life of its own.
            (self.active, self.previous, self.claim) = (None, None, None);
            (self.request, self.postponed, self.removal) = (None, false, None);
            (self.written, self.unserved, self.not_before) = (Written::default(), None, None);
        }
        if provider.is_none() {
            self.admission = None;
        }
        self.provider = provider;
    }

    /// The Provider as the API server holds it.
    #[must_use]
    pub fn provider(&self) -> Option<&Provider> {
        self.provider.as_ref()
    }

    /// What it claims, as long as it exists.
    #[must_use]
    pub fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    /// Digest of the module that served last.
    #[must_use]
    pub fn active_digest(&self) -> Option<&str> {
        self.active.as_ref().map(Version::digest)
    }

    /// Whether nothing of it is left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let is_clean = self.runner.is_none() && self.candidate.is_none() && !self.shows_plan;
        self.provider.is_none() && self.last_run.is_none() && is_clean && self.reported.readiness.is_none()
    }

    /// Whether it is being removed.
    #[must_use]
    pub fn is_being_removed(&self) -> bool {
        self.removal.is_some()
    }

    /// Digests of the modules that it may still need.
    pub fn modules(&self) -> impl Iterator<Item = Arc<str>> {
        let versions = [
            self.active.as_ref(),
            self.runner.as_ref().map(|runner| &runner.version),
            self.candidate.as_ref().map(|candidate| &candidate.version),
        ];
        let modules = versions.into_iter().flatten().map(|version| &version.module);
        modules.chain(&self.previous).map(|module| module.digest.clone())
    }

    /// When its controller has had time enough to start, if it was not reported on since.
    #[must_use]
    pub fn start_due(&self) -> Option<Instant> {
        self.runner.as_ref().filter(|runner| !runner.is_past_start).map(|runner| runner.since + STARTING)
    }

    /// Takes note that its controller has had time enough to start; whether that is news.
    pub fn pass_start(&mut self, now: Instant) -> bool {
        let runner = self.runner.as_mut().filter(|runner| !runner.is_past_start && !runner.is_starting(now));
        runner.map(|runner| runner.is_past_start = true).is_some()
    }

    /// Decides whether it can be served by what the sources of modules hold, and records what it claims; adds what it needs of them.
    pub fn admit(&mut self, snapshot: &Snapshot, check_reference: CheckReference, wanted: &mut Wanted) {
        let Some(provider) = &self.provider else { return };
        let last = Last::of(provider, self.active.as_ref(), snapshot);
        let origin = Origin::of(&provider.spec.module, check_reference);
        match &origin {
            Ok(Origin::ConfigMap { name, key }) => {
                wanted.config_maps.entry(name.clone()).or_default().insert(key.clone());
            }
            Ok(Origin::Oci(origin)) => {
                wanted.oci.insert(origin.clone());
            }
            Ok(Origin::File(_)) | Err(_) => {}
        }
        let wants_back = origin.as_ref().ok().and_then(|origin| admission::wants_back(provider, origin, snapshot));
        wanted.digests.extend(wants_back);
        let admission = admission::admit(provider, origin, snapshot, last, self.previous.as_ref());
        // What served before this process began goes on until the next version may take over.
        if let (Some(active), None) = (&provider.status.active, &self.active)
            && (admission.loaded.is_err()
                || admission.accepted.is_err()
                || !admission.version.as_ref().is_some_and(|version| version.is(active)))
        {
            wanted.digests.insert(active.digest.clone());
        }
        if let Some(claim) = admission.claim.clone() {
            self.claim = Some(claim);
        }
        self.admission = Some(admission);
    }

    /// Takes note of why an older Provider has all its parents, if one does.
    pub fn shadow(&mut self, conflict: Option<String>) {
        self.conflict = conflict;
    }

    /// Takes note of what the folder declares of it and does not take effect.
    pub fn note(&mut self, note: Option<FolderNote>) {
        self.note = note;
    }

    /// Stops its controller. What that reported is no longer about anything.
    pub(super) fn stop(&mut self, context: &mut Context<'_>) {
        if let Some(runner) = self.runner.take() {
            context.emit(Effect::Stop { provider: self.name.clone(), run: runner.run });
        }
        self.serving_run = None;
        self.replaced.clear();
        self.report_readiness(None, context);
        (self.reported, self.not_before) = (Reported::default(), None);
    }

    /// Takes note of how ready it is.
    pub(super) fn report_readiness(&mut self, readiness: Option<Readiness>, context: &mut Context<'_>) {
        if self.reported.readiness != readiness {
            self.reported.readiness.clone_from(&readiness);
            context.emit(Effect::Report { provider: self.name.clone(), readiness });
        }
    }

    /// Has controllers know which version the status names.
    pub(super) fn tell_recorded(&mut self, context: &mut Context<'_>) {
        let active = self.provider.as_ref().and_then(|provider| provider.status.active.clone());
        if self.recorded != active {
            let is_ours = |recorded: Option<&ActiveModule>| {
                self.active.as_ref().zip(recorded).is_some_and(|(active, recorded)| active.is(recorded))
            };
            // Another host, or somebody by hand. Two hosts that answer each other at once would write without end.
            let is_overwritten = is_ours(self.recorded.as_ref()) && active.is_some() && !is_ours(active.as_ref());
            self.overwritten = is_overwritten.then(|| context.now.instant + RETRY);
            self.recorded.clone_from(&active);
            context.emit(Effect::Recorded { provider: self.name.clone(), active: active.map(Box::new) });
        }
    }

    /// Whether its controller waits to take over from the one before.
    pub(super) fn waits_to_take_over(&self) -> bool {
        self.runner.as_ref().is_some_and(|runner| runner.takes_over && !runner.has_begun)
    }

    /// Requests something of the API server, once the request before was answered.
    pub(super) fn request(&mut self, request: Request, effect: Effect, context: &mut Context<'_>) {
        if self.request.is_some() {
            self.postponed = true;
        } else {
            self.request = Some(request);
            if let (Effect::WriteStatus(_, status), Some(known)) = (&effect, &self.provider) {
                self.news = status_events::events(&known.spec.upgrade, &known.status, status);
                self.written = Written { sent: Some(status.clone()), stored: None };
            }
            context.emit(effect);
        }
    }
}
