//! What is read beside the watches, since a decision waits for it. What cannot be read is told by the parent that waits for it, and is read
//! again when the queue has that parent next: after its backoff, or at once if it is edited.

use std::collections::BTreeMap;
use std::sync::Arc;

use bartizan_engine::ParentUid;
use bartizan_engine::snapshot::Unread;
use tokio::task::{JoinError, JoinSet};

use super::watches::{Listed, ListedFor, list};
use crate::reconcile::shared::Shared;

/// The reads of one controller.
#[derive(Default)]
pub(super) struct Reads {
    under_way: JoinSet<Listed>,
    failed: BTreeMap<ParentUid, Failed>,
}

/// Reads for one parent that failed.
struct Failed {
    reads: Vec<ListedFor>,
    /// Why the last one did.
    why: Unread,
    told: bool,
}

/// What is due for a parent whose reads failed.
pub(super) enum Due {
    /// It says so.
    Tell(Unread),
    /// It has said so: they are tried again.
    Again(Vec<ListedFor>),
}

impl Reads {
    /// Starts one.
    pub(super) fn start(&mut self, shared: &Arc<Shared>, of: ListedFor) {
        let shared = shared.clone();
        self.under_way.spawn(async move { list(&shared, of).await });
    }

    /// Whether none is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The next one that ends; `None` if none is under way.
    pub(super) async fn next(&mut self) -> Option<Result<Listed, JoinError>> {
        self.under_way.join_next().await
    }

    /// One failed that this parent waits for.
    pub(super) fn failed(&mut self, uid: ParentUid, of: ListedFor, why: Unread) {
        let failed =
            self.failed.entry(uid).or_insert_with(|| Failed { reads: Vec::new(), why: why.clone(), told: false });
        (failed.why, failed.told) = (why, false);
        failed.reads.push(of);
    }

    /// What is due for a parent that waits for reads; `None` if none of them failed.
    pub(super) fn due(&mut self, uid: &ParentUid) -> Option<Due> {
        let failed = self.failed.get_mut(uid)?;
        if failed.told {
            return self.forget(uid).map(Due::Again);
        }
        failed.told = true;
        Some(Due::Tell(failed.why.clone()))
    }

    /// Forgets those of a parent that failed, and returns them.
    pub(super) fn forget(&mut self, uid: &ParentUid) -> Option<Vec<ListedFor>> {
        self.failed.remove(uid).map(|failed| failed.reads)
    }
}
