//! A version that could take over and may not serve yet: what it would change, and whether it waits for an approval.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_contract::GroupKind;
use bartizan_contract::names::FILE_ANNOTATION;
use bartizan_contract::provider::{ActiveModule, CandidateModule, Provider, ProviderSpec, ProviderStatus};
use serde_json::Value;

use super::declaration::is_document;
use super::event::RunId;
use super::module::ModuleInfo;
use super::rights;
use super::upgrade_hold::{self, Held, Plan};
use super::upgrade_plan::{Preview, UpgradePlan};
use super::version::Version;
use crate::crd_compat::{Incompatibility, incompatibilities};

/// A version that waits is previewed again after this time: its parents change, and with them what it would do.
pub const PREVIEW_AGAIN: Duration = Duration::from_secs(300);

/// A version that may not serve yet.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The version.
    pub version: Version,
    /// What of the spec it is previewed with: with other grants or parents it may do something else.
    pub spec: ProviderSpec,
    /// Who previews it; nobody yet, or no longer.
    pub previewed_by: Option<Previewer>,
    /// What it would change, and when that was found.
    pub found: Option<(Arc<Preview>, Instant)>,
    /// What of its CRDs does not fit those before it; `None`: not compared yet.
    pub crds: Option<Arc<[Incompatibility]>>,
    /// What it asks for beyond the one before it, as far as that is granted.
    pub rights: Arc<[String]>,
    /// Whether it was compared with the version before itself, and not with what the cluster shows of it.
    is_compared: bool,
}

/// Who previews a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previewer {
    /// The controller that serves, over what it knows anyway.
    Serving(RunId),
    /// A controller for this alone.
    Alone(RunId),
}

impl Candidate {
    /// One that nobody has looked at.
    #[must_use]
    pub fn new(version: Version, spec: ProviderSpec) -> Self {
        Self { version, spec, previewed_by: None, found: None, crds: None, rights: Arc::default(), is_compared: false }
    }

    /// The run of a controller that previews nothing but this.
    #[must_use]
    pub fn own_run(&self) -> Option<RunId> {
        match self.previewed_by {
            Some(Previewer::Alone(run)) => Some(run),
            Some(Previewer::Serving(_)) | None => None,
        }
    }

    /// The version that served before is at hand: their CRDs and rights can be compared.
    pub fn compare_with(&mut self, before: &Version) {
        if !self.is_compared {
            self.is_compared = true;
            self.crds = Some(unfit(&before.module, &self.version.module));
            self.rights =
                rights::more(&before.module.manifest, &self.version.module.manifest, &self.spec.grants).into();
        }
    }

    /// Its CRDs were compared with those of the cluster, since the version that served before, which the status names, is not at
    /// hand.
    pub fn compared_with_cluster(&mut self, crds: Vec<Incompatibility>, before: &ProviderStatus) {
        if self.is_compared {
            return;
        }
        let active = before.active.as_ref();
        let more = rights::more_than_written(&before.kinds, &self.version.module.manifest, &self.spec.grants);
        self.rights = more.into();
        let dropped = active.map_or_else(Vec::new, |active| dropped_since(active, &self.version.module));
        self.crds = Some(crds.into_iter().chain(dropped).collect());
    }

    /// What it was found to change, and why it waits (`None`: it may take over). `None` as long as that is not known.
    #[must_use]
    pub fn verdict(&self, provider: &Provider) -> Option<(&Arc<Preview>, Option<Held>)> {
        let (preview, _) = self.found.as_ref()?;
        let plan = Plan { changes: &preview.changes, crds: self.crds.as_deref()?, rights: self.rights(provider) };
        let name = provider.metadata.name.as_str();
        Some((preview, upgrade_hold::held(name, &provider.spec.upgrade, self.version.number(), plan)))
    }

    /// The rights for which it waits. Of a module without a document the folder grants whatever it asks for: that is what
    /// `--trust-manifests` says.
    fn rights(&self, provider: &Provider) -> &[String] {
        let file = provider.metadata.annotations.get(FILE_ANNOTATION);
        if file.is_some_and(|file| !is_document(file)) { &[] } else { &self.rights }
    }

    /// The candidate of the status, and why it waits; `None` if it does not, or that is not known yet.
    #[must_use]
    pub fn waits(&self, provider: &Provider) -> Option<(CandidateModule, Held)> {
        let (preview, held) = self.verdict(provider)?;
        let candidate = CandidateModule {
            version: self.version.number().to_owned(),
            digest: self.version.digest().to_owned(),
            approval: self.version.id().approval(),
            changes: Some(preview.changes),
        };
        // It may take over, and does not serve yet: what it waits for, another condition says.
        held.map(|held| (candidate, held))
    }

    /// What the upgrade to it would change, to be shown; `None` as long as that is not known.
    #[must_use]
    pub fn plan(&self, provider: &Provider, active: Option<&Version>) -> Option<UpgradePlan> {
        let (preview, _) = self.found.as_ref()?;
        Some(UpgradePlan {
            active: active.map(Version::active_module).or_else(|| provider.status.active.clone()),
            candidate: self.version.active_module(),
            approval: self.version.id().approval(),
            crds: self.crds.iter().flat_map(|crds| crds.iter()).map(ToString::to_string).collect(),
            rights: self.rights(provider).to_vec(),
            preview: (**preview).clone(),
        })
    }
}

/// What of the CRDs of a module does not fit those of the one before it.
fn unfit(before: &ModuleInfo, next: &ModuleInfo) -> Arc<[Incompatibility]> {
    let name = |crd: &Value| crd.pointer("/metadata/name").cloned();
    let olds = before.manifest.crds.iter();
    let pairs = olds.filter_map(|old| Some((old, next.manifest.crds.iter().find(|new| name(new) == name(old))?)));
    pairs.flat_map(|(old, new)| incompatibilities(old, new)).chain(dropped(&before.owned(), next)).collect()
}

/// Those of the kinds that a version owned, as far as a status says it, that another module would leave alone.
fn dropped_since(active: &ActiveModule, next: &ModuleInfo) -> Vec<Incompatibility> {
    if active.owns.is_empty() {
        let message = format!("the host does not know which kinds version {} served", active.version);
        return vec![Incompatibility::of_all(message)];
    }
    dropped(&active.owns, next)
}

/// Those of the owned kinds that another module would leave alone.
fn dropped(owned: &[GroupKind], next: &ModuleInfo) -> Vec<Incompatibility> {
    let owns = next.owned();
    let dropped = owned.iter().filter(|kind| !owns.contains(kind));
    dropped.map(|kind| Incompatibility::of_all(format!("{kind} would no longer be served"))).collect()
}
