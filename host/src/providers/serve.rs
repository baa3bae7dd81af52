//! Which module serves a Provider, and how one takes over from another.

use std::sync::Arc;

use bartizan_contract::GroupKind;
use bartizan_contract::provider::{EffectiveLimits, ModuleSource, OnRemoval, Provider, ProviderSpec, Upgrade};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use serde_json::Map;

use super::{Key, Providers, Runner, uid_of};
use crate::catalog::Loaded;
use crate::controller::Inputs;
use crate::controller::startup::{Predecessor, Start};
use crate::declared::claims::Claim;
use crate::declared::judge::Judged;
use crate::declared::said;
use crate::version::Version;

impl Providers {
    /// Serves a provider with this version, if it does not already.
    pub(super) async fn serve(
        &mut self,
        provider: &Provider,
        judged: &Judged,
        version: &Version,
        limits: EffectiveLimits,
        claims: &Arc<[Claim]>,
    ) -> anyhow::Result<()> {
        let name = provider.metadata.name.as_str();
        let others = others(name, &version.loaded, claims);
        let key = Key { uid: provider.metadata.uid.clone(), spec: lasting(&provider.spec), others };
        let mut before = None;
        if let Some(runner) = self.runners.get(name).filter(|runner| runner.key == key) {
            let serves = runner.versions.borrow().clone();
            if serves.id() == version.id() {
                return Ok(());
            }
            if serves.loaded.has_shape_of(&version.loaded) {
                let is_serving = self.active.get(&uid_of(provider)).is_some_and(|active| active.id() == serves.id());
                runner.versions.send_replace(version.clone());
                if is_serving {
                    self.serves(uid_of(provider), version.clone());
                }
                return Ok(());
            }
            // It goes on until the next one can serve.
            before = Some(runner.stop.clone());
        }
        self.hold(provider).await?;
        // Before anything of a kind is written, the Provider says that it may be: what is written is found again.
        if said::kinds(provider, Some(version)) != provider.status.kinds {
            self.say_kinds(name, judged, version).await?;
        }
        let Some(provider) = self.objects.get(name).cloned() else { return Ok(()) };
        let others = claims.iter().filter(|claim| claim.provider() != name).cloned();
        let claims: Arc<[Claim]> = others.chain(judged.claim.clone()).collect();
        self.start(provider, key, before, version, limits, claims);
        Ok(())
    }

    /// `before`: who goes on until this one can serve; without it, who serves is stopped at once.
    fn start(
        &mut self,
        provider: Provider,
        key: Key,
        before: Option<CancellationToken>,
        version: &Version,
        limits: EffectiveLimits,
        claims: Arc<[Claim]>,
    ) {
        let name = provider.metadata.name.clone();
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let (versions, told_versions) = watch::channel(version.clone());
        let (candidates, told_candidates) = watch::channel(None);
        let inputs = Inputs { versions: told_versions, candidates: told_candidates };
        let runner = Runner { key, since: Instant::now(), stop: stop.clone(), versions, candidates };
        let replaced = self.runners.insert(name.clone(), runner);
        if before.is_none() {
            self.host.health.waiting(&name, "starting");
            self.host.health.held(&name, None);
            if let Some(replaced) = replaced {
                replaced.stop.cancel();
            }
        }
        // One writer for each provider: the one before finishes first, also one that was stopped a while ago.
        let stop_before = before.unwrap_or_else(|| {
            let stopped = CancellationToken::new();
            stopped.cancel();
            stopped
        });
        let before = self.ends.insert(name.clone(), ended.clone());
        let before = before.map(|ended| Predecessor { stop: stop_before, ended });
        let kinds = provider.status.kinds.clone();
        let (host, began, told) = (self.host.clone(), self.began.0.clone(), self.previewed.0.clone());
        let (is_preview, compares_crds) = (false, false);
        let start =
            Start { host, provider, inputs, told, before, began, limits, kinds, is_preview, compares_crds, claims };
        self.tasks.spawn(async move {
            let _ended = ended.drop_guard();
            let result = start.serve(stop).await;
            (name, result)
        });
    }

    /// Takes note of the version that serves from now on.
    pub(super) fn serves(&mut self, uid: String, version: Version) {
        let digest = version.digest().to_owned();
        if let Some(before) = self.active.insert(uid.clone(), version)
            && before.digest() != digest
        {
            self.previous.insert(uid, before.loaded);
        }
    }

    pub(super) fn stop(&mut self, name: &str) {
        if let Some(runner) = self.runners.remove(name) {
            runner.stop.cancel();
            info!(provider = name, "stopped");
        }
        self.host.health.forget(name);
    }
}

/// What of a spec a version serves with as long as it serves. The version itself, and how it came and goes, is no part of that.
pub(super) fn lasting(spec: &ProviderSpec) -> ProviderSpec {
    ProviderSpec {
        module: ModuleSource::default(),
        settings: Map::new(),
        upgrade: Upgrade::default(),
        on_removal: OnRemoval::default(),
        ..spec.clone()
    }
}

/// What others claim of the kinds that a module owns: only that makes a difference to whom a parent belongs.
fn others(name: &str, loaded: &Loaded, claims: &[Claim]) -> Vec<Claim> {
    let owned: Vec<GroupKind> = loaded.owned();
    let overlaps = |claim: &&Claim| claim.provider() != name && claim.kinds().any(|kind| owned.contains(&kind));
    claims.iter().filter(overlaps).cloned().collect()
}
