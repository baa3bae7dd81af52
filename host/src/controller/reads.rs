//! What is read beside the watches, since a decision waits for it. What cannot be read is told by the parent that waits for it, and is read
//! again when the queue has that parent next: after its backoff, or at once if it is edited.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_engine::snapshot::Unread;
use bartizan_engine::{ApiError, ParentUid};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::error;

use super::watches::{Listed, ListedFor, list};
use crate::reconcile::shared::Shared;

/// How long a failure is news: what failed before is tried again instead.
const NEWS: Duration = Duration::from_secs(30);

/// The reads of one controller.
#[derive(Default)]
pub(super) struct Reads {
    under_way: JoinSet<Listed>,
    /// What for, so that one that ends unexpectedly is not forgotten.
    of: BTreeMap<Id, ListedFor>,
    failed: BTreeMap<ParentUid, Failed>,
    /// Parents that were edited while they waited.
    edited: BTreeSet<ParentUid>,
}

/// Reads for one parent that failed.
pub(super) struct Failed {
    pub(super) reads: Vec<ListedFor>,
    /// Why the first one did.
    pub(super) why: Unread,
    since: Instant,
    told: bool,
}

/// What is due for a parent whose reads failed.
pub(super) enum DueReads {
    /// It says so.
    Tell(Unread),
    /// It has said so, or was edited: they are tried again.
    Again(Vec<ListedFor>),
}

impl Reads {
    /// Starts one.
    pub(super) fn start(&mut self, shared: &Arc<Shared>, of: ListedFor) {
        self.start_after(shared, of, Duration::ZERO);
    }

    /// Starts one after a while.
    pub(super) fn start_after(&mut self, shared: &Arc<Shared>, of: ListedFor, after: Duration) {
        let (shared, wanted) = (shared.clone(), of.clone());
        let handle = self.under_way.spawn(async move {
            tokio::time::sleep(after).await;
            list(&shared, wanted).await
        });
        self.of.insert(handle.id(), of);
    }

    /// Whether none is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The next one that ends; `None` if none is under way.
    pub(super) async fn next(&mut self) -> Option<Result<(Id, Listed), JoinError>> {
        self.under_way.join_next_with_id().await
    }

    /// What became of one that has ended.
    pub(super) fn ended(&mut self, ended: Result<(Id, Listed), JoinError>) -> Option<Listed> {
        let error = match ended {
            Ok((id, listed)) => {
                self.of.remove(&id);
                return Some(listed);
            }
            Err(error) => error,
        };
        error!("a read ended unexpectedly: {error}");
        let of = self.of.remove(&error.id())?;
        let error = ApiError::transient(format!("the read ended unexpectedly: {error}"));
        Some(Listed { objects: Err(Unread { what: of.to_string(), error }), of })
    }

    /// One failed that this parent waits for.
    pub(super) fn failed(&mut self, uid: ParentUid, of: ListedFor, why: Unread, now: Instant) {
        let new = || Failed { reads: Vec::new(), why, since: now, told: false };
        self.failed.entry(uid).or_insert_with(new).reads.push(of);
    }

    /// A parent was edited while it waited.
    pub(super) fn edited(&mut self, uid: ParentUid) {
        self.edited.insert(uid);
    }

    /// What is due for a parent that waits for reads; `None` if none of them failed.
    pub(super) fn due(&mut self, uid: &ParentUid, now: Instant) -> Option<DueReads> {
        let failed = self.failed.get_mut(uid)?;
        let is_old = now.saturating_duration_since(failed.since) > NEWS;
        if failed.told || is_old || self.edited.contains(uid) {
            return self.forget(uid).map(|failed| DueReads::Again(failed.reads));
        }
        failed.told = true;
        Some(DueReads::Tell(failed.why.clone()))
    }

    /// Forgets those of a parent that failed, and returns them.
    pub(super) fn forget(&mut self, uid: &ParentUid) -> Option<Failed> {
        self.edited.remove(uid);
        self.failed.remove(uid)
    }
}
