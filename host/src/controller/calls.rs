//! Whose turn it is to have the provider called, and how calls end.

use std::time::Instant;

use bartizan_engine::breaker::{Called, Rank, Standing, Trust};
use bartizan_engine::provider::claims::serves;
use bartizan_engine::{Observed, ParentUid, status};

use super::Controller;
use super::breakers::Due;

impl Controller {
    /// The next due parent that the breakers admit.
    pub(super) fn take(&mut self, now: Instant) -> Option<ParentUid> {
        if self.breakers.are_at_rest() {
            return self.queue.take(now);
        }
        let (index, breakers, shared) = (&self.index, &self.breakers, &self.shared);
        let (claims, serves_all) = (&self.claims, self.serves_all);
        let is_served = |parent: &Observed| serves_all || serves(claims, parent) == Some(shared.provider());
        self.queue.take_by(now, |uid| match index.parent(uid).filter(|parent| is_served(parent)) {
            Some(parent) => breakers.rank_of(uid, &parent, &shared.context, now),
            None => Some(Rank::default()),
        })
    }

    /// Records how a call ended.
    pub(super) fn called(&mut self, call: Option<&Due>, called: Called, now: Instant) {
        let was_fine = self.breakers.are_closed();
        let index = &self.index;
        let others_answer = |trust: &Trust<ParentUid>| {
            index.parent_uids().any(|uid| {
                let had_answer = || index.parent(uid).is_some_and(|parent| status::had_answer(&parent.owned_status));
                trust.standing(uid, had_answer) == Standing::Answered
            })
        };
        self.breakers.end(call, called, others_answer, now);
        if let Some(gone) = call.filter(|call| self.index.parent(&call.uid).is_none()) {
            self.breakers.forget(&gone.uid);
        }
        if !(was_fine && self.breakers.are_closed()) {
            self.report_breakers();
        }
    }
}
