//! What happens to Providers, and what is to be done about it: the inputs and outputs of the fleet.

use std::sync::Arc;
use std::time::Instant;

use bartizan_contract::provider::{ActiveModule, EffectiveLimits, Provider, ProviderStatus};
use bartizan_contract::{GroupKind, Kind, ProviderEvent, Reason};

use super::claims::Claim;
use super::declaration::{Declaration, DeclaredModule, FolderNote};
use super::source::{Snapshot, Wanted};
use super::upgrade_plan::{Preview, UpgradePlan};
use super::version::{Version, VersionId};
use crate::crd_compat::Incompatibility;

/// One run of a controller, from start to stop. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// A moment: on the clock of timers, and as RFC 3339 for people.
#[derive(Clone, Debug)]
pub struct Now {
    /// For timers.
    pub instant: Instant,
    /// For conditions.
    pub time: String,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The catalog published what it holds; and what the folder declares of each of its modules, by file.
    Catalog(Snapshot, Vec<DeclaredModule>),
    /// These Providers exist, and no others.
    Listed(Vec<Provider>),
    /// A Provider was created or changed.
    Applied(Box<Provider>),
    /// The Provider with this name is gone.
    Deleted(String),
    /// A controller reports.
    Controller {
        /// Name of the Provider.
        provider: String,
        /// Which run.
        run: RunId,
        /// What it reports.
        event: ControllerEvent,
    },
    /// A Provider that the folder declares was written; or need not be (`None`).
    Declared {
        /// The module's file.
        file: String,
        /// The Provider as it is since.
        result: Result<Option<Box<Provider>>, String>,
        /// Why it does not take effect, if the Provider should say so.
        note: Option<FolderNote>,
    },
    /// A request about a Provider was answered.
    Answered {
        /// The Provider.
        target: Target,
        /// The answer.
        answer: Answer,
    },
    /// Only time passed.
    Tick,
}

/// What keeps a controller from working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// Something that is missing, or is not known yet.
    Wait,
    /// A right that its account lacks.
    Forbidden,
    /// A right that its account has: it can read the host's own Secrets.
    CanReadHost,
}

/// What controllers report.
#[derive(Clone, Debug)]
pub enum ControllerEvent {
    /// It cannot work before something happens.
    Waiting {
        /// What it waits for.
        reason: String,
        /// Of what sort that is.
        hindrance: Hindrance,
    },
    /// It takes over: from now on it alone serves. From a run that only previews: it has all it needs.
    Began,
    /// Its caches are complete, and it works.
    Serving,
    /// A watch broke: what is known of this kind may be outdated.
    WatchBroken {
        /// The kind.
        kind: Kind,
        /// Why.
        reason: String,
        /// Whether a right is missing.
        is_denied: bool,
    },
    /// So many parents are served.
    Parents(usize),
    /// Calls are suspended, since the module fails.
    BreakerOpen {
        /// What failed, and what follows.
        message: String,
    },
    /// Calls are no longer suspended.
    BreakerClosed,
    /// The status of so many parents cannot be written.
    StatusBlocked {
        /// How many; 0: of none any more.
        parents: usize,
        /// One of them, and why.
        example: String,
    },
    /// The account of the provider lacks a right that so many parents need.
    Denied {
        /// How many; 0: none any more.
        parents: usize,
        /// One of them, and what was denied.
        example: String,
    },
    /// Fields that its parents' statuses must have, by CustomResourceDefinition; `None`: none.
    StatusRequires {
        /// In words.
        fields: Option<String>,
    },
    /// What the CRDs of the cluster lack of the module's own.
    CrdsLack {
        /// In words; `None`: nothing.
        fields: Option<String>,
    },
    /// What is known of the kinds that only an earlier version wrote.
    FormerKinds {
        /// Nothing of these is left.
        vacated: Vec<GroupKind>,
        /// What is left of the others is left alone, and why; `None`: of none.
        left_alone: Option<String>,
    },
    /// CRDs of the version that is previewed were compared with those of the cluster.
    CrdsCompared(Vec<Incompatibility>),
    /// What a version would change is known.
    Previewed {
        /// The version.
        id: VersionId,
        /// What it would change.
        preview: Preview,
    },
    /// The run is over.
    Ended,
}

/// Answer to a request that an effect made.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The finalizer was put on; the Provider as it is since.
    FinalizerAdded(Result<Box<Provider>, String>),
    /// The status was written; the Provider as it is since.
    StatusWritten(Result<Box<Provider>, String>),
    /// The approval was taken off; the Provider's resource version since.
    ApprovalRemoved(Result<Option<String>, String>),
    /// A removal was tried.
    Removal(RemovalAttempt),
    /// Its parents were told that nobody serves them; so many were not, and one of them with the reason.
    Unserved(Option<(usize, String)>),
}

/// What came of an attempt to remove a Provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovalAttempt {
    /// Whether the controller was stopped for it.
    pub stopped: bool,
    /// How far it came.
    pub result: RemovalResult,
}

/// How far an attempt to remove a Provider came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemovalResult {
    /// The finalizer is off.
    Removed,
    /// So many parents exist.
    Parents(usize),
    /// It failed, and why.
    Failed(String),
}

/// Something to be done. Requests to the API server are answered by [`Event::Declared`] and
/// [`Event::Answered`].
#[derive(Clone, Debug)]
pub enum Effect {
    /// Write a Provider that the folder declares, unless it is there already.
    Declare(Box<Declaration>),
    /// Put the finalizer on a Provider.
    AddFinalizer(Target),
    /// Write a status.
    WriteStatus(Target, Box<ProviderStatus>),
    /// Tell people of a Provider. May be lost.
    Tell(Target, Vec<ProviderEvent>),
    /// Take the approval off a Provider.
    RemoveApproval(Target),
    /// Start a controller.
    Start(Box<Start>),
    /// Stop a controller that serves.
    Stop {
        /// Name of the Provider.
        provider: String,
        /// The run.
        run: RunId,
    },
    /// Stop a controller that only previews.
    StopPreview(RunId),
    /// Have a running controller serve with another version.
    Swap(RunId, Box<Version>),
    /// Tell the controllers of a Provider which version its status names now. One that serves with another version does not decide: another
    /// host may be serving, or a host that takes over would not know what served before.
    Recorded {
        /// Name of the Provider.
        provider: String,
        /// The version; `None`: the status names none.
        active: Option<Box<ActiveModule>>,
    },
    /// Have a running controller preview another version; `None`: no longer.
    Preview(RunId, Option<Box<Version>>),
    /// Show what an upgrade would change; `None`: nothing waits.
    PublishPlan {
        /// Name of the Provider.
        provider: String,
        /// What it would change.
        plan: Option<Box<UpgradePlan>>,
    },
    /// Report how ready a Provider is; `None`: it is not expected to serve.
    Report {
        /// Name of the Provider.
        provider: String,
        /// How ready it is.
        readiness: Option<Readiness>,
    },
    /// From now on every Provider is known, and was reported on.
    Known,
    /// Have the catalog get these modules, and no others.
    Request(Wanted),
    /// Try to remove a Provider that was deleted.
    Remove(Box<Remove>),
    /// Tell the parents of a Provider that nobody serves them.
    TellUnserved(Box<TellUnserved>),
    /// End that, since it is to serve again.
    EndTelling {
        /// Name of the Provider.
        provider: String,
    },
}

impl ControllerEvent {
    /// It waits for something, and no right is the matter.
    #[must_use]
    pub const fn waiting(reason: String) -> Self {
        Self::Waiting { reason, hindrance: Hindrance::Wait }
    }
}

/// The Provider that an effect is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: Option<String>,
    /// The state that was decided on: a request that changes another one is refused.
    pub resource_version: Option<String>,
}

impl Target {
    /// This Provider.
    #[must_use]
    pub fn of(provider: &Provider) -> Self {
        let metadata = provider.metadata.clone();
        Self { name: metadata.name, uid: metadata.uid, resource_version: metadata.resource_version }
    }
}

/// How ready a Provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It serves.
    Ready,
    /// It does not yet, and why.
    NotYet(String),
    /// It does not, since its account lacks a right: which one.
    Forbidden(String),
}

/// What a controller starts with.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its run.
    pub run: RunId,
    /// What was declared.
    pub provider: Provider,
    /// The version.
    pub version: Version,
    /// Its limits.
    pub limits: EffectiveLimits,
    /// Kinds that it may have written, now or at any time before.
    pub kinds: Vec<GroupKind>,
    /// What each Provider claims.
    pub claims: Arc<[Claim]>,
    /// What it is started for.
    pub purpose: Purpose,
}

/// What a controller is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To serve.
    Serve {
        /// The run whose end it waits for: a Provider has one writer.
        after: Option<RunId>,
        /// Whether that one serves until this one can; else it is stopped at once.
        takes_over: bool,
    },
    /// To look at what its version would change.
    Preview {
        /// Whether its CRDs are compared with those of the cluster, too.
        compares_crds: bool,
    },
}

/// How a Provider is removed.
#[derive(Clone, Debug)]
pub struct Remove {
    /// The Provider.
    pub provider: Provider,
    /// The kinds of its parents; `None`: nobody knows.
    pub owned: Option<Vec<GroupKind>>,
    /// What each Provider claims.
    pub claims: Arc<[Claim]>,
    /// The run that serves it, or did last.
    pub run: Option<RunId>,
}

/// Whose parents nobody serves, and why.
#[derive(Clone, Debug)]
pub struct TellUnserved {
    /// The Provider.
    pub provider: Provider,
    /// The kinds of its parents.
    pub kinds: Vec<GroupKind>,
    /// What each Provider claims.
    pub claims: Arc<[Claim]>,
    /// The run that served it last: it ends first.
    pub run: Option<RunId>,
    /// Whether `Ready` stays as the provider reported it.
    pub keeps_ready: bool,
    /// Why nobody serves them.
    pub reason: Reason,
    /// The same, for people.
    pub message: String,
}
