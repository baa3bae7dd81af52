//! What a reconcile works on, and what it leaves behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_contract::{Kind, ProviderEvent};
use bartizan_engine::breaker::Called;
use bartizan_engine::object::Hash;
use bartizan_engine::queue::Finished;
use bartizan_engine::related::References;
use bartizan_engine::status::Outcome;
use bartizan_engine::write_loop::Restless;
use bartizan_engine::{Delete, Grants, Memory, ObjectKey, Observed, Plan};
use bartizan_runtime::{Limits, Module};
use serde_json::Value;

use crate::kubernetes::events::Events;
use crate::kubernetes::writer::Writer;
use crate::reconcile::call_pool::Calls;
use crate::reconcile::executor::Executed;
use crate::telemetry::explain::Explained;
use crate::telemetry::observer::Observer;
use crate::version::Version;

/// What all reconciles of one provider share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// Name of the provider.
    pub(crate) provider: String,
    /// Version of its module.
    pub(crate) version: String,
    /// Its code.
    pub(crate) module: Module,
    /// Digest of its code.
    pub(crate) digest: Arc<str>,
    /// Settings that the administrator gave.
    pub(crate) settings: Arc<Value>,
    /// Bounds of one call.
    pub(crate) limits: Limits,
    /// Most children in one answer.
    pub(crate) max_children: usize,
    /// Most reconciles at the same time.
    pub(crate) concurrency: usize,
    /// What it may write and read.
    pub(crate) grants: Grants,
    /// Whether it is asked before a parent goes.
    pub(crate) finalizes: bool,
    /// Name of the host's finalizer on its parents.
    pub(crate) finalizer: String,
    /// Kinds of its children.
    pub(crate) child_kinds: Vec<Kind>,
    /// Kinds that it may ever have written: those of its children, and those that an earlier version declared.
    pub(crate) written_kinds: Vec<Kind>,
    /// Kinds that it sees below its children.
    pub(crate) descendant_kinds: Vec<Kind>,
    /// Kinds that it may ask to see.
    pub(crate) related_kinds: Vec<Kind>,
    /// Version of the API server.
    pub(crate) cluster_version: String,
    /// Where to write.
    pub(crate) writer: Writer,
    /// Where to tell people.
    pub(crate) events: Events,
    /// Room for calls, shared with all providers.
    pub(crate) calls: Calls,
}

impl Shared {
    /// The same provider with another version.
    pub(crate) fn with(&self, version: &Version) -> Self {
        Self {
            version: version.number().to_owned(),
            module: version.loaded.module.clone(),
            digest: version.digest().into(),
            settings: version.given(),
            ..self.clone()
        }
    }
}

/// The snapshot that one reconcile works on.
pub(crate) struct Job {
    /// The parent.
    pub(crate) parent: Arc<Observed>,
    /// Its kind, and whether a status can be written.
    pub(crate) kind: Kind,
    /// Whether the parent's kind has a status subresource.
    pub(crate) has_status: bool,
    /// Its children.
    pub(crate) children: Vec<Arc<Observed>>,
    /// What lives below them.
    pub(crate) descendants: Vec<Arc<Observed>>,
    /// What the provider asked to see, and what of it exists.
    pub(crate) supplied: Supplied,
    /// Optional kinds, and whether the cluster serves each.
    pub(crate) optional_kinds: BTreeMap<String, bool>,
    /// Children whose last write was not answered: what became of it must be read first.
    pub(crate) unsure: Vec<(Kind, ObjectKey)>,
    /// What is kept between reconciles.
    pub(crate) kept: Kept,
    /// Who counts and records.
    pub(crate) observer: Observer,
}

/// Related objects of one round.
#[derive(Clone, Default)]
pub(crate) struct Supplied {
    /// What was asked for.
    pub(crate) references: References,
    /// What of it exists.
    pub(crate) objects: Vec<Arc<Observed>>,
    /// Calls of this decision before this one.
    pub(crate) round: usize,
    /// Where the references come from.
    pub(crate) origin: Origin,
}

/// Where the references of a round come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the last decision: what it saw is most often what this one asks for.
    #[default]
    Memory,
    /// From this decision's own rounds, which began with nothing.
    Rounds,
}

/// What the host keeps of a parent between two reconciles.
#[derive(Default)]
pub(crate) struct Kept {
    /// What was last written.
    pub(crate) memory: Memory,
    /// Hash of the last request whose plan was executed completely, and the digest of the module that answered it.
    pub(crate) settled: Option<(Hash, Arc<str>)>,
    /// When the provider wants to be asked again, whatever happens.
    pub(crate) resync_at: Option<Instant>,
    /// Events of the last answer: what is said again is not told again. `None` before the first.
    pub(crate) told: Option<Vec<ProviderEvent>>,
    /// Whether its decisions lead to nothing but the next ones.
    pub(crate) restless: Restless,
}

/// What is to happen next.
pub(crate) enum Next {
    /// The queue is told.
    Finish(Finished),
    /// Ask again at once, with this in the request.
    Supply(Supplied),
}

/// What a reconcile leaves behind.
pub(crate) struct Report {
    /// What is to happen next.
    pub(crate) next: Next,
    /// What the parent refers to from now on.
    pub(crate) references: References,
    /// What is kept for the next reconcile.
    pub(crate) kept: Kept,
    /// Objects as the API server answered them: newer than the cache.
    pub(crate) observed: Vec<Observed>,
    /// Children that were deleted.
    pub(crate) deleted: Vec<Delete>,
    /// Children whose write was not answered.
    pub(crate) unsure: Vec<(Kind, ObjectKey)>,
    /// Names that others hold.
    pub(crate) wanted: Vec<ObjectKey>,
    /// Why it was called or not, and what came of it.
    pub(crate) explained: Option<Explained>,
    /// Whether the provider was asked, and answered.
    pub(crate) called: Called,
}

/// What came of one decision, before the status is written.
pub(crate) struct Decision {
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// The provider's status; `None` if it did not answer, or not acceptably.
    pub(crate) answered: Option<Option<Value>>,
    /// Whether it must be made again.
    pub(crate) retry: Retry,
    /// When the provider wants to be asked again.
    pub(crate) resync: Option<Duration>,
    /// Events that the provider wants told.
    pub(crate) events: Vec<ProviderEvent>,
    /// What was to be done.
    pub(crate) plan: Plan,
    /// What was done.
    pub(crate) executed: Executed,
    /// Whether the provider was asked, and answered.
    pub(crate) called: Called,
}

/// Whether a decision must be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Not before something changes.
    No,
    /// A race was lost: soon, and it is no failure.
    LostRace,
    /// It failed: after the given time, or after the backoff.
    After(Option<Duration>),
    /// It failed: after the backoff, which is no longer than this.
    Within(Duration),
}

impl Decision {
    /// An end without a plan.
    pub(crate) fn new(outcome: Outcome, retry: Retry) -> Self {
        Self {
            outcome,
            answered: None,
            retry,
            resync: None,
            events: Vec::new(),
            plan: Plan::default(),
            executed: Executed::default(),
            called: Called::No,
        }
    }

    /// A failure, for the conditions and the queue.
    pub(crate) fn failed(reason: &'static str, message: String, stalled: bool, retry: Retry) -> Self {
        Self::new(Outcome::Failed { reason, message, stalled }, retry)
    }
}
