//! What the actor observes: watch events, responses to writes, lists.

use std::time::Instant;

use bartizan_engine::Touched;
use bartizan_engine::index::Scope;
use bartizan_engine::provider::claims::serves;
use bartizan_engine::related::References;
use bartizan_engine::snapshot::{Left, Supplied};
use bartizan_engine::{Observed, ParentUid, Priority};
use tokio::task::{Id, JoinError};

use super::look_back::Version;
use super::reads::Failed;
use super::watches::{Listed, ListedFor};
use super::{Controller, LISTING};
use crate::kubernetes::watch::Seen;

impl Controller {
    pub(super) fn observe(&mut self, scope: &Scope, seen: Seen) {
        let now = Instant::now();
        if !matches!(seen, Seen::Broken(_)) {
            self.observer.metrics.watch_event(&scope.kind);
        }
        match seen {
            Seen::Relist => {
                self.look_back(scope);
                self.index.begin_relist(scope);
            }
            Seen::Object(object) => self.observe_object(*object, now),
            Seen::Gone(object) => {
                let touched = self.index.delete(&object.key, &object.uid, &object.resource_version);
                self.touch(&touched, Priority::Child, now);
                // Parents that wait for the name are in backoff; now they need not wait.
                self.touch(&self.index.wanted_by(&object.key), Priority::Edit, now);
            }
            Seen::Listed => {
                let touched = self.index.finish_relist(scope);
                self.touch(&touched, Priority::Child, now);
                self.broken.remove(scope);
                self.report_health();
            }
            Seen::Broken(broken) => {
                self.broken.insert(scope.clone(), broken);
                self.report_health();
            }
        }
    }

    /// Finds out whether the store went back in time, before anything is decided.
    fn look_back(&mut self, scope: &Scope) {
        if let Some(highest) = self.index.highest(&scope.kind).filter(|_| self.was_synced) {
            self.looking_back.begin(&self.shared, scope, highest);
        }
    }

    /// Takes the version of the store. Returns whether it went back in time.
    pub(super) fn looked_back(&mut self, version: Result<Version, JoinError>) -> bool {
        let went_back = self.looking_back.take(&self.shared, version);
        self.report_health();
        went_back
    }

    /// Takes an object from a watch or from the response to a write. A parent that was created or edited has priority, even if the
    /// edit is first seen in the response to the host's own status write.
    pub(super) fn observe_object(&mut self, object: Observed, now: Instant) {
        let is_parent = self.served.parents.keys().any(|kind| object.key.is_of(kind));
        if is_parent && !self.is_mine(&object) && !self.is_held(&object) {
            // Another Provider serves it.
            if let Some(known) = self.index.get(&object.key).cloned() {
                let touched = self.index.delete(&known.key, &known.uid, &object.resource_version);
                self.touch(&touched, Priority::Child, now);
            }
            return;
        }
        let edited = is_parent
            && match self.index.get(&object.key) {
                Some(known) => known.digest != object.digest,
                None => self.was_synced,
            };
        if edited && self.index.is_being_listed(&object.uid) {
            self.reads.edited(object.uid.as_str().into());
        }
        let touched = self.index.apply(object);
        self.touch(&touched, if edited { Priority::Edit } else { Priority::Child }, now);
    }

    /// Whether this Provider serves a parent, among all that claim it.
    pub(super) fn is_mine(&self, parent: &Observed) -> bool {
        serves(&self.claims, parent) == Some(self.shared.provider())
    }

    /// Whether a parent that this Provider does not serve has something of it: its finalizer, its status, or children. It is let go of
    /// first; one that is being deleted is finalized by whoever holds its finalizer.
    fn is_held(&self, parent: &Observed) -> bool {
        let has_finalizer = parent.finalizers.contains(&self.shared.context.finalizer);
        let has_status = parent.owned_status.as_object().is_some_and(|status| !status.is_empty());
        // Where there is no status, children alone may show it, and they are not known before everything was listed.
        let may_have_children = || !self.index.is_synced() && self.has_no_status(parent);
        let has_children = || {
            let children = self.index.children(&parent.uid);
            children.iter().any(|child| child.labelled_by_host) || self.index.has_unclaimed(&parent.uid)
        };
        has_finalizer || !parent.deleting && (has_status || has_children() || may_have_children())
    }

    /// Whether the kind of a parent has no room for a status.
    fn has_no_status(&self, parent: &Observed) -> bool {
        let mut kinds = self.served.parents.iter().filter(|(kind, _)| parent.key.is_of(kind));
        kinds.any(|(_, served)| !served.status.has_room())
    }

    /// Who serves a parent that this Provider does not serve any more; `None` if it serves it.
    pub(super) fn left(&self, parent: &Observed) -> Option<Left> {
        let successor = serves(&self.claims, parent).map(str::to_owned);
        (successor.as_deref() != Some(self.shared.provider())).then_some(Left { successor })
    }

    /// Forgets a parent that was let go of.
    pub(super) fn forget_if_left(&mut self, uid: &ParentUid, now: Instant) {
        let Some(parent) = self.index.parent(uid) else { return };
        if !parent.deleting && !parent.marks.paused && !self.is_mine(&parent) {
            let touched = self.index.delete(&parent.key, &parent.uid, &parent.resource_version);
            self.touch(&touched, Priority::Child, now);
        }
    }

    pub(super) fn touch(&mut self, touched: &Touched, priority: Priority, now: Instant) {
        for uid in touched {
            if let Some(parent) = self.index.parent(uid) {
                self.tally.note(uid, || (&parent.kind()).into());
                self.queue.touch(uid, parent.key.namespace.as_deref().unwrap_or_default(), priority, now);
            } else {
                self.queue.forget(uid);
                self.give_up_reads(uid, now);
                self.tally.forget(uid);
                self.kept.remove(uid);
                self.supplied.remove(uid);
                self.unsure.remove(uid);
                self.breakers.forget(uid);
                self.report_status(uid, None);
                self.report_denied(uid, None);
                self.index.want(uid, []);
                self.board.forget(self.shared.provider(), uid);
            }
        }
    }

    /// Lists the objects that new selectors match, what parents refer to and nobody did before, and the children of parents that have
    /// become known: they were dropped before.
    pub(super) fn list_what_is_new(&mut self) {
        for listing in self.index.take_listings() {
            self.reads.start(&self.shared, ListedFor::Selector(listing));
        }
        for (uid, references) in self.index.take_unread() {
            self.reads.start(&self.shared, ListedFor::References(uid, references));
        }
        for uid in self.index.take_returned() {
            if let Some(parent) = self.index.parent(&uid) {
                self.reads.start(&self.shared, ListedFor::Children(parent));
            }
        }
    }

    /// Reads again what could not be read for a parent. Its provider is asked anew what it refers to: the parent may have been edited.
    pub(super) fn read_again(&mut self, uid: &ParentUid, reads: Vec<ListedFor>, supplied: &mut Supplied) {
        for of in reads {
            match of {
                ListedFor::References(..) => {
                    self.index.references_read(uid);
                    self.index.refer(uid, References::new());
                    *supplied = Supplied::default();
                }
                of => self.reads.start(&self.shared, of),
            }
        }
    }

    /// This parent waits no more for what could not be read. What another one waits for by now is its to say.
    pub(super) fn give_up_reads(&mut self, uid: &ParentUid, now: Instant) {
        let Some(Failed { reads, why, .. }) = self.reads.forget(uid) else { return };
        for of in reads {
            let mut others = self.waiting_for(&of);
            others.remove(uid);
            if others.is_empty() {
                self.is_read(&of);
            }
            for other in others {
                self.reads.failed(other, of.clone(), why.clone(), now);
            }
        }
    }

    /// Takes note that what was to be read is known, or needed no more.
    fn is_read(&mut self, of: &ListedFor) -> Touched {
        match of {
            ListedFor::Selector(listing) => self.index.listed(&listing.child),
            ListedFor::Children(parent) => self.index.children_listed(&parent.uid.as_str().into()),
            ListedFor::References(uid, _) => self.index.references_read(uid),
        }
    }

    /// The parents that wait for a read.
    fn waiting_for(&self, of: &ListedFor) -> Touched {
        match of {
            ListedFor::Selector(listing) => self.index.parent_of(&listing.child),
            ListedFor::Children(parent) => Touched::from([parent.uid.as_str().into()]),
            ListedFor::References(uid, _) => Touched::from([uid.clone()]),
        }
    }

    pub(super) fn listed(&mut self, ended: Result<(Id, Listed), JoinError>) {
        let now = Instant::now();
        let Some(Listed { of, objects }) = self.reads.ended(ended) else { return };
        match objects {
            Ok(objects) => {
                for object in objects {
                    self.observe_object(object, now);
                }
                let touched = self.is_read(&of);
                // One that said that they could not be read backs off, and must not wait for that.
                let (told, others) = touched.into_iter().partition(|uid| self.queue.failures(uid) > 0);
                self.touch(&told, Priority::Edit, now);
                self.touch(&others, Priority::Child, now);
            }
            Err(why) => {
                let waiting = self.waiting_for(&of);
                if waiting.is_empty() {
                    self.is_read(&of);
                } else if self.only_previews {
                    // Nobody is due who would say so, and try again.
                    self.reads.start_after(&self.shared, of, LISTING);
                    return;
                }
                for uid in &waiting {
                    self.reads.failed(uid.clone(), of.clone(), why.clone(), now);
                }
                self.touch(&waiting, Priority::Child, now);
            }
        }
    }
}
