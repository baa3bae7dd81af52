//! Previews of candidates: the actor calls them for one parent after another, between its own reconciles.

use std::sync::Arc;
use std::time::Instant;

use bartizan_contract::Reason;
use bartizan_engine::ParentUid;
use bartizan_engine::phase::{self, Phase};
use bartizan_engine::preview::{self, Action, Prediction};
use bartizan_engine::provider::event::ControllerEvent;
use bartizan_engine::snapshot::{Snapshot, Supplied};
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
                && let Some(uid) = previewing.waiting.pop_front()
            {
                if let Some(snapshot) = self.look_at(&uid) {
                    previewing.look(uid, snapshot, Asked::Candidate);
                }
            }
            if previewing.looking.is_empty() {
                self.tell(previewing);
                return;
            }
        }
        self.previewing = Some(previewing);
    }

    /// The snapshot of a parent that is served; `None` if its provider would not be called.
    fn look_at(&self, uid: &ParentUid) -> Option<Snapshot> {
        let references = self.index.references(uid);
        let snapshot = self.snapshot(uid, Supplied { references, ..Supplied::default() })?;
        let context = &self.shared.context;
        let phase = phase::of(&snapshot.parent, &context.name, context.finalizes);
        matches!(phase, Phase::Serve(_)).then_some(snapshot)
    }

    pub(super) fn looked(&mut self, looked: Result<Looked, JoinError>) {
        let Some(mut previewing) = self.previewing.take() else { return };
        match looked {
            Ok(Looked { uid, mut snapshot, asked, look: Look::More(mut supplied) }) => {
                supplied.objects = self.index.related(&supplied.references);
                snapshot.supplied = supplied;
                previewing.look(uid, snapshot, asked);
            }
            Ok(Looked { uid, snapshot, asked, look: Look::Prediction(prediction) }) => {
                self.compare(&mut previewing, uid, snapshot, asked, prediction);
            }
            Err(error) => {
                error!(provider = self.shared.provider(), "a preview ended unexpectedly: {error}");
                previewing.preview.changes.fail += 1;
            }
        }
        self.previewing = Some(previewing);
    }

    fn compare(
        &self,
        previewing: &mut Previewing,
        uid: ParentUid,
        mut snapshot: Snapshot,
        asked: Asked,
        prediction: Result<Prediction, String>,
    ) {
        let key = snapshot.parent.key.clone();
        match asked {
            Asked::Candidate if prediction.as_ref().is_ok_and(|prediction| prediction.plan.is_settled()) => {
                previewing.preview.add(&key, Ok(Vec::new()));
            }
            Asked::Candidate if previewing.active.is_some() => {
                let references = self.index.references(&uid);
                let objects = self.index.related(&references);
                snapshot.supplied = Supplied { references, objects, ..Supplied::default() };
                previewing.look(uid, snapshot, Asked::Active(prediction));
            }
            Asked::Candidate => {
                let changes = prediction.map(|candidate| preview::compare(&candidate, None, &snapshot.children));
                // A parent that already fails, or whose name is already taken, is no worse off.
                let changes = match (status::last_reason(&snapshot.parent), changes) {
                    (Some(reason), Err(_)) if reason.is_of_provider() => Ok(Vec::new()),
                    (Some(Reason::NameTaken), Ok(mut changes)) => {
                        changes.retain(|change| change.action != Action::Refuse || change.because_of.is_some());
                        Ok(changes)
                    }
                    (_, changes) => changes,
                };
                previewing.preview.add(&key, changes);
            }
            Asked::Active(candidate) => {
                let changes = match (candidate, prediction) {
                    (Ok(candidate), active) => {
                        Ok(preview::compare(&candidate, active.ok().as_ref(), &snapshot.children))
                    }
                    (Err(_), Err(_)) => Ok(Vec::new()),
                    (Err(failure), Ok(_)) => Err(failure),
                };
                previewing.preview.add(&key, changes);
            }
        }
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
            seconds = started.map_or(0.0, |started| started.elapsed().as_secs_f64()),
            "asked another version what it would change"
        );
        self.reporter.report(ControllerEvent::Previewed { id, preview });
    }
}
