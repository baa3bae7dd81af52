//! Tells the parents of a Provider that nobody serves them: what their status says was so when somebody looked last.

use bartizan_contract::Reason;
use bartizan_contract::provider::Provider;

use super::state::{Follow, Life};
use crate::provider::admission::Admission;
use crate::provider::claims::Claim;
use crate::provider::context::Context;
use crate::provider::event::{Effect, TellUnserved};
use crate::provider::removal;
use crate::provider::status::Serving;
use crate::provider::unserved::Unserved;

impl Life {
    /// Tells the parents, once for each of the reasons that last. Of one that never served nothing was said; one that goes lets go of its parents; and those
    /// of one that another claims are served.
    pub(super) fn tell_unserved(
        &mut self,
        provider: &Provider,
        admission: &Admission,
        lasting: &[Reason],
        context: &mut Context<'_>,
    ) {
        if self.runner.is_some() || self.removal.is_some() || removal::never_served(provider) {
            return;
        }
        let Serving::No(reason, why) = self.facts(provider, admission, context.now).serving else { return };
        if !lasting.contains(&reason) {
            return;
        }
        if let Some(Unserved::Untold { until, .. }) = &self.unserved
            && *until > context.now.instant
        {
            context.retry_at(*until);
        }
        let kinds: Vec<_> = self.claim.iter().flat_map(Claim::kinds).collect();
        if kinds.is_empty() || !Unserved::is_due(self.unserved.as_ref(), reason, context.now.instant) {
            return;
        }
        let version = admission.version.as_ref().or(admission.known.as_ref()).or(self.active.as_ref());
        self.unserved = Some(Unserved::Telling { reason, ends: false });
        context.emit(Effect::TellUnserved(Box::new(TellUnserved {
            provider: provider.clone(),
            kinds,
            claims: context.claims.clone(),
            run: self.last_run,
            keeps_ready: version.is_some_and(|version| version.module.manifest.keeps_ready),
            reason,
            message: format!("Provider {} does not serve it now: {why}", self.name),
        })));
    }

    /// Whether its parents are being told that nobody serves them, which ends first: a Provider has one writer.
    pub(super) fn is_telling_unserved(&mut self, context: &mut Context<'_>) -> bool {
        match &mut self.unserved {
            Some(Unserved::Telling { ends, .. }) => {
                if !std::mem::replace(ends, true) {
                    context.emit(Effect::EndTelling { provider: self.name.clone() });
                }
                true
            }
            _ => {
                self.unserved = None;
                false
            }
        }
    }

    /// They were told, but for so many.
    pub(super) fn told_unserved(&mut self, untold: Option<(usize, String)>, context: &mut Context<'_>) -> Follow {
        let Some(Unserved::Telling { reason, ends }) = self.unserved.take() else { return Follow::Nothing };
        // What was ended says nothing of those that were left.
        self.unserved = (!ends).then(|| Unserved::after(reason, untold, context.now.instant));
        Follow::Settle
    }

    /// How many parents could not be told, and one of them with the reason.
    pub(super) fn untold(&self) -> Option<&(usize, String)> {
        match &self.unserved {
            Some(Unserved::Untold { parents, .. }) => Some(parents),
            _ => None,
        }
    }
}
