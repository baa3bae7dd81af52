//! What the actor reports of itself: how ready it is, how many parents it has, whom it cannot tell.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bartizan_contract::{GroupKind, Kind};
use bartizan_engine::provider::event::ControllerEvent;
use bartizan_engine::status::Outcome;
use bartizan_engine::status_shape::ConditionsRoom;
use bartizan_engine::{Observed, ParentUid};
use tracing::{info, warn};

use super::{Controller, Inputs};

/// How long the status of the Provider may name another version before that is reported.
const UNRECORDED: Duration = Duration::from_secs(2);

impl Controller {
    pub(super) fn count(&mut self) {
        let parents = self.index.parent_uids().len();
        self.observer.metrics.waiting(self.queue.waiting());
        for (kind, synced, parents) in self.tally.changes() {
            self.observer.metrics.parents(&kind.to_string(), synced, parents);
        }
        self.count_ignored();
        // Whether a status is still refused is known once each parent was decided on.
        if self.was_synced && !self.told_status && self.tally.is_decided() {
            self.told_status = true;
            if self.status_blocked.is_empty() {
                self.reporter.report(ControllerEvent::StatusBlocked { parents: 0, example: String::new() });
            }
        }
        if self.was_synced && self.told_parents != Some(parents) {
            self.told_parents = Some(parents);
            self.reporter.report(ControllerEvent::Parents(parents));
        }
    }

    /// Anybody may label objects as children of anybody: that is counted, and said once.
    fn count_ignored(&mut self) {
        let ignored = self.index.ignored();
        let Some(example) = ignored.example.as_ref().filter(|_| ignored.times > self.told_ignored) else { return };
        if self.told_ignored == 0 {
            let (kind, namespace, name) = example.parts();
            warn!(
                provider = self.shared.provider(),
                kind,
                namespace,
                name,
                "it is labelled as a child, and is left alone: this host did not apply it, or may not write there"
            );
        }
        self.observer.metrics.ignored(ignored.times - self.told_ignored);
        self.told_ignored = ignored.times;
    }

    /// Ready means: every list is complete (before, absence means nothing, and nothing is decided) and no watch is broken.
    pub(super) fn report_health(&mut self) {
        let known_old: BTreeSet<&Kind> =
            self.broken.keys().chain(self.index.unsynced()).map(|scope| &scope.kind).collect();
        for kind in self.index.scopes().map(|scope| &scope.kind) {
            self.observer.metrics.watch_up(kind, !known_old.contains(kind));
        }
        let broken = self.broken.iter().map(|(scope, broken)| (scope, &broken.reason, broken.is_denied));
        let unread = self.looking_back.unread().map(|(scope, reason)| (scope, reason, false));
        // A right that is missing stays so until somebody acts.
        if let Some((scope, reason, is_denied)) = broken.chain(unread).max_by_key(|(.., is_denied)| *is_denied) {
            let (kind, reason) = (scope.kind.clone(), reason.clone());
            self.reporter.report(ControllerEvent::WatchBroken { kind, reason, is_denied });
        } else if self.told_unrecorded {
            let reason = "the status of the Provider names another version than the one that is to serve".to_owned();
            self.reporter.report(ControllerEvent::waiting(reason));
        } else if self.index.is_synced() {
            if !self.was_synced {
                self.was_synced = true;
                let parents = self.index.parent_uids().count();
                info!(provider = self.shared.provider(), parents, objects = self.index.len(), "serving");
                self.report_former();
            }
            self.reporter.report(ControllerEvent::Serving);
        } else {
            let waiting: BTreeSet<String> = self.index.unsynced().map(|scope| scope.kind.to_string()).collect();
            let waiting: Vec<String> = waiting.into_iter().collect();
            let reason = format!("listing {}", waiting.join(", "));
            self.reporter.report(ControllerEvent::waiting(reason));
        }
    }

    /// Reports of which kinds of an earlier version nothing is left, as far as all namespaces were listed.
    fn report_former(&self) {
        let is_listed_whole = |kind: &Kind| {
            let mut scopes = self.index.scopes().filter(|scope| scope.kind == *kind);
            scopes.all(|scope| scope.namespace.is_none())
        };
        let former = self.served.former.keys();
        let vacated =
            former.filter(|kind| is_listed_whole(kind) && !self.index.has_any(kind)).map(GroupKind::from).collect();
        self.reporter.report(ControllerEvent::FormerKinds { vacated, left_alone: self.served.left_alone.clone() });
    }

    /// When it is to be reported that the status of the Provider names another version, if that is later than now.
    pub(super) fn record_due(&self, now: Instant) -> Option<Instant> {
        self.recorded_otherwise.map(|since| since + UNRECORDED).filter(|at| *at > now)
    }

    /// Takes note of whether the status of the Provider names the version that serves. It does not for a moment whenever another takes
    /// over; if it stays so, that is said.
    pub(super) fn look_at_record(&mut self, inputs: &Inputs, now: Instant) {
        let is_late = |since: Option<Instant>| since.is_some_and(|since| since + UNRECORDED <= now);
        let before = self.recorded_otherwise;
        self.recorded_otherwise = is_recorded_otherwise(inputs).then(|| before.unwrap_or(now));
        let was_told = std::mem::replace(&mut self.told_unrecorded, is_late(self.recorded_otherwise));
        if was_told != self.told_unrecorded {
            self.report_health();
        }
    }

    /// Reports the number of parents whose status cannot be written, if it changes.
    pub(super) fn report_status(&mut self, uid: &ParentUid, error: Option<String>) {
        let has_changed = match error {
            Some(_) => self.status_blocked.insert(uid.clone()),
            None => self.status_blocked.remove(uid),
        };
        if has_changed {
            let (parents, example) = (self.status_blocked.len(), error.unwrap_or_default());
            self.reporter.report(ControllerEvent::StatusBlocked { parents, example });
        }
    }

    /// Reports how many parents need a right that the account lacks, and one of them, if that changes.
    pub(super) fn report_denied(&mut self, uid: &ParentUid, message: Option<String>) {
        match message {
            Some(message) => {
                self.denied.insert(uid.clone(), message);
            }
            None => {
                self.denied.remove(uid);
            }
        }
        let now = self.denied.values().next().map(|example| (self.denied.len(), example.clone()));
        if self.told_denied != now {
            self.told_denied.clone_from(&now);
            let (parents, example) = now.unwrap_or_default();
            self.reporter.report(ControllerEvent::Denied { parents, example });
        }
    }

    pub(super) fn report_breakers(&self) {
        for (sort, open) in self.breakers.open() {
            self.observer.metrics.breaker(sort.name(), open);
        }
        self.reporter.report(match self.breakers.message() {
            Some(message) => ControllerEvent::BreakerOpen { message },
            None => ControllerEvent::BreakerClosed,
        });
    }

    /// Whether a failure has no place in the status of a parent.
    pub(super) fn has_no_room_for(&self, parent: &Observed, outcome: &Outcome) -> bool {
        let served = self.served.parents.iter().find(|(kind, _)| parent.key.is_of(kind));
        let has_room = served.is_some_and(|(_, served)| served.status.conditions() != ConditionsRoom::None);
        matches!(outcome, Outcome::Failed { .. }) && !has_room
    }
}

/// Whether the status of the Provider names another version than the one that serves.
fn is_recorded_otherwise(inputs: &Inputs) -> bool {
    let versions = inputs.versions.borrow();
    inputs.recorded.borrow().as_ref().is_some_and(|recorded| !versions.version.is(recorded))
}
