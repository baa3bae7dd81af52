//! Previews of candidates: the actor calls them for one parent after another, between its own reconciles.

use std::sync::Arc;
use std::time::Instant;

use bartizan_contract::Reason;
use bartizan_engine::ParentUid;
use bartizan_engine::phase;
use bartizan_engine::preview::{self, NoPrediction, Outlook, Prediction};
use bartizan_engine::provider::event::ControllerEvent;
use bartizan_engine::related::References;
use bartizan_engine::snapshot::{Question, Snapshot, Supplied};
use bartizan_engine::status;
use tokio::task::JoinError;
use tracing::{error, info};

use super::Controller;
use super::previewing::{Asked, Looked, Previewing};
use crate::catalog::Runnable;
use crate::reconcile::dry_run::Look;
use crate::telemetry::timestamp;

impl Controller {
    /// Starts the preview of a candidate; `None` ends it.
    pub(super) fn preview(&mut self, candidate: Option<&Runnable>) {
        self.previewing = candidate.map(|candidate| {
            let shared = self.shared.with(candidate);
            Previewing::new(candidate.version.id(), Arc::new(shared), Some(self.shared.clone()))
        });
    }

    /// Continues the preview. One call at a time: reconciles have priority.
    pub(super) fn go_on_previewing(&mut self) {
        let Some(mut previewing) = self.previewing.take() else { return };
        if self.index.is_synced() && previewing.looking.is_empty() {
            if previewing.started.is_none() {
                previewing.started = Some(Instant::now());
                previewing.waiting = self.index.parent_uids().cloned().collect();
            }
            while previewing.looking.is_empty()
                && let Some(uid) = self.next_to_preview(&mut previewing)
            {
                if let Some((snapshot, question)) = self.look_at(&uid) {
                    previewing.look(uid, snapshot, question, Asked::Candidate);
                }
            }
            if previewing.looking.is_empty() && previewing.waiting.is_empty() {
                self.tell(previewing);
                return;
            }
        }
        self.previewing = Some(previewing);
    }

    /// The references of a parent whose objects are known. What was not read yet is read for the preview.
    fn known_references(&self, uid: &ParentUid) -> References {
        if self.index.is_being_listed(uid) { References::new() } else { self.index.references(uid) }
    }

    /// The next parent whose children and descendants are known; the others wait.
    fn next_to_preview(&self, previewing: &mut Previewing) -> Option<ParentUid> {
        let next = previewing.waiting.iter().position(|uid| self.index.knows_children(uid))?;
        previewing.waiting.remove(next)
    }

    /// The snapshot of a parent, and what its provider would be asked about it, as if it were not paused; `None` if it would not be
    /// asked.
    fn look_at(&self, uid: &ParentUid) -> Option<(Snapshot, Question)> {
        let references = self.known_references(uid);
        let snapshot = self.snapshot(uid, Supplied { references, ..Supplied::default() })?;
        // What this Provider lets go of, no version of it changes.
        if snapshot.left.is_some() {
            return None;
        }
        let context = &self.shared.context;
        let question = phase::question(&snapshot.parent, &context.name, context.finalizes)?;
        Some((snapshot, question))
    }

    pub(super) fn looked(&mut self, looked: Result<Looked, JoinError>) {
        let Some(mut previewing) = self.previewing.take() else { return };
        match looked {
            Ok(Looked { uid, mut snapshot, question, asked, look: Look::More(mut supplied) }) => {
                supplied.objects = Vec::new();
                snapshot.supplied = supplied;
                previewing.look_with_more(uid, snapshot, question, asked);
            }
            Ok(Looked { uid, snapshot, question, asked, look: Look::Prediction(prediction) }) => {
                self.compare(&mut previewing, uid, snapshot, question, asked, prediction);
            }
            Err(error) => {
                error!(provider = self.shared.provider(), "a preview ended unexpectedly: {error}");
                if let Some(key) = &previewing.asked_about {
                    let message = "the host could not ask about it".to_owned();
                    previewing.preview.add(key, Outlook::Unknown(NoPrediction { reason: Reason::HostError, message }));
                }
            }
        }
        self.previewing = Some(previewing);
    }

    fn compare(
        &self,
        previewing: &mut Previewing,
        uid: ParentUid,
        mut snapshot: Snapshot,
        question: Question,
        asked: Asked,
        prediction: Result<Prediction, NoPrediction>,
    ) {
        let key = snapshot.parent.key.clone();
        let outlook = match asked {
            Asked::Candidate if prediction.as_ref().is_ok_and(|prediction| prediction.plan.is_settled()) => {
                Outlook::Changes(Vec::new())
            }
            Asked::Candidate if previewing.active.is_some() => {
                let references = self.known_references(&uid);
                let objects = self.index.related(&references);
                snapshot.supplied = Supplied { references, objects, ..Supplied::default() };
                previewing.look(uid, snapshot, question, Asked::Active(Box::new(prediction)));
                return;
            }
            Asked::Candidate => {
                preview::outlook_alone(prediction, status::last_reason(&snapshot.parent), &snapshot.children)
            }
            Asked::Active(candidate) => preview::outlook(*candidate, prediction, &snapshot.children),
        };
        previewing.preview.add(&key, outlook);
    }

    fn tell(&mut self, previewing: Previewing) {
        let Previewing { id, candidate, started, mut preview, .. } = previewing;
        preview.finish(&timestamp::now());
        info!(
            provider = self.shared.provider(),
            version = candidate.context.version,
            parents = preview.looked_at,
            changed = preview.changes.parents,
            failing = preview.changes.fail,
            unknown = preview.changes.unknown,
            seconds = started.map_or(0.0, |started| started.elapsed().as_secs_f64()),
            "asked another version what it would change"
        );
        self.reporter.report(ControllerEvent::Previewed { id, preview });
    }
}
