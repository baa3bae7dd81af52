//! How a version takes over: it is asked what it would change, and waits if that needs an approval. Until then the version before
//! serves.

use std::sync::Arc;
use std::time::Duration;

use bartizan_contract::GroupKind;
use bartizan_contract::names::APPROVE_ANNOTATION;
use bartizan_contract::provider::{ActiveModule, CandidateModule, Provider, ProviderSpec};
use bartizan_engine::crd_compat::{Incompatibility, incompatibilities};
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::serve::lasting;
use super::{MANAGER, Providers, STARTING, uid_of};
use crate::catalog::Loaded;
use crate::controller::Inputs;
use crate::controller::startup::Start;
use crate::declared::claims::Claim;
use crate::declared::judge::{Judged, Last};
use crate::declared::upgrade::{self, Held, Plan};
use crate::kubernetes::deadline::in_time;
use crate::reconcile::dry_run::{Preview, Previewed, UpgradePlan};
use crate::version::Version;

/// A version that waits is asked again after this time: its parents change, and with them what it would do.
const ASK_AGAIN: Duration = Duration::from_secs(300);

/// A version that may not serve yet.
pub(super) struct Candidate {
    version: Version,
    /// What of the spec it was looked at with: with other grants or parents it may do something else.
    spec: ProviderSpec,
    /// Who looks at what it would change; nobody yet, or nobody any more.
    looking: Option<Looking>,
    /// What it would change, and when that was found.
    found: Option<(Arc<Preview>, Instant)>,
    /// What of its CRDs does not fit those before it; nobody has compared them yet.
    crds: Option<Arc<[Incompatibility]>>,
}

/// Who looks at what a version would change.
enum Looking {
    /// The controller that serves, over what it knows anyway. Since when that one runs.
    Serving(Instant),
    /// A controller for this alone.
    Alone { _until: DropGuard },
}

/// Which version serves now.
pub(super) enum Turn {
    /// This one.
    Serve(Box<Version>),
    /// It is not known yet; what runs runs on.
    Later,
    /// None.
    Nothing,
}

impl Providers {
    /// Decides which version serves: the next one, if it may; until then the one before.
    pub(super) fn turn(&mut self, provider: &Provider, judged: &Judged) -> Turn {
        let name = provider.metadata.name.as_str();
        let Some(next) = &judged.version else {
            self.candidates.remove(name);
            return match &judged.before {
                _ if judged.is_pending() => Turn::Later,
                // A source that cannot be asked now says nothing against the version before.
                Last::Known(before) if judged.is_unavailable() => Turn::Serve(Box::new(before.clone())),
                _ => Turn::Nothing,
            };
        };
        let served = self.active.get(&uid_of(provider));
        let is_same = match (served, &provider.status.active) {
            (Some(served), _) => served.id() == next.id(),
            (None, Some(active)) => next.is(active),
            // Nothing ever served: there is nothing to compare with, and nobody who would serve until then.
            (None, None) => true,
        };
        if is_same {
            self.candidates.remove(name);
            return Turn::Serve(Box::new(next.clone()));
        }
        let before = match &judged.before {
            Last::Known(before) => Some(before.clone()),
            Last::Unknown => return Turn::Later,
            Last::None => None,
        };
        let spec = lasting(&provider.spec);
        let is_known = |candidate: &Candidate| candidate.version.id() == next.id() && candidate.spec == spec;
        if !self.candidates.get(name).is_some_and(is_known) {
            // What another one would change is no longer to be approved.
            self.host.board.plan_upgrade(name, None);
            let candidate = Candidate { version: next.clone(), spec, looking: None, found: None, crds: None };
            self.candidates.insert(name.to_owned(), candidate);
        }
        // The version before may have been found since.
        if let (Some(candidate), Some(known)) = (self.candidates.get_mut(name), &judged.known)
            && candidate.crds.is_none()
        {
            candidate.crds = Some(unfit(&known.loaded, &next.loaded));
        }
        let approved = provider.metadata.annotations.get(APPROVE_ANNOTATION) == Some(&approval(provider, next));
        if approved || matches!(self.found(provider, next), Some((_, None))) {
            return Turn::Serve(Box::new(next.clone()));
        }
        match before {
            Some(before) => Turn::Serve(Box::new(before)),
            None if self.runners.contains_key(name) => Turn::Nothing,
            None => Turn::Later,
        }
    }

    /// What a version was found to change, and why it waits.
    fn found(&self, provider: &Provider, next: &Version) -> Option<(&Arc<Preview>, Option<Held>)> {
        let name = provider.metadata.name.as_str();
        let candidate = self.candidates.get(name).filter(|candidate| candidate.version.id() == next.id())?;
        let (preview, _) = candidate.found.as_ref()?;
        let plan = Plan { changes: &preview.changes, crds: candidate.crds.as_deref()? };
        Some((preview, upgrade::held(name, &provider.spec.upgrade, next.number(), plan)))
    }

    /// What the status says of a version that waits.
    pub(super) fn held(&self, provider: &Provider, judged: &Judged) -> Option<(CandidateModule, Held)> {
        let next = judged.version.as_ref()?;
        let (preview, held) = self.found(provider, next)?;
        let candidate = CandidateModule {
            version: next.number().to_owned(),
            digest: next.digest().to_owned(),
            approval: approval(provider, next),
            changes: Some(preview.changes),
        };
        // It may take over, and does not serve yet: what it waits for, another condition says.
        held.map(|held| (candidate, held))
    }

    /// Has somebody look at what a version would change that waits, if nobody does.
    pub(super) fn look_at_candidate(&mut self, provider: &Provider, judged: &Judged, claims: &Arc<[Claim]>) {
        let name = provider.metadata.name.clone();
        let Some(candidate) = self.candidates.get(&name) else {
            if let Some(runner) = self.runners.get(&name) {
                runner.candidates.send_if_modified(|looked_at| looked_at.take().is_some());
            }
            self.host.board.plan_upgrade(&name, None);
            return;
        };
        let Some(next) = &judged.version else { return };
        let Ok(limits) = judged.accepted else { return };
        match self.runners.get(&name) {
            // It may take over, and is about to.
            Some(runner) if runner.versions.borrow().id() == next.id() => return,
            Some(_) => {}
            None => {
                let reason = format!("version {} may not serve yet, and none does", next.number());
                self.host.health.waiting(&name, &reason);
            }
        }
        if let Some((_, at)) = &candidate.found
            && at.elapsed() < ASK_AGAIN
        {
            let at = *at + ASK_AGAIN;
            self.retry_at(at);
            return;
        }
        // The controller that serves knows all that is to be known, unless what the candidate works with is something else.
        let runner =
            self.runners.get(&name).filter(|runner| runner.versions.borrow().loaded.has_shape_of(&next.loaded));
        let served = self.active.get(&uid_of(provider)).map(Version::id);
        let begun = |runner: &&super::Runner| served.as_ref() == Some(&runner.versions.borrow().id());
        let is_serving = self.host.health.reason(&name) == Some(None);
        match (runner, &candidate.looking) {
            (_, Some(Looking::Alone { .. })) => return,
            (Some(runner), Some(Looking::Serving(since))) if runner.since == *since && is_serving => return,
            (Some(runner), _) if begun(&runner) && is_serving => {
                runner.candidates.send_replace(Some(next.clone()));
                let looking = Some(Looking::Serving(runner.since));
                self.set_looking(&name, looking);
            }
            // It has just started, and may soon be of help.
            (Some(runner), _) if runner.since.elapsed() < STARTING => {}
            _ => {
                self.look_alone(provider, next, limits, claims, judged.known.is_none());
            }
        }
        // Whoever looks may end without a word.
        self.retry();
    }

    fn set_looking(&mut self, name: &str, looking: Option<Looking>) {
        if let Some(candidate) = self.candidates.get_mut(name) {
            candidate.looking = looking;
        }
    }

    /// Looks with watches of its own, and, where the version before is not at hand, at what of its CRDs the cluster has.
    fn look_alone(
        &mut self,
        provider: &Provider,
        next: &Version,
        limits: bartizan_contract::provider::EffectiveLimits,
        claims: &Arc<[Claim]>,
        compares_crds: bool,
    ) {
        let name = provider.metadata.name.clone();
        let stop = CancellationToken::new();
        let (versions, told_versions) = watch::channel(next.clone());
        let (candidates, told_candidates) = watch::channel(None);
        let own = Claim::new(provider, &next.loaded.owned()).ok();
        let others = claims.iter().filter(|claim| claim.provider() != name).cloned();
        let start = Start {
            host: self.host.clone(),
            provider: provider.clone(),
            inputs: Inputs { versions: told_versions, candidates: told_candidates },
            told: self.previewed.0.clone(),
            before: None,
            began: self.began.0.clone(),
            limits,
            kinds: provider.status.kinds.clone(),
            is_preview: true,
            compares_crds,
            claims: others.chain(own).collect(),
        };
        let stopped = stop.clone();
        self.tasks.spawn(async move {
            // Nobody tells it anything, and it is not told that nobody could.
            let _senders = (versions, candidates);
            let result = start.preview(stopped).await;
            (name, result)
        });
        self.set_looking(&provider.metadata.name, Some(Looking::Alone { _until: stop.drop_guard() }));
    }

    pub(super) async fn take_preview(&mut self, previewed: Previewed) {
        let Previewed { provider: name, id, preview, crds } = previewed;
        let Some(candidate) = self.candidates.get_mut(&name).filter(|candidate| candidate.version.id() == id) else {
            return;
        };
        candidate.looking = None;
        if let Some(crds) = crds {
            let active = self.objects.get(&name).and_then(|provider| provider.status.active.as_ref());
            let dropped = active.map_or_else(Vec::new, |active| dropped_since(active, &candidate.version.loaded));
            candidate.crds = Some(crds.into_iter().chain(dropped).collect());
        }
        let preview = Arc::new(preview);
        candidate.found = Some((preview.clone(), Instant::now()));
        if let Some(provider) = self.objects.get(&name) {
            let plan = UpgradePlan {
                active: self
                    .active
                    .get(&uid_of(provider))
                    .map(Version::said)
                    .or_else(|| provider.status.active.clone()),
                candidate: candidate.version.said(),
                approval: approval(provider, &candidate.version),
                crds: candidate.crds.iter().flat_map(|crds| crds.iter()).map(ToString::to_string).collect(),
                preview: (*preview).clone(),
            };
            self.host.board.plan_upgrade(&name, Some(plan));
        }
        self.settle().await;
    }

    /// Takes the approval off a Provider whose version took over: the next one needs one of its own.
    pub(super) async fn forget_approval(&mut self, provider: &Provider) {
        let Some(approved) = provider.metadata.annotations.get(APPROVE_ANNOTATION) else { return };
        let name = provider.metadata.name.as_str();
        let Some(served) = self.active.get(&uid_of(provider)) else { return };
        // Not before the status says so: a host that starts in between must know that this version was approved.
        let is_said = provider.status.active.as_ref().is_some_and(|said| served.is(said));
        if !is_said || !served.id().is_approved_by(approved) || self.candidates.contains_key(name) {
            return;
        }
        let patch = json!({"metadata": {
            "uid": provider.metadata.uid,
            "annotations": {APPROVE_ANNOTATION: Value::Null},
        }});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match in_time(self.api().patch_metadata(name, &params, &Patch::Merge(&patch))).await {
            Ok(_) => info!(provider = name, "the approved version serves"),
            Err(error) => {
                warn!(provider = name, "the approval could not be taken off: {error}");
                self.retry();
            }
        }
    }
}

fn approval(provider: &Provider, next: &Version) -> String {
    let none = Map::new();
    let settings = provider.status.active.as_ref().map_or(&none, |active| &active.settings);
    next.id().approval(settings)
}

/// What of the CRDs of a module does not fit those of the one before it.
fn unfit(before: &Loaded, next: &Loaded) -> Arc<[Incompatibility]> {
    let name = |crd: &Value| crd.pointer("/metadata/name").cloned();
    let olds = before.manifest.crds.iter();
    let pairs = olds.filter_map(|old| Some((old, next.manifest.crds.iter().find(|new| name(new) == name(old))?)));
    pairs.flat_map(|(old, new)| incompatibilities(old, new)).chain(dropped(&before.owned(), next)).collect()
}

/// Those of the kinds that a version owned, as far as a status says it, that another module would leave alone.
fn dropped_since(active: &ActiveModule, next: &Loaded) -> Vec<Incompatibility> {
    if active.owns.is_empty() {
        let message = format!("the host does not know which kinds version {} served", active.version);
        return vec![Incompatibility::of_all(message)];
    }
    dropped(&active.owns, next)
}

/// Those of the owned kinds that another module would leave alone.
fn dropped(owned: &[GroupKind], next: &Loaded) -> Vec<Incompatibility> {
    let owns = next.owned();
    let dropped = owned.iter().filter(|kind| !owns.contains(kind));
    dropped.map(|kind| Incompatibility::of_all(format!("{kind} would no longer be served"))).collect()
}
