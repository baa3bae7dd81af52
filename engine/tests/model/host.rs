//! The host of the model: an index, a memory, and what is done with a plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use bartizan_contract::Kind;
use bartizan_engine::gate::Answer;
use bartizan_engine::index::Kinds;
use bartizan_engine::plan::{self, PlanInput};
use bartizan_engine::takeover::{self, Takeover};
use bartizan_engine::{Fence, FinalizerStep, Index, Intent, Memory, ObjectKey, Observed, Plan};

use super::{Event, OURS, PROVIDER, Server, observe, parent};

/// The host of one parent.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) index: Index,
    pub(crate) memory: Memory,
    delivered: usize,
}

impl Default for Host {
    fn default() -> Self {
        let kinds = Kinds { parents: vec![Kind::new("minio.rook.io", "v1alpha1", "ObjectStore")], ..Kinds::default() };
        Self { index: Index::new(PROVIDER, kinds, BTreeSet::new()), memory: Memory::default(), delivered: 0 }
    }
}

impl Host {
    /// Its watches deliver so many events more.
    pub(crate) fn deliver(&mut self, server: &Server, events: usize) {
        for event in server.events.iter().skip(self.delivered).take(events) {
            self.delivered += 1;
            match event.clone() {
                Event::Seen(object) => self.index.apply(*object),
                Event::Gone(object) => self.index.delete(&object.key, &object.uid, &object.resource_version),
            };
        }
    }

    /// What it would do now.
    pub(crate) fn plan(&self, answer: &Answer) -> Plan {
        plan::plan(&PlanInput {
            provider: PROVIDER,
            parent: &parent(),
            intents: &answer.intents,
            children: &self.index.children(OURS),
            keep: &answer.keep,
            memory: &self.memory,
            finalizer: FinalizerStep::Keep,
        })
    }

    /// One decision, executed as far as the server lets it.
    pub(crate) fn round(&mut self, server: &mut Server, answer: &Answer) -> Plan {
        let plan = self.plan(answer);
        let applied: BTreeSet<&ObjectKey> = plan.applies.iter().map(|apply| &apply.intent.key).collect();
        let going =
            plan.deletes.iter().map(|delete| &delete.key).chain(plan.releases.iter().map(|step| &step.child.key));
        for key in going {
            assert!(!applied.contains(key), "{key} is applied and goes in one round");
            assert!(!answer.keep.contains(key), "{key} is to be kept and goes");
        }
        let mut complete = plan.taken.is_empty();
        for wave in plan.waves() {
            for apply in wave {
                complete &= self.apply(server, &apply.intent, &apply.fence);
            }
            if !complete && plan.taken.is_empty() {
                break;
            }
        }
        if complete {
            self.finish(server, &plan);
        }
        plan
    }

    /// Whether the child is as meant now.
    fn apply(&mut self, server: &mut Server, intent: &Intent, fence: &Fence) -> bool {
        if let Ok(observed) = server.apply(intent, fence) {
            self.memory.remember(observed.key.clone(), intent.hash.clone(), observed.digest);
            self.index.apply(observed);
            return true;
        }
        let Some(live) = server.live(&intent.key).filter(|_| *fence == Fence::CreateOnly) else { return false };
        match takeover::decide(&live, &parent(), PROVIDER) {
            Takeover::RestoreLabels => self.index.apply(server.label(&live, false)),
            Takeover::Adopt => self.index.apply(server.label(&live, true)),
            Takeover::Wait => self.index.apply(live),
            Takeover::NameTaken { .. } => return false,
        };
        false
    }

    fn finish(&mut self, server: &mut Server, plan: &Plan) {
        for release in &plan.releases {
            let _ = server.release(release);
        }
        for delete in &plan.deletes {
            let _ = server.delete(delete);
        }
    }

    /// One step of a parent's end, over what is there now.
    pub(crate) fn teardown(&mut self, server: &mut Server) -> Plan {
        let live: Vec<Arc<Observed>> = server
            .objects()
            .values()
            .map(observe)
            .filter(|object| object.is_child_of(OURS, PROVIDER))
            .map(Arc::new)
            .collect();
        let plan = plan::teardown(PROVIDER, &parent(), &live);
        self.finish(server, &plan);
        plan
    }
}
