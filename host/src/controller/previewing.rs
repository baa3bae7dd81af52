//! The preview of a candidate: the parents that are left, and what it would change so far.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bartizan_engine::preview::{NoPrediction, Prediction};
use bartizan_engine::provider::upgrade_plan::Preview;
use bartizan_engine::provider::version::VersionId;
use bartizan_engine::related::References;
use bartizan_engine::snapshot::{Question, Snapshot};
use bartizan_engine::{ObjectKey, Observed, ParentUid};
use tokio::task::{JoinError, JoinSet};
use tracing::warn;

use super::watches::read_references;
use crate::kubernetes::backoff::{self, Backoff};
use crate::reconcile::dry_run::{Look, look};
use crate::reconcile::shared::Shared;

/// One answer of a preview.
pub(super) struct Looked {
    pub(super) uid: ParentUid,
    pub(super) snapshot: Snapshot,
    pub(super) question: Question,
    pub(super) asked: Asked,
    pub(super) look: Look,
}

/// Which version was called.
pub(super) enum Asked {
    Candidate,
    /// The active version, after the candidate predicted this.
    Active(Box<Result<Prediction, NoPrediction>>),
}

/// A candidate that is being previewed.
pub(super) struct Previewing {
    pub(super) id: VersionId,
    pub(super) candidate: Arc<Shared>,
    /// The active version, if there is one: what both would do is no change.
    pub(super) active: Option<Arc<Shared>>,
    pub(super) waiting: VecDeque<ParentUid>,
    /// When the first parent was previewed.
    pub(super) started: Option<Instant>,
    pub(super) looking: JoinSet<Looked>,
    pub(super) preview: Preview,
    /// The parent that is being asked about.
    pub(super) asked_about: Option<ObjectKey>,
}

impl Previewing {
    pub(super) fn new(id: VersionId, candidate: Arc<Shared>, active: Option<Arc<Shared>>) -> Self {
        Self {
            id,
            candidate,
            active,
            waiting: VecDeque::new(),
            started: None,
            looking: JoinSet::new(),
            preview: Preview::default(),
            asked_about: None,
        }
    }

    /// The next answer; pending forever if no call is in flight.
    pub(super) async fn next(previewing: &mut Option<Self>) -> Result<Looked, JoinError> {
        if let Some(previewing) = previewing
            && let Some(looked) = previewing.looking.join_next().await
        {
            return looked;
        }
        std::future::pending().await
    }

    /// The version that is called.
    fn version(&self, asked: &Asked) -> Arc<Shared> {
        match (asked, &self.active) {
            (Asked::Active(_), Some(active)) => active.clone(),
            _ => self.candidate.clone(),
        }
    }

    /// Calls a version for a parent, with the related objects that it asked for: the index has those that the active version asked for.
    pub(super) fn look_with_more(&mut self, uid: ParentUid, mut snapshot: Snapshot, question: Question, asked: Asked) {
        let shared = self.version(&asked);
        self.looking.spawn(async move {
            let objects = until_read(&shared, &snapshot.supplied.references).await;
            snapshot.supplied.objects = objects.into_iter().map(Arc::new).collect();
            let look = look(&shared, &snapshot, question).await;
            Looked { uid, snapshot, question, asked, look }
        });
    }

    /// Calls a version for a parent.
    pub(super) fn look(&mut self, uid: ParentUid, snapshot: Snapshot, question: Question, asked: Asked) {
        self.asked_about = Some(snapshot.parent.key.clone());
        let shared = self.version(&asked);
        self.looking.spawn(async move {
            let look = look(&shared, &snapshot, question).await;
            Looked { uid, snapshot, question, asked, look }
        });
    }
}

/// Reads related objects until that succeeds, since a preview waits for them.
async fn until_read(shared: &Shared, references: &References) -> Vec<Observed> {
    let mut backoff = Backoff::new(backoff::LIST);
    loop {
        match read_references(shared, references).await {
            Ok(found) => return found,
            Err(error) => {
                warn!(provider = shared.provider(), "related objects cannot be read for a preview: {error}");
                backoff.wait(error.retry_after()).await;
            }
        }
    }
}
