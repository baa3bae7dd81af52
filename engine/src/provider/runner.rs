//! The controller of a Provider, as it was started and as far as it has reported.

use std::time::{Duration, Instant};

use bartizan_contract::GroupKind;
use bartizan_contract::provider::{ModuleSource, OnRemoval, ProviderSpec, Upgrade};
use serde_json::Map;

use super::claims::Claim;
use super::event::{Readiness, RunId};
use super::module::ModuleInfo;
use super::version::{Version, VersionId};

/// How long a controller may take to start before the status says that it does not serve.
pub const STARTING: Duration = Duration::from_secs(10);

/// What decides whether a controller must start anew, beside its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// UID of the Provider.
    pub uid: Option<String>,
    /// What of the spec it serves with as long as it runs.
    pub spec: ProviderSpec,
    /// What others claim of the kinds that it claims.
    pub others: Vec<Claim>,
}

/// A controller that was started, and not stopped since.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Which run.
    pub run: RunId,
    /// What it was started for.
    pub key: Key,
    /// When.
    pub since: Instant,
    /// The version that it serves with as soon as it can.
    pub version: Version,
    /// Another one that it was asked to preview.
    pub previews: Option<VersionId>,
    /// Whether the run before it serves until this one can.
    pub takes_over: bool,
    /// Whether it began to serve.
    pub has_begun: bool,
    /// Whether it was reported on since [`STARTING`] passed.
    pub is_past_start: bool,
}

/// What controllers reported last of a Provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// How ready it is; `None`: nothing is known.
    pub readiness: Option<Readiness>,
    /// How its account can read the host's own Secrets, for which it does not start.
    pub reads_host: Option<(RunId, String)>,
    /// Why calls are suspended.
    pub breaker: Option<String>,
    /// Why the next version cannot take over yet, while the one before serves.
    pub held: Option<String>,
    /// How many parents it serves.
    pub parents: Option<usize>,
    /// The status of how many parents cannot be written, and one of them with the reason; `None`: not known yet.
    pub status_blocked: Option<(usize, String)>,
    /// How many parents need a right that the account lacks, and one of them with the right.
    pub denied: Option<(usize, String)>,
    /// Fields that a status must have.
    pub status_requires: Option<String>,
    /// What the CRDs of the cluster lack of the module's own.
    pub crds_lack: Option<String>,
    /// Kinds of an earlier version of which nothing is left.
    pub vacated: Vec<GroupKind>,
    /// Why children that an earlier version wrote are left alone.
    pub left_alone: Option<String>,
}

impl Reported {
    /// Nothing keeps the next version from starting any more, as far as is known.
    pub fn nothing_holds(&mut self) {
        (self.held, self.reads_host) = (None, None);
    }
}

impl Runner {
    /// Whether it has had no time yet to start.
    #[must_use]
    pub fn is_starting(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < STARTING
    }
}

/// What of a spec a version serves with as long as it serves. The version itself, and how it comes and goes, is no part of that.
#[must_use]
pub fn lasting(spec: &ProviderSpec) -> ProviderSpec {
    ProviderSpec {
        module: ModuleSource::default(),
        settings: Map::new(),
        upgrade: Upgrade::default(),
        on_removal: OnRemoval::default(),
        ..spec.clone()
    }
}

/// What others claim of the kinds that a module owns: nothing else makes a difference to whom a parent belongs.
#[must_use]
pub fn others(name: &str, module: &ModuleInfo, claims: &[Claim]) -> Vec<Claim> {
    let owned: Vec<GroupKind> = module.owned();
    let overlaps = |claim: &&Claim| claim.provider() != name && claim.kinds().any(|kind| owned.contains(&kind));
    claims.iter().filter(overlaps).cloned().collect()
}
