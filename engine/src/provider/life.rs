//! The life of one Provider as a state machine: which version serves, which waits, how it ends. Each step leaves effects; computing
//! the status changes nothing.

mod report;
mod serve;
mod state;
mod unserved;
mod upgrade;

use std::cmp::Ordering;
use std::time::Duration;

use bartizan_contract::Reason;
use bartizan_contract::names::APPROVE_ANNOTATION;
use bartizan_contract::provider::Provider;

use super::admission::Admission;
use super::context::{Context, RETRY};
use super::event::{
    Answer, ControllerEvent, Effect, Hindrance, Readiness, RemovalAttempt, RemovalResult, Remove, RunId, Target,
};
use super::removal::{self, Removal};
use super::status_events;

use crate::object::compare_versions;

pub use state::{Follow, Life};
use state::{Request, Turn, Written};

impl Life {
    /// Starts what should run, stops what should not, and writes the status.
    pub fn settle(&mut self, context: &mut Context<'_>) {
        self.tell_recorded(context);
        let (Some(provider), Some(admission)) = (self.provider.clone(), self.admission.clone()) else {
            self.removal = None;
            if self.runner.is_some() || self.reported.readiness.is_some() {
                self.stop(context);
            }
            self.drop_candidate(context);
            return;
        };
        self.settle_removal(&provider, context);
        self.settle_version(&provider, &admission, context);
        self.report(context);
    }

    fn settle_version(&mut self, provider: &Provider, admission: &Admission, context: &mut Context<'_>) {
        let rests = provider.spec.suspend || self.conflict.is_some() || removal::has_ended(provider);
        if rests || self.is_ending() {
            // Nothing is called, not even for a preview.
            self.drop_candidate(context);
        }
        if self.is_ending() {
            return;
        }
        let turn = match &admission.accepted {
            Ok(limits) if !rests => self.turn(provider, admission, *limits, context),
            // What it serves with is still looked for, and nothing was stopped for that.
            _ if admission.is_pending() && !rests => Turn::Later,
            _ => Turn::Nothing,
        };
        match turn {
            Turn::Serve(version, limits) => self.serve(provider, admission, &version, limits, context),
            // Nothing may serve before it is approved.
            Turn::Later => self.tell_unserved(provider, admission, &[Reason::UpgradeHeld], context),
            Turn::Nothing => {
                self.stop(context);
                let lasting = [Reason::Suspended, Reason::NotStarted, Reason::UpgradeHeld];
                self.tell_unserved(provider, admission, &lasting, context);
            }
        }
        self.preview_candidate(provider, admission, context);
        self.remove_approval(provider, context);
    }

    /// Begins what is to be done for a Provider that was deleted.
    fn settle_removal(&mut self, provider: &Provider, context: &mut Context<'_>) {
        if !removal::awaits_removal(provider) {
            self.removal = None;
            return;
        }
        if self.is_ending() {
            return;
        }
        let now = context.now.instant;
        // The controller that serves knows them, and reports when that changes.
        let parents = self.reported.parents.filter(|parents| removal::blocks(provider) && *parents > 0);
        if let Some(parents) = parents {
            self.removal = Some(Removal::blocked_by(parents, now));
            return;
        }
        match &self.removal {
            Some(Removal::Waits { until, .. }) if *until > now => context.retry_at(*until),
            _ => {
                let owned = self.claim.as_ref().map(|claim| claim.kinds().collect());
                // One that never served has no parents.
                let owned = owned.or_else(|| removal::never_served(provider).then(Vec::new));
                let said = self.removal.take().and_then(|removal| removal.said());
                self.removal = Some(Removal::UnderWay(said));
                let (provider, claims) = (provider.clone(), context.claims.clone());
                let remove = Remove { provider, owned, claims, run: self.last_run };
                context.emit(Effect::Remove(Box::new(remove)));
            }
        }
    }

    /// A controller reports.
    pub fn controller(&mut self, run: RunId, event: ControllerEvent, context: &mut Context<'_>) -> Follow {
        let previews = self.candidate.as_ref().and_then(|candidate| candidate.own_run()) == Some(run);
        let is_current = self.runner.as_ref().is_some_and(|runner| runner.run == run);
        let serves = self.serving_run == Some(run);
        match event {
            ControllerEvent::Ended => return self.ended(run, previews, context),
            ControllerEvent::Began if is_current => return self.began(run),
            ControllerEvent::Began if self.replaced.contains_key(&run) => return self.replaced_began(run),
            ControllerEvent::Began if previews => self.reported.nothing_holds(),
            ControllerEvent::CrdsCompared(crds) if previews => {
                if let (Some(candidate), Some(provider)) = (&mut self.candidate, &self.provider) {
                    candidate.compared_with_cluster(crds, &provider.status);
                }
            }
            ControllerEvent::Previewed { id, preview } => return self.previewed(run, &id, preview, context),
            ControllerEvent::Waiting { reason, hindrance } if previews || is_current || serves => {
                match &self.reported.reads_host {
                    _ if hindrance == Hindrance::CanReadHost => self.reported.reads_host = Some((run, reason.clone())),
                    // What another run found out is not refuted by this one.
                    Some((found_by, _)) if *found_by == run => self.reported.reads_host = None,
                    _ => {}
                }
                if previews || (is_current && self.waits_to_take_over()) {
                    self.reported.held = Some(reason);
                } else {
                    let readiness = match hindrance {
                        Hindrance::Forbidden => Readiness::Forbidden(reason),
                        Hindrance::Wait | Hindrance::CanReadHost => Readiness::NotYet(reason),
                    };
                    self.report_readiness(Some(readiness), context);
                }
            }
            ControllerEvent::Serving if serves => self.report_readiness(Some(Readiness::Ready), context),
            ControllerEvent::WatchBroken { kind, reason, is_denied } if serves => {
                let reason = format!("watch of {kind} broke: {reason}");
                let readiness = if is_denied { Readiness::Forbidden(reason) } else { Readiness::NotYet(reason) };
                self.report_readiness(Some(readiness), context);
            }
            ControllerEvent::BreakerOpen { message } if serves => self.reported.breaker = Some(message),
            ControllerEvent::BreakerClosed if serves => self.reported.breaker = None,
            ControllerEvent::StatusBlocked { parents, example } if serves => {
                self.reported.status_blocked = Some((parents, example));
            }
            ControllerEvent::Denied { parents, example } if serves => {
                self.reported.denied = (parents > 0).then_some((parents, example));
            }
            ControllerEvent::StatusRequires { fields } if is_current || serves => {
                self.reported.status_requires = fields
            }
            ControllerEvent::CrdsLack { fields } if is_current || serves => self.reported.crds_lack = fields,
            ControllerEvent::FormerKinds { vacated, left_alone } if is_current || serves => {
                (self.reported.vacated, self.reported.left_alone) = (vacated, left_alone);
            }
            ControllerEvent::Parents(parents) if serves => {
                self.reported.parents = Some(parents);
                // Numbers change all the time: the fleet reports them together.
                return Follow::Nothing;
            }
            // Of a run that was stopped or replaced meanwhile.
            _ => return Follow::Nothing,
        }
        Follow::Report
    }

    fn ended(&mut self, run: RunId, previews: bool, context: &mut Context<'_>) -> Follow {
        if self.last_run == Some(run) {
            self.last_run = None;
        }
        self.replaced.remove(&run);
        if previews && let Some(candidate) = &mut self.candidate {
            // It ended without a result.
            candidate.previewed_by = None;
            context.retry();
        }
        Follow::Nothing
    }

    /// A request about this Provider was answered.
    pub fn answered(&mut self, target: &Target, answer: Answer, context: &mut Context<'_>) -> Follow {
        // The watch may have reported before that it is gone.
        if let Answer::Removal(RemovalAttempt { result: RemovalResult::Removed, .. }) = &answer {
            let removed = status_events::event(Reason::Removed, "it was let go of: the host's finalizer is off");
            context.emit(Effect::Tell(target.clone(), vec![removed]));
        }
        let Some(provider) = self.provider.as_mut().filter(|provider| provider.metadata.uid == target.uid) else {
            return Follow::Nothing;
        };
        let request = match &answer {
            Answer::Removal(_) | Answer::Unserved(_) => None,
            _ => self.request.take(),
        };
        let failure = match answer {
            Answer::FinalizerAdded(Ok(written)) => {
                let is_kept = removal::has_finalizer(&written);
                // A watch may have delivered a later state already.
                if advance(provider, written.metadata.resource_version) {
                    provider.metadata.finalizers = written.metadata.finalizers;
                }
                let lost = || format!("the finalizer of Provider {} was taken off as it was put on", self.name);
                (!is_kept).then(lost)
            }
            Answer::StatusWritten(Ok(written)) => {
                self.written.stored = Some(Box::new(written.status.clone()));
                if advance(provider, written.metadata.resource_version) {
                    provider.status = written.status;
                }
                let news = std::mem::take(&mut self.news);
                if !news.is_empty() {
                    context.emit(Effect::Tell(target.clone(), news));
                }
                self.lost_kinds().filter(|_| request == Some(Request::Kinds))
            }
            Answer::ApprovalRemoved(Ok(version)) => {
                provider.metadata.annotations.remove(APPROVE_ANNOTATION);
                advance(provider, version);
                let active = provider.status.active.as_ref().map_or("", |active| &active.version);
                let message = format!("version {active} was approved, and serves");
                context.emit(Effect::Tell(target.clone(), vec![status_events::event(Reason::Approved, &message)]));
                None
            }
            Answer::Removal(attempt) => return self.removal_tried(attempt, context),
            Answer::Unserved(untold) => return self.told_unserved(untold, context),
            Answer::FinalizerAdded(Err(failure))
            | Answer::StatusWritten(Err(failure))
            | Answer::ApprovalRemoved(Err(failure)) => Some(failure),
        };
        let was_postponed = std::mem::take(&mut self.postponed);
        match (request, failure) {
            (Some(Request::Finalizer | Request::Kinds), Some(failure)) => {
                // It cannot start without. What serves goes on.
                match &self.serving_run {
                    Some(_) => self.reported.held = Some(failure),
                    None => self.report_readiness(Some(Readiness::NotYet(failure)), context),
                }
                // The first time it may have lost a race.
                let pause = if self.not_before.is_some() { RETRY } else { Duration::ZERO };
                self.not_before = Some(context.now.instant + pause);
                context.retry();
                // What it was refused for may have been observed already.
                if was_postponed { Follow::Settle } else { Follow::Report }
            }
            (Some(Request::Finalizer | Request::Kinds), None) => {
                self.not_before = None;
                Follow::Settle
            }
            (Some(Request::Approval), Some(_)) => {
                context.retry();
                if was_postponed { Follow::Report } else { Follow::Nothing }
            }
            (_, Some(_)) => {
                context.retry();
                if was_postponed { Follow::Settle } else { Follow::Nothing }
            }
            _ => Follow::Settle,
        }
    }

    /// Why the kinds that it may write are not on record though they were written.
    fn lost_kinds(&self) -> Option<String> {
        let Written { sent: Some(sent), stored: Some(stored) } = &self.written else { return None };
        let lost = sent.kinds.iter().find(|kind| !stored.kinds.contains(kind))?;
        Some(format!(
            "status.kinds of Provider {} does not keep {lost}: its CustomResourceDefinition is of another release than this host, apply that of \
             this one",
            self.name
        ))
    }

    fn removal_tried(&mut self, attempt: RemovalAttempt, context: &mut Context<'_>) -> Follow {
        let RemovalAttempt { stopped, result } = attempt;
        // Stopped for a second look, it may have to serve on: it is started again.
        if stopped || result == RemovalResult::Removed {
            self.stop(context);
        }
        self.removal = Some(Removal::after(result, context.now.instant + RETRY));
        Follow::SettleAll
    }

    /// Whether its removal is under way, or done.
    fn is_ending(&self) -> bool {
        matches!(self.removal, Some(Removal::UnderWay(_) | Removal::Done))
    }

    /// Writes the status if it differs from what the API server holds.
    pub fn report(&mut self, context: &mut Context<'_>) {
        self.tell_recorded(context);
        if let Some(at) = self.overwritten.filter(|at| *at > context.now.instant) {
            context.retry_at(at);
            return;
        }
        let Some((target, status)) = self.unwritten_status(context.now) else { return };
        self.request(Request::Status, Effect::WriteStatus(target, Box::new(status)), context);
    }
}

/// Takes note of the state that a write left, unless a later one was observed already; whether it did.
fn advance(provider: &mut Provider, version: Option<String>) -> bool {
    let known = provider.metadata.resource_version.as_deref().unwrap_or_default();
    let is_older = compare_versions(version.as_deref().unwrap_or_default(), known) == Some(Ordering::Less);
    if !is_older {
        provider.metadata.resource_version = version.or_else(|| provider.metadata.resource_version.take());
    }
    !is_older
}
