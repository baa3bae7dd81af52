//! A Provider that is deleted: it is held by a finalizer until its parents are gone (`onRemoval: Block`) or were let go
//! (`Release`). Everything is decided by live reads, so that a host that starts in the middle goes on where the last one ended.

use std::sync::Arc;

use anyhow::Context as _;
use bartizan_contract::names::PROVIDER_FINALIZER;
use bartizan_contract::provider::{OnRemoval, Provider};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{MANAGER, Providers, RETRY, has_finalizer, parse, uid_of};
use crate::controller::startup::Predecessor;
use crate::declared::claims::Claim;
use crate::kubernetes::deadline::in_time;
use crate::kubernetes::impersonation;
use crate::providers::release::{End, Ended};

/// How far the end of a Provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// It is looked whether it may go, or parents are being let go.
    UnderWay,
    /// It waits: reason and message, and when to look again.
    Waits(&'static str, String, Instant),
    /// Its finalizer is off.
    Done,
}

/// Reason of a Provider that waits for its parents.
const PARENTS_EXIST: &str = "ParentsExist";

impl Providers {
    /// Whether a Provider serves no more since it was deleted. With `Block` it serves on, or its parents could not go.
    pub(super) fn is_going(&self, provider: &Provider) -> bool {
        let releases = provider.spec.on_removal == OnRemoval::Release;
        provider.metadata.deletion_timestamp.is_some() && (!has_finalizer(provider) || releases)
    }

    /// Whether the end of a Provider is in the hands of a task of its own.
    pub(super) fn is_ending(&self, name: &str) -> bool {
        matches!(self.removals.get(name), Some(Removal::UnderWay | Removal::Done))
    }

    /// Why a Provider that was deleted is still there: reason and message.
    pub(super) fn removal(&self, name: &str, provider: &Provider) -> Option<(&'static str, String)> {
        if provider.metadata.deletion_timestamp.is_none() || !has_finalizer(provider) {
            return None;
        }
        match (self.removals.get(name), self.host.health.parents(name)) {
            (Some(_), Some(parents)) if parents > 0 && provider.spec.on_removal == OnRemoval::Block => {
                Some((PARENTS_EXIST, blocked(parents)))
            }
            (Some(Removal::Waits(reason, message, _)), _) => Some((reason, message.clone())),
            _ => None,
        }
    }

    /// Puts the finalizer on a Provider that is about to serve.
    ///
    /// # Errors
    /// If it could not be put on.
    pub(super) async fn hold(&mut self, provider: &Provider) -> anyhow::Result<()> {
        if provider.metadata.deletion_timestamp.is_some() || has_finalizer(provider) {
            return Ok(());
        }
        let name = provider.metadata.name.as_str();
        let title = || format!("Provider {name} could not be given its finalizer");
        // The one that is known may be older than the host's own last word on it.
        let live = parse(in_time(self.api().get(name)).await.with_context(title)?)?;
        let mut finalizers = live.metadata.finalizers.clone();
        finalizers.push(PROVIDER_FINALIZER.to_owned());
        let metadata = json!({
            "uid": provider.metadata.uid, "resourceVersion": live.metadata.resource_version, "finalizers": finalizers,
        });
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = json!({"metadata": metadata});
        let written = in_time(self.api().patch(name, &params, &Patch::Merge(&patch))).await.with_context(title)?;
        self.objects.insert(name.to_owned(), parse(written)?);
        Ok(())
    }

    /// Begins what is to be done for each Provider that was deleted.
    pub(super) fn settle_removals(&mut self, claims: &Arc<[Claim]>) {
        let going = |provider: &&Provider| provider.metadata.deletion_timestamp.is_some() && has_finalizer(provider);
        let going: Vec<Provider> = self.objects.values().filter(going).cloned().collect();
        self.removals.retain(|name, _| going.iter().any(|provider| provider.metadata.name == *name));
        for provider in going {
            let (name, now) = (provider.metadata.name.clone(), Instant::now());
            if self.is_ending(&name) {
                continue;
            }
            let blocks = provider.spec.on_removal == OnRemoval::Block;
            // The one that serves knows them, and says when that changes.
            if let Some(parents) = self.host.health.parents(&name).filter(|parents| blocks && *parents > 0) {
                self.removals.insert(name, Removal::Waits(PARENTS_EXIST, blocked(parents), now));
                continue;
            }
            match self.removals.get(&name) {
                Some(Removal::Waits(_, _, until)) if *until > now => self.retry_at(*until),
                _ => self.end(provider, claims),
            }
        }
    }

    fn end(&mut self, provider: Provider, claims: &Arc<[Claim]>) {
        let name = provider.metadata.name.clone();
        let stop = self.runners.get(&name).map(|runner| runner.stop.clone()).unwrap_or_default();
        let runner = self.ends.get(&name).map(|ended| Predecessor { stop, ended: ended.clone() });
        let owned = self.claims.get(&uid_of(&provider)).map(|claim| claim.kinds().collect());
        // One that never served has no parents.
        let owned = owned.or_else(|| provider.status.active.is_none().then(Vec::new));
        let (client, namespaces) = (self.host.client.clone(), self.host.namespaces.clone());
        let user = impersonation::user(&self.host.provider_namespace, &provider.service_account_name());
        let account = match impersonation::acting_as(&client, &user) {
            Ok(account) => account,
            Err(error) => {
                let until = Instant::now() + RETRY;
                self.removals.insert(name, Removal::Waits("RemovalFailed", format!("{error:#}"), until));
                return;
            }
        };
        let end = End { client, account, namespaces, provider, owned, claims: claims.clone(), runner };
        self.removals.insert(name.clone(), Removal::UnderWay);
        self.ending.spawn(async move { (name, end.run().await) });
    }

    pub(super) async fn take_end(&mut self, name: &str, ended: Ended) {
        let until = Instant::now() + RETRY;
        let removal = match ended {
            Ended::Gone => {
                info!(provider = name, "removed");
                self.stop(name);
                Removal::Done
            }
            Ended::Parents(parents) => Removal::Waits(PARENTS_EXIST, blocked(parents), until),
            Ended::Failed(reason) => {
                warn!(provider = name, "it was deleted and cannot go yet: {reason}");
                Removal::Waits("RemovalFailed", reason, until)
            }
        };
        self.removals.insert(name.to_owned(), removal);
        // It may have been stopped to look once more, and goes on.
        if self.runners.get(name).is_some_and(|runner| runner.stop.is_cancelled()) {
            self.stop(name);
        }
        self.settle().await;
    }
}

fn blocked(parents: usize) -> String {
    let (exist, them) =
        if parents == 1 { ("1 parent exists".to_owned(), "it") } else { (format!("{parents} parents exist"), "them") };
    format!("{exist}: delete {them} first, or set spec.onRemoval to Release, which leaves {them} without an operator")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_waits_for_is_said_with_what_to_do() {
        let advice = "first, or set spec.onRemoval to Release, which leaves";
        assert_eq!(blocked(1), format!("1 parent exists: delete it {advice} it without an operator"));
        assert_eq!(blocked(3), format!("3 parents exist: delete them {advice} them without an operator"));
    }
}
