//! What must hold after each reconcile, and at each fixed point: nothing is touched that is not owned; nothing is written to a state that
//! was not observed, or that an answer with `hold`, or a refused one, lists; nothing is pruned, and no wave is written, before its time;
//! a teardown goes from the last wave to the first, and the parent goes last; and the status says whether all is as the provider wants it.

use std::collections::BTreeMap;

use bartizan_contract::ReconcileResponse;
use bartizan_engine::gate::Answer;
use bartizan_engine::reconcile::Effect;
use bartizan_engine::{ObjectKey, Observed};
use bartizan_simulation::Host;
use serde_json::Value;

use crate::world::{
    FINALIZER, blocked, check_trace, gated, is_owned_by, manager, may_be_applied_for, observe, observe_as,
};

/// All objects of a cluster.
pub(super) type Objects = BTreeMap<ObjectKey, Value>;

/// One provider, and a parent.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) provider: &'static str,
    pub(super) parent: &'a ObjectKey,
    pub(super) uid: &'static str,
}

impl Scope<'_> {
    /// The children that end with the parent.
    fn doomed(self, objects: &Objects) -> impl Iterator<Item = Observed> {
        let children = objects.values().filter(|object| is_child(object));
        let known = children.map(move |object| observe_as(object, &manager(self.provider)));
        known.filter(move |child| is_owned_by(child, self.provider, self.uid) && child.marks.retained_for.is_none())
    }

    /// Whether the parent is being deleted, and is still there for its provider.
    fn is_held_by_finalizer(self, objects: &Objects) -> bool {
        let parent = objects.get(self.parent).map(observe);
        parent
            .is_some_and(|parent| parent.deleting && parent.finalizers.iter().any(|finalizer| *finalizer == *FINALIZER))
    }

    /// The lowest wave of a child that cannot be applied now, by what the host knows.
    pub(super) fn blocked(self, host: &Host, answer: &ReconcileResponse) -> Option<u32> {
        blocked(host, self.provider, self.uid, &wanted(answer, self.uid)?)
    }

    /// Checks the effects of a reconcile that began and ended with these objects.
    ///
    /// # Errors
    /// If they do harm.
    pub(super) fn check(
        self,
        trace: &[(Effect, bool)],
        (before, after): (&Objects, &Objects),
        asked: Option<(&ReconcileResponse, Option<u32>)>,
    ) -> Result<(), String> {
        match asked.map(|(answer, blocked)| (wanted(answer, self.uid), blocked)) {
            None => check_trace(trace, &[], None)?,
            Some((Some(answer), blocked)) => check_trace(trace, &answer.keep.into_iter().collect::<Vec<_>>(), blocked)?,
            Some((None, _)) => {
                let mut keys = trace.iter().filter_map(|(effect, _)| written(effect));
                if let Some(key) = keys.find(|key| *key != self.parent) {
                    return Err(format!("{key} is written by an answer that holds or is refused"));
                }
            }
        }
        if !self.is_held_by_finalizer(before) {
            return Ok(());
        }
        let last = self.doomed(before).map(|child| child.marks.wave).max();
        for (effect, is_done) in trace {
            if let Effect::Delete { delete, .. } = effect
                && *is_done
                && last.is_some_and(|last| last != delete.wave)
            {
                return Err(format!("{} is deleted before wave {last:?}", delete.key));
            }
        }
        if !self.is_held_by_finalizer(after)
            && let Some(child) = self.doomed(after).next()
        {
            return Err(format!("the parent was let go before {}", child.key));
        }
        Ok(())
    }

    /// Checks that a fixed point with this answer is what the status says.
    ///
    /// # Errors
    /// If it is not.
    pub(super) fn check_said(self, objects: &Objects, answer: &ReconcileResponse) -> Result<(), String> {
        let Some(parent) = objects.get(self.parent).filter(|parent| !observe(parent).deleting) else { return Ok(()) };
        let is_met = wanted(answer, self.uid).is_some_and(|answer| self.is_met(objects, &answer));
        let conditions = parent["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let synced = conditions.iter().find(|condition| condition["type"] == "Synced").cloned().unwrap_or_default();
        let expected = if is_met { "True" } else { "False" };
        if synced["status"] != expected || synced["observedGeneration"] != parent["metadata"]["generation"] {
            return Err(format!("Synced should be {expected}, of {}: {synced}", parent["metadata"]));
        }
        Ok(())
    }

    /// Whether all children are as the answer says, and there are no others.
    fn is_met(self, objects: &Objects, answer: &Answer) -> bool {
        let observe = |object: &Value| observe_as(object, &manager(self.provider));
        let is_there = |key: &ObjectKey, content: &Value| {
            let live = objects.get(key).filter(|live| live["data"]["content"] == content["data"]["content"]);
            live.map(observe).is_some_and(|live| may_be_applied_for(&live, self.provider, self.uid))
        };
        let is_meant =
            |key: &ObjectKey| answer.intents.iter().any(|intent| intent.key == *key) || answer.keep.contains(key);
        let children = objects.values().filter(|object| is_child(object)).map(observe);
        let mut owned = children.filter(|child| is_owned_by(child, self.provider, self.uid));
        answer.intents.iter().all(|intent| is_there(&intent.key, &intent.object))
            && owned.all(|child| is_meant(&child.key))
    }
}

/// What an answer wants to be written; none if it holds, or if the gate refuses it.
fn wanted(answer: &ReconcileResponse, uid: &str) -> Option<Answer> {
    gated(answer.clone(), uid).filter(|answer| !answer.hold)
}

/// The object that an effect writes; a status and an event are none.
fn written(effect: &Effect) -> Option<&ObjectKey> {
    match effect {
        Effect::Apply { apply, .. } | Effect::ClaimItems { apply, .. } => Some(&apply.intent.key),
        Effect::Adopt(live) => Some(&live.key),
        Effect::Patch(patch) => Some(&patch.key),
        Effect::Delete { delete, .. } => Some(&delete.key),
        Effect::Call(_)
        | Effect::ReadNamespace(_)
        | Effect::ListChildren
        | Effect::Get { .. }
        | Effect::FindParent(_)
        | Effect::TryCreate { .. }
        | Effect::ReadAddress(_)
        | Effect::ApplyStatus { .. }
        | Effect::SendEvent(_) => None,
    }
}

pub(super) fn is_child(object: &Value) -> bool {
    object["kind"] != "ObjectStore"
}
