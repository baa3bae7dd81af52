//! Which version serves a Provider, and how one takes over from another.

use bartizan_contract::provider::{EffectiveLimits, Provider};

use super::state::{Life, Request};
use crate::provider::admission::Admission;
use crate::provider::context::Context;
use crate::provider::event::{Effect, Purpose, Readiness, Start, Target};
use crate::provider::removal;
use crate::provider::runner::{self, Key, Runner};
use crate::provider::status;
use crate::provider::version::Version;

impl Life {
    /// Serves it with this version, if it is not already.
    pub(super) fn serve(
        &mut self,
        provider: &Provider,
        admission: &Admission,
        version: &Version,
        limits: EffectiveLimits,
        context: &mut Context<'_>,
    ) {
        let others = runner::others(&self.name, &version.module, context.claims);
        let key = Key { uid: provider.metadata.uid.clone(), spec: runner::lasting(&provider.spec), others };
        let mut takes_over = false;
        if let Some(runner) = self.runner.as_mut().filter(|runner| runner.key == key) {
            if runner.version.id() == version.id() {
                return;
            }
            if runner.version.module.has_shape_of(&version.module) {
                let serves = self.active.as_ref().is_some_and(|active| active.id() == runner.version.id());
                context.emit(Effect::Swap(runner.run, Box::new(version.clone())));
                runner.version = version.clone();
                if serves {
                    self.serves(version.clone());
                }
                return;
            }
            // It goes on until the next one can serve.
            takes_over = true;
        }
        if self.runner.is_none() && self.reported.readiness.is_none() {
            self.report_readiness(Some(Readiness::NotYet("starting".to_owned())), context);
        }
        let target = Target::of(provider);
        if let Some(at) = self.not_before.filter(|at| context.now.instant < *at) {
            context.retry_at(at);
            return;
        }
        if provider.metadata.deletion_timestamp.is_none() && !removal::has_finalizer(provider) {
            self.request(Request::Finalizer, Effect::AddFinalizer(target), context);
            return;
        }
        // Before anything of a kind is written, the status says that it may be: what is written is found again.
        if status::kinds(provider, Some(version), &[]) != provider.status.kinds {
            let status = self.status_before_start(provider, admission, version, context.now);
            self.request(Request::Kinds, Effect::WriteStatus(target, Box::new(status)), context);
            return;
        }
        if self.is_telling_unserved(context) {
            return;
        }
        self.not_before = None;
        let run = context.new_run();
        if !takes_over {
            self.report_readiness(Some(Readiness::NotYet("starting".to_owned())), context);
            self.reported.nothing_holds();
            self.reported.breaker = None;
            (self.reported.status_blocked, self.reported.denied) = (None, None);
            self.serving_run = None;
            self.replaced.clear();
        } else if let Some(before) = self.runner.as_ref().filter(|before| !before.has_begun) {
            self.replaced.insert(before.run, before.version.clone());
        }
        context.emit(Effect::Start(Box::new(Start {
            run,
            provider: provider.clone(),
            version: version.clone(),
            limits,
            kinds: provider.status.kinds.clone(),
            claims: context.claims_for(provider, version),
            // One writer for each Provider: the run before ends first, also one that was stopped a while ago.
            purpose: Purpose::Serve { after: self.last_run, takes_over },
        })));
        self.last_run = Some(run);
        self.runner = Some(Runner {
            run,
            key,
            since: context.now.instant,
            version: version.clone(),
            previews: None,
            takes_over,
            has_begun: false,
            is_past_start: false,
        });
    }

    /// Takes note of the version that serves from now on.
    pub(super) fn serves(&mut self, version: Version) {
        let digest = version.module.digest.clone();
        if let Some(before) = self.active.replace(version)
            && before.module.digest != digest
        {
            self.previous = Some(before.module);
        }
    }
}
