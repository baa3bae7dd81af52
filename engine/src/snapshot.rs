//! What one reconcile works on: the provider's facts, the state of one parent with everything around it, and what the host
//! remembers of it. Plain data; the request to the provider is made of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bartizan_contract::{Kind, ProviderEvent};
use serde_json::Value;

use crate::gate::GateInput;
use crate::grants::Grants;
use crate::object::{Hash, Observed};
use crate::plan::{FinalizerStep, Memory};
use crate::related::References;
use crate::request::{self, RequestInput};
use crate::secrets::Revealed;
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
    /// Settings that the administrator gave.
    pub settings: Arc<Value>,
    /// Most children in one answer.
    pub max_children: usize,
    /// What it may write and read.
    pub grants: Grants,
    /// Whether it is asked before a parent goes.
    pub finalizes: bool,
    /// Name of the host's finalizer on its parents.
    pub finalizer: String,
    /// Kinds of its children.
    pub child_kinds: Vec<Kind>,
    /// Kinds that it may ever have written: those of its children, and those that an earlier version declared.
    pub written_kinds: Vec<Kind>,
    /// Kinds that it sees below its children.
    pub descendant_kinds: Vec<Kind>,
    /// Kinds that it may ask to see.
    pub related_kinds: Vec<Kind>,
    /// Version of the API server.
    pub cluster_version: String,
}

/// The observed state that one decision is made on.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The parent.
    pub parent: Arc<Observed>,
    /// Its kind, at the version that it is read and written at.
    pub kind: Kind,
    /// Whether a status can be written.
    pub has_status: bool,
    /// Its children.
    pub children: Vec<Arc<Observed>>,
    /// What lives below them.
    pub descendants: Vec<Arc<Observed>>,
    /// What the provider asked to see, and what of it exists.
    pub supplied: Supplied,
    /// Optional kinds, as `Kind.group`, and whether the cluster serves each.
    pub optional_kinds: BTreeMap<String, bool>,
}

/// Related objects of one round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Supplied {
    /// What was asked for.
    pub references: References,
    /// What of it exists.
    pub objects: Vec<Arc<Observed>>,
    /// Calls of this decision before this one.
    pub round: usize,
    /// Where the references come from.
    pub origin: Origin,
}

/// Where the references of a round come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// From the last decision: what it saw is most often what this one asks for.
    #[default]
    Memory,
    /// From this decision's own rounds, which began with nothing.
    Rounds,
}

/// What a provider is asked about a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// What should exist.
    Serve(FinalizerStep),
    /// What is left to do before the parent goes.
    Finalize {
        /// Whether the parent's namespace is being deleted, with everything in it.
        namespace_terminating: bool,
    },
}

impl Question {
    /// Whether the provider is asked to finish.
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

/// What the host keeps of a parent between two reconciles.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// What was last written.
    pub memory: Memory,
    /// The last request whose plan was executed completely.
    pub settled: Option<Settled>,
    /// When the provider wants to be asked again, whatever happens.
    pub resync_at: Option<Instant>,
    /// Events of the last answer: they are not sent again. `None` before the first.
    pub events_sent: Option<Vec<ProviderEvent>>,
    /// Whether its decisions lead to nothing but the next ones.
    pub write_loop: WriteLoop,
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

    /// What stands behind the tokens of the request.
    #[must_use]
    pub fn issued(&self) -> Revealed {
        let mut issued = Revealed::default();
        let objects = std::iter::once(&self.parent).chain(&self.children).chain(&self.descendants);
        for object in objects.chain(&self.supplied.objects) {
            issued.extend(&object.revealed);
        }
        issued
    }

    /// Within which bounds the answer may be acted on.
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
