//! The input of one reconcile: the provider's configuration, the observed state of one parent and the objects around it, and
//! what the host remembers of it. Plain data, from which the request to the provider is built.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bartizan_contract::{Kind, ProviderEvent};
use serde_json::Value;

use crate::api_error::ApiError;
use crate::contest::Contest;
use crate::gate::GateInput;
use crate::grants::Grants;
use crate::object::{Hash, ObjectKey, Observed};
use crate::plan::{FinalizerStep, Memory};
use crate::related::References;
use crate::request::{self, RequestInput};
use crate::secrets::Revealed;
use crate::status::Outcome;
use crate::status_shape::StatusShape;
use crate::write_loop::WriteLoop;

/// What all reconciles of one provider share.
#[derive(Clone, Debug, Default)]
pub struct ProviderContext {
    /// Name of the provider.
    pub name: String,
    /// Version of its module.
    pub version: String,
    /// Digest of its module.
    pub digest: Arc<str>,
    /// Settings from the Provider's spec.
    pub settings: Arc<Value>,
    /// Maximum number of children in one answer.
    pub max_children: usize,
    /// What it may write and read.
    pub grants: Grants,
    /// Whether it finalizes parents that are being deleted.
    pub finalizes: bool,
    /// Whether `Ready` stays as it reports it while `Synced` is not true.
    pub keeps_ready: bool,
    /// Name of the host's finalizer on its parents.
    pub finalizer: String,
    /// Kinds of its children.
    pub child_kinds: Vec<Kind>,
    /// Kinds that it may have written: those of its children, and those that an earlier version declared.
    pub written_kinds: Vec<Kind>,
    /// Kinds of the descendants that it observes.
    pub descendant_kinds: Vec<Kind>,
    /// Kinds of related objects that it may request.
    pub related_kinds: Vec<Kind>,
    /// Version of the API server.
    pub cluster_version: String,
}

/// The observed state on which one decision is based.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The parent.
    pub parent: Arc<Observed>,
    /// Its kind, at the version at which it is read and written.
    pub kind: Kind,
    /// What room its kind has for a status.
    pub status: Arc<StatusShape>,
    /// Its children.
    pub children: Vec<Arc<Observed>>,
    /// Their descendants.
    pub descendants: Vec<Arc<Observed>>,
    /// The related objects that the provider requested, as far as they exist.
    pub supplied: Supplied,
    /// Optional kinds, as `Kind.group`, and whether the cluster serves each.
    pub optional_kinds: BTreeMap<String, bool>,
    /// Set if the provider does not claim the parent any more.
    pub left: Option<Left>,
    /// Set if children, descendants or related objects could not be read: the provider must not be asked without them.
    pub unread: Option<Unread>,
}

/// Objects around a parent that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Which, for people, as in `the children of Store default/a`.
    pub what: String,
    /// Why.
    pub error: ApiError,
}

/// A parent that has left the claim of its provider, by a label, a selector or a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The provider that claims it now; `None`: nobody does.
    pub successor: Option<String>,
}

/// Related objects of one round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Supplied {
    /// The requested references.
    pub references: References,
    /// The referenced objects that exist.
    pub objects: Vec<Arc<Observed>>,
    /// Calls of this decision before this one.
    pub round: usize,
    /// Where the references come from.
    pub origin: Origin,
}

/// Where the references of a round come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// From the previous decision, which most often requested the same.
    #[default]
    Memory,
    /// From the earlier rounds of this decision, which started with none.
    Rounds,
}

/// What a provider is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The desired children.
    Serve(FinalizerStep),
    /// What remains to be done before the parent is deleted.
    Finalize {
        /// Whether the parent's namespace is being deleted, with everything in it.
        namespace_terminating: bool,
    },
}

impl Question {
    /// Whether the provider is asked to finalize the parent.
    #[must_use]
    pub fn finalizing(self) -> bool {
        matches!(self, Self::Finalize { .. })
    }

    /// Whether the parent's namespace is being deleted.
    #[must_use]
    pub fn namespace_terminating(self) -> bool {
        self == Self::Finalize { namespace_terminating: true }
    }
}

/// What the host keeps for a parent between two reconciles.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// What was last written.
    pub memory: Memory,
    /// The last request whose plan was executed completely.
    pub settled: Option<Settled>,
    /// When the next resync is due.
    pub resync_at: Option<Instant>,
    /// Events of the last answer, which are not sent again. `None` before the first answer.
    pub events_sent: Option<Vec<ProviderEvent>>,
    /// Detects decisions that only trigger the next one.
    pub write_loop: WriteLoop,
    /// Children that another writer keeps changing.
    pub contest: Contest,
    /// Reconciles in a row in which the write of one object met a conflict.
    pub conflicts: Option<Conflicts>,
    /// The last status that was written, and what the API server stored.
    pub status: Option<WrittenStatus>,
    /// Decisions in a row that wrote the status.
    pub status_writes: u32,
    /// Types of the conditions that the provider gave when the status was written last.
    pub condition_types: Vec<String>,
    /// The failure that people were told by an event, since it could not be written into the status, and that has not ended.
    pub told: Option<Outcome>,
    /// How the last decision ended.
    pub outcome: Option<Outcome>,
}

/// Conflicts that the write of one object met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts {
    /// The object.
    pub key: ObjectKey,
    /// Digest of the parent: after an edit the count starts again.
    pub parent: Hash,
    /// Reconciles in a row.
    pub count: u32,
}

/// A status that was written. What the API server makes of it may differ: it prunes, defaults and converts. A difference that it
/// made itself is no reason to write again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenStatus {
    /// Digest of what was sent.
    pub sent: Hash,
    /// Digest of the host's part of the status that came back.
    pub stored: Hash,
}

/// A request whose plan was executed completely, and the module that answered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// SHA-256 of the request.
    pub request: Hash,
    /// Digest of the module.
    pub module: Arc<str>,
}

impl Snapshot {
    /// The request about the parent.
    #[must_use]
    pub fn request(&self, context: &ProviderContext, question: Question) -> Vec<u8> {
        let children: Vec<&Observed> = self.children.iter().map(AsRef::as_ref).collect();
        let descendants: Vec<&Observed> = self.descendants.iter().map(AsRef::as_ref).collect();
        let related: Vec<&Observed> = self.supplied.objects.iter().map(AsRef::as_ref).collect();
        request::build(&RequestInput {
            provider: &context.name,
            provider_version: &context.version,
            settings: &context.settings,
            cluster_version: &context.cluster_version,
            optional_kinds: &self.optional_kinds,
            parent: &self.parent,
            child_kinds: &context.child_kinds,
            children: &children,
            descendant_kinds: &context.descendant_kinds,
            descendants: &descendants,
            related_kinds: &context.related_kinds,
            related: &related,
            finalizing: question.finalizing(),
            namespace_terminating: question.namespace_terminating(),
        })
    }

    /// The values behind the tokens of the request.
    #[must_use]
    pub fn issued(&self) -> Revealed {
        let mut issued = Revealed::default();
        let objects = std::iter::once(&self.parent).chain(&self.children).chain(&self.descendants);
        for object in objects.chain(&self.supplied.objects) {
            issued.extend(&object.revealed);
        }
        issued
    }

    /// The bounds for the answer.
    pub(crate) fn gate_input<'a>(
        &'a self,
        context: &'a ProviderContext,
        issued: &'a Revealed,
        question: Question,
    ) -> GateInput<'a> {
        GateInput {
            provider: &context.name,
            grants: &context.grants,
            parent: &self.parent,
            children: &self.children,
            max_children: context.max_children,
            finalizes: context.finalizes,
            finalizing: question.finalizing(),
            issued,
        }
    }
}
