//! Starts the reconciles that are due, each with the snapshot that it works on.

use std::time::Instant;

use bartizan_engine::ParentUid;
use bartizan_engine::queue::Finished;
use bartizan_engine::snapshot::{Origin, Snapshot, Supplied};

use super::reads::DueReads;
use super::{Controller, InFlight, LISTING};
use crate::reconcile::{Job, reconcile};

impl Controller {
    pub(super) fn start_what_is_due(&mut self, now: Instant) {
        if !self.may_decide() {
            return;
        }
        while self.running.len() < self.shared.concurrency
            && let Some(uid) = self.take(now)
        {
            let references = || self.index.references(&uid);
            let supplied = self.supplied.remove(&uid);
            let supplied = supplied.unwrap_or_else(|| Supplied { references: references(), ..Supplied::default() });
            self.start(uid, supplied, None);
        }
    }

    /// Starts a reconcile of a parent that was taken from the queue, or a further round of one that began at `since`.
    pub(super) fn start(&mut self, uid: ParentUid, mut supplied: Supplied, since: Option<Instant>) {
        let (now, mut unread) = (Instant::now(), None);
        if self.index.is_being_listed(&uid) {
            match self.reads.due(&uid, now) {
                Some(DueReads::Tell(why)) => unread = Some(why),
                Some(DueReads::Again(reads)) => self.read_again(&uid, reads, &mut supplied),
                None => {}
            }
        } else {
            self.give_up_reads(&uid, now);
        }
        if unread.is_none() && self.index.is_being_listed(&uid) {
            if supplied.origin == Origin::Rounds {
                self.supplied.insert(uid.clone(), supplied);
            }
            self.queue.finish(&uid, Finished::Again { after: LISTING }, now, 0.0);
            return;
        }
        match self.job(&uid, supplied) {
            Some(mut job) => {
                let shared = self.shared.clone();
                job.snapshot.unread = unread;
                let call = match &job.snapshot {
                    Snapshot { left: None, unread: None, parent, .. } => self.breakers.due(parent, &shared.context),
                    _ => None,
                };
                self.breakers.begin(call.as_ref(), Instant::now());
                let leaves = job.snapshot.left.is_some();
                let handle = self.running.spawn(async move { reconcile(&shared, job).await });
                if let (Some(due), None) = (self.queue.due_since(&uid), since) {
                    self.observer.metrics.waited(now.saturating_duration_since(due));
                }
                self.in_flight.insert(handle.id(), InFlight { uid, call, leaves, since: since.unwrap_or(now) });
            }
            None => self.queue.finish(&uid, Finished::Done { resync: None }, Instant::now(), 0.0),
        }
    }

    /// What one reconcile works on; `None` if the parent is gone.
    fn job(&mut self, uid: &ParentUid, supplied: Supplied) -> Option<Job> {
        let snapshot = self.snapshot(uid, supplied)?;
        let (unsure, kept) = (self.unsure.remove(uid).unwrap_or_default(), self.kept.remove(uid).unwrap_or_default());
        Some(Job { snapshot, kept, unsure, observer: self.observer.clone() })
    }

    /// The snapshot of one parent; `None` if it is gone.
    pub(super) fn snapshot(&self, uid: &ParentUid, mut supplied: Supplied) -> Option<Snapshot> {
        let parent = self.index.parent(uid)?;
        let (kind, served) = self.served.parents.iter().find(|(kind, _)| parent.key.is_of(kind))?;
        supplied.objects = self.index.related(&supplied.references);
        let children = self.index.children(uid);
        Some(Snapshot {
            descendants: self.index.descendants(&children),
            children,
            supplied,
            optional_kinds: self.served.optional.clone(),
            kind: kind.clone(),
            status: served.status.clone(),
            left: self.left(&parent),
            unread: None,
            parent,
        })
    }
}
