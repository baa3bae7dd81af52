//! What Providers say of themselves.

use std::collections::BTreeMap;

use anyhow::Context as _;
use bartizan_contract::names::{PROVIDER_API_VERSION, PROVIDER_KIND};
use bartizan_contract::provider::{CandidateModule, Provider, ProviderStatus};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tracing::warn;

use super::{MANAGER, Providers, STARTING, uid_of};
use crate::declared::claims::Claim;
use crate::declared::judge::{self, Judged};
use crate::declared::said::{self, Facts, Serving};
use crate::declared::upgrade::Held;
use crate::kubernetes::deadline::in_time;
use crate::telemetry::timestamp;
use crate::version::Version;

impl Providers {
    pub(super) async fn report(&mut self) {
        let judged = self.judge();
        let claims: Vec<Claim> = self.claims.values().cloned().collect();
        self.report_all(&judged, &judge::shadowed(&claims)).await;
    }

    pub(super) async fn report_all(&mut self, judged: &BTreeMap<String, Judged>, shadowed: &BTreeMap<String, String>) {
        for (name, judged) in judged {
            let Some(provider) = self.objects.get(name) else { continue };
            // Nothing can be said yet: what was said before stays.
            if judged.is_pending() {
                continue;
            }
            let facts = self.facts(provider, judged, shadowed.get(name));
            match self.say(provider, judged, facts).await {
                Ok(Some(status)) => {
                    if let Some(known) = self.objects.get_mut(name) {
                        known.status = status;
                    }
                }
                Ok(None) => {}
                // The next event or change of health says it again.
                Err(error) => warn!(provider = name, "{error:#}"),
            }
        }
    }

    /// Says which kinds may be written, before any is.
    ///
    /// # Errors
    /// If that could not be said.
    pub(super) async fn say_kinds(&mut self, name: &str, judged: &Judged, version: &Version) -> anyhow::Result<()> {
        let Some(provider) = self.objects.get(name) else { return Ok(()) };
        let started = Some(version.clone());
        let facts = Facts { serving: Serving::Starting, started, ..self.facts(provider, judged, None) };
        if let Some(status) = self.say(provider, judged, facts).await?
            && let Some(known) = self.objects.get_mut(name)
        {
            known.status = status;
        }
        Ok(())
    }

    fn facts<'a>(&'a self, provider: &Provider, judged: &Judged, conflict: Option<&'a String>) -> Facts<'a> {
        let name = provider.metadata.name.as_str();
        let runner = self.runners.get(name);
        let active = self.active.get(&uid_of(provider)).filter(|_| runner.is_some());
        // Of one that serves as it should, nothing is held.
        let differs = active.map(Version::id) != judged.version.as_ref().map(Version::id);
        let not_ready = self.host.health.why_held(name).filter(|_| differs);
        let candidate = self.held(provider, judged);
        Facts {
            conflict,
            serving: self.serving(name, provider, conflict, candidate.as_ref()),
            active,
            started: runner.map(|runner| runner.versions.borrow().clone()),
            not_ready,
            candidate,
            parents: self.parents(name, provider, conflict),
            removal: self.removal(name, provider),
        }
    }

    /// Of one that does not serve, the number of parents is not known; one that never did has none.
    fn parents(&self, name: &str, provider: &Provider, conflict: Option<&String>) -> Option<usize> {
        let counted = self.host.health.parents(name);
        counted.or_else(|| (conflict.is_some() || provider.status.active.is_none()).then_some(0))
    }

    fn serving(
        &self,
        name: &str,
        provider: &Provider,
        conflict: Option<&String>,
        held: Option<&(CandidateModule, Held)>,
    ) -> Serving {
        let Some(runner) = self.runners.get(name) else {
            if let Some((_, Held { message, .. })) = held {
                return Serving::No("UpgradeHeld", format!("nothing serves until it is approved: {message}"));
            }
            return match (self.is_going(provider), provider.spec.suspend, conflict) {
                (true, ..) => Serving::No("Removing", "it was deleted".to_owned()),
                (false, true, _) => Serving::No("Suspended", "spec.suspend: nothing is called or written".to_owned()),
                (false, false, Some(message)) => Serving::No("Conflict", message.clone()),
                (false, false, None) => {
                    Serving::No("NotStarted", "it is not accepted, or its module is not loaded".to_owned())
                }
            };
        };
        if let Some(message) = self.host.health.open_breaker(name) {
            return Serving::No("BreakerOpen", message);
        }
        match self.host.health.reason(name) {
            Some(None) => Serving::Yes,
            _ if runner.since.elapsed() < STARTING => Serving::Starting,
            Some(Some(reason)) => Serving::No("NotReady", reason),
            None => Serving::No("NotReady", "it is starting".to_owned()),
        }
    }

    /// Writes the status if it says something new.
    async fn say(
        &self,
        provider: &Provider,
        judged: &Judged,
        facts: Facts<'_>,
    ) -> anyhow::Result<Option<ProviderStatus>> {
        let now = timestamp::now();
        let status = said::status(provider, judged, facts, &now);
        if status == provider.status {
            return Ok(None);
        }
        let name = provider.metadata.name.as_str();
        let document = json!({
            "apiVersion": PROVIDER_API_VERSION,
            "kind": PROVIDER_KIND,
            "metadata": {"name": name, "uid": provider.metadata.uid},
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        in_time(self.api().patch_status(name, &params, &Patch::Apply(&document)))
            .await
            .with_context(|| format!("the status of Provider {name} could not be written"))?;
        Ok(Some(status))
    }
}
