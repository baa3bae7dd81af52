//! How a version takes over: it is previewed, and waits if what it would change needs an approval. Until then the version before
//! serves.

use std::sync::Arc;

use bartizan_contract::names::APPROVE_ANNOTATION;
use bartizan_contract::provider::{EffectiveLimits, Provider};

use super::state::{Follow, Life, Request, Turn};
use crate::provider::admission::{Admission, Last};
use crate::provider::candidate::{Candidate, PREVIEW_AGAIN, Previewer};
use crate::provider::context::Context;
use crate::provider::event::{Effect, Purpose, Readiness, RunId, Start, Target};
use crate::provider::runner::{self, Runner};
use crate::provider::upgrade_plan::Preview;
use crate::provider::version::{Version, VersionId};

impl Life {
    /// Decides which version serves: the next one, if it may; until then the one before.
    pub(super) fn turn(
        &mut self,
        provider: &Provider,
        admission: &Admission,
        limits: EffectiveLimits,
        context: &mut Context<'_>,
    ) -> Turn {
        let serve = |version: &Version| Turn::Serve(Box::new(version.clone()), limits);
        let Some(next) = &admission.version else {
            self.drop_candidate(context);
            return match &admission.before {
                _ if admission.is_pending() => Turn::Later,
                // A source that cannot be asked now says nothing against the version before.
                Last::Known(before) if admission.is_unavailable() => serve(before),
                _ => Turn::Nothing,
            };
        };
        let is_same = match (&self.active, &provider.status.active) {
            (Some(served), _) => served.id() == next.id(),
            (None, Some(active)) => next.is(active),
            // Nothing ever served: there is nothing to compare with, and nobody who would serve until then.
            (None, None) => true,
        };
        if is_same {
            self.drop_candidate(context);
            return serve(next);
        }
        let before = match &admission.before {
            Last::Known(before) => Some(before),
            Last::Unknown => return Turn::Later,
            Last::None => None,
        };
        let spec = runner::lasting(&provider.spec);
        let is_known = |candidate: &Candidate| candidate.version.id() == next.id() && candidate.spec == spec;
        if !self.candidate.as_ref().is_some_and(is_known) {
            // What another one would change is no longer to be approved.
            self.drop_candidate(context);
            self.candidate = Some(Candidate::new(next.clone(), spec));
        }
        // The version before may have been found since.
        if let (Some(candidate), Some(known)) = (&mut self.candidate, &admission.known) {
            candidate.compare_with(known);
        }
        let approval = next.id().approval();
        let by_annotation = provider.metadata.annotations.get(APPROVE_ANNOTATION) == Some(&approval);
        let approved = by_annotation || provider.spec.upgrade.approves(&approval);
        let verdict = self.candidate.as_ref().and_then(|candidate| candidate.verdict(provider));
        if approved || matches!(verdict, Some((_, None))) {
            return serve(next);
        }
        match before {
            Some(before) => serve(before),
            None if self.runner.is_some() => Turn::Nothing,
            None => Turn::Later,
        }
    }

    /// Has the version that waits previewed, if nobody does.
    pub(super) fn preview_candidate(&mut self, provider: &Provider, admission: &Admission, context: &mut Context<'_>) {
        let now = context.now.instant;
        let Some(candidate) = &self.candidate else {
            if let Some(runner) = &mut self.runner
                && runner.previews.take().is_some()
            {
                context.emit(Effect::Preview(runner.run, None));
            }
            return;
        };
        let (Some(next), Ok(limits)) = (&admission.version, admission.accepted.clone()) else { return };
        let (previewed_by, found_at) = (candidate.previewed_by, candidate.found.as_ref().map(|(_, at)| *at));
        let spec = candidate.spec.clone();
        match &self.runner {
            // It may take over, and is about to.
            Some(runner) if runner.version.id() == next.id() => return,
            Some(_) => {}
            None => {
                let reason = format!("version {} may not serve yet, and none does", next.number());
                self.report_readiness(Some(Readiness::NotYet(reason)), context);
            }
        }
        if let Some(again) = found_at.map(|at| at + PREVIEW_AGAIN)
            && now < again
        {
            context.retry_at(again);
            return;
        }
        let served = self.active.as_ref().map(Version::id);
        let is_ready = self.reported.readiness == Some(Readiness::Ready);
        // The controller that serves knows all that is to be known, unless what the candidate works with is something else.
        let knows = |runner: &&mut Runner| runner.version.module.has_shape_of(&next.module) && runner.key.spec == spec;
        let runner = self.runner.as_mut().filter(knows);
        match (runner, previewed_by) {
            (_, Some(Previewer::Alone(_))) => return,
            (Some(runner), Some(Previewer::Serving(run))) if runner.run == run && is_ready => return,
            (Some(runner), _) if served.as_ref() == Some(&runner.version.id()) && is_ready => {
                let run = runner.run;
                runner.previews = Some(next.id());
                context.emit(Effect::Preview(run, Some(Box::new(next.clone()))));
                self.set_previewer(Previewer::Serving(run));
            }
            // It has just started, and may soon be of help.
            (Some(runner), _) if runner.is_starting(now) => {}
            _ => self.preview_alone(provider, next, limits, admission.known.is_none(), context),
        }
        // Whoever previews may end without a result.
        context.retry();
    }

    fn set_previewer(&mut self, previewer: Previewer) {
        if let Some(candidate) = &mut self.candidate {
            candidate.previewed_by = Some(previewer);
        }
    }

    /// Previews with watches of its own, and, where the version before is not at hand, compares with the cluster's CRDs.
    fn preview_alone(
        &mut self,
        provider: &Provider,
        next: &Version,
        limits: EffectiveLimits,
        compares_crds: bool,
        context: &mut Context<'_>,
    ) {
        let run = context.new_run();
        context.emit(Effect::Start(Box::new(Start {
            run,
            provider: provider.clone(),
            version: next.clone(),
            limits,
            kinds: provider.status.kinds.clone(),
            claims: context.claims_for(provider, next),
            purpose: Purpose::Preview { compares_crds },
        })));
        self.set_previewer(Previewer::Alone(run));
    }

    /// Its controller takes over.
    pub(super) fn began(&mut self, run: RunId) -> Follow {
        let Some(runner) = &mut self.runner else { return Follow::Nothing };
        runner.has_begun = true;
        let version = runner.version.clone();
        (self.serving_run, self.reported.denied) = (Some(run), None);
        self.reported.nothing_holds();
        self.replaced.clear();
        self.serves(version);
        Follow::SettleAll
    }

    /// A controller begins that another one was to replace: it serves until that one can.
    pub(super) fn replaced_began(&mut self, run: RunId) -> Follow {
        let Some(version) = self.replaced.remove(&run) else { return Follow::Nothing };
        self.serving_run = Some(run);
        // What the run before it reported is no longer about anything.
        (self.reported.parents, self.reported.breaker) = (None, None);
        (self.reported.status_blocked, self.reported.denied) = (None, None);
        self.serves(version);
        Follow::SettleAll
    }

    /// What a version would change was found.
    pub(super) fn previewed(
        &mut self,
        run: RunId,
        id: &VersionId,
        preview: Preview,
        context: &mut Context<'_>,
    ) -> Follow {
        let (Some(provider), Some(candidate)) = (&self.provider, &mut self.candidate) else { return Follow::Nothing };
        // A controller that was started with other grants predicts for those.
        let by_runner = |runner: &Runner| {
            runner.run == run && runner.previews.as_ref() == Some(id) && runner.key.spec == candidate.spec
        };
        let by_runner = self.runner.as_ref().is_some_and(by_runner);
        // What was found for another version, or with another spec, is no longer about anything.
        if candidate.version.id() != *id || !(by_runner || candidate.own_run() == Some(run)) {
            return Follow::Nothing;
        }
        match candidate.own_run() {
            Some(own) if own == run => self.reported.nothing_holds(),
            // Another controller found it first.
            Some(other) => {
                context.emit(Effect::StopPreview(other));
                self.reported.nothing_holds();
            }
            None => {}
        }
        candidate.previewed_by = None;
        candidate.found = Some((Arc::new(preview), context.now.instant));
        if let Some(plan) = candidate.plan(provider, self.active.as_ref()) {
            self.shows_plan = true;
            context.emit(Effect::PublishPlan { provider: self.name.clone(), plan: Some(Box::new(plan)) });
        }
        Follow::SettleAll
    }

    /// No version waits any longer.
    pub(super) fn drop_candidate(&mut self, context: &mut Context<'_>) {
        if let Some(run) = self.candidate.take().and_then(|candidate| candidate.own_run()) {
            context.emit(Effect::StopPreview(run));
            self.reported.nothing_holds();
        }
        if std::mem::take(&mut self.shows_plan) {
            context.emit(Effect::PublishPlan { provider: self.name.clone(), plan: None });
        }
    }

    /// Takes the approval off a Provider whose version took over: the next one needs one of its own.
    pub(super) fn remove_approval(&mut self, provider: &Provider, context: &mut Context<'_>) {
        let Some(approved) = provider.metadata.annotations.get(APPROVE_ANNOTATION) else { return };
        let Some(served) = &self.active else { return };
        // Not before the status says so: a host that starts in between must know that this version was approved.
        let is_recorded = provider.status.active.as_ref().is_some_and(|active| served.is(active));
        if is_recorded && served.id().is_approved_by(approved) && self.candidate.is_none() {
            self.request(Request::Approval, Effect::RemoveApproval(Target::of(provider)), context);
        }
    }
}
