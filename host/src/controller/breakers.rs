//! The breakers of one provider: one for calls that serve parents and one for calls that finalize them, so that a provider that
//! fails at one still does the other. Beside each, whom the provider answers for: these parents do not wait for the others.

use std::time::Instant;

use bartizan_engine::breaker::{Breaker, Called, FAULTS, Rank, Standing, Trust};
use bartizan_engine::phase::{self, Phase};
use bartizan_engine::snapshot::ProviderContext;
use bartizan_engine::{Observed, ParentUid, status};

/// Purposes of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Reconciles a live parent.
    Serve,
    /// Finalizes a parent that is being deleted.
    Finalize,
}

impl Sort {
    /// The sort of call that a parent is due for; `None` if the provider will not be asked.
    fn of(parent: &Observed, context: &ProviderContext) -> Option<Self> {
        match phase::of(parent, &context.name, context.finalizes) {
            Phase::Serve(_) => Some(Self::Serve),
            Phase::Finalize => Some(Self::Finalize),
            Phase::Terminating | Phase::Paused | Phase::Release(_) | Phase::Teardown => None,
        }
    }

    /// Its label in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Finalize => "finalize",
        }
    }
}

/// A call that a parent is due for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The parent.
    pub(crate) uid: ParentUid,
    namespace: String,
    sort: Sort,
    standing: Standing,
}

/// The breakers of one provider.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    serve: Of,
    finalize: Of,
}

fn namespace_of(parent: &Observed) -> &str {
    parent.key.namespace.as_deref().unwrap_or_default()
}

/// The breaker for one sort of calls.
#[derive(Debug, Default)]
struct Of {
    breaker: Breaker<ParentUid>,
    trust: Trust<ParentUid>,
}

impl Breakers {
    /// Whether all parents are called for as usual.
    pub(crate) fn are_at_rest(&self) -> bool {
        [&self.serve, &self.finalize].into_iter().all(|of| of.breaker.fault().is_none() && of.trust.is_complete())
    }

    /// Whether both are closed.
    pub(crate) fn are_closed(&self) -> bool {
        self.serve.breaker.fault().is_none() && self.finalize.breaker.fault().is_none()
    }

    /// The call that a parent is due for; `None` if the provider will not be asked.
    pub(crate) fn due(&self, parent: &Observed, context: &ProviderContext) -> Option<Due> {
        let uid = ParentUid::from(parent.uid.as_str());
        let (sort, standing) = self.standing(&uid, parent, context)?;
        Some(Due { uid, namespace: namespace_of(parent).to_owned(), sort, standing })
    }

    fn standing(&self, uid: &ParentUid, parent: &Observed, context: &ProviderContext) -> Option<(Sort, Standing)> {
        let sort = Sort::of(parent, context)?;
        // An earlier process had an answer for it.
        let vouched = || sort == Sort::Serve && status::had_answer(&parent.owned_status);
        Some((sort, self.of(sort).trust.standing(uid, vouched)))
    }

    /// When a parent may start, compared with others; `None`: not now. One that the provider will not be asked about may. It takes no
    /// memory, since it is asked for every parent that waits whenever one is taken.
    pub(crate) fn rank_of(
        &self,
        uid: &ParentUid,
        parent: &Observed,
        context: &ProviderContext,
        now: Instant,
    ) -> Option<Rank> {
        match self.standing(uid, parent, context) {
            Some((sort, standing)) => self.rank(sort, standing, namespace_of(parent), now),
            None => Some(Rank::default()),
        }
    }

    fn rank(&self, sort: Sort, standing: Standing, namespace: &str, now: Instant) -> Option<Rank> {
        let of = self.of(sort);
        of.trust.rank(standing, namespace).filter(|_| of.breaker.admits(standing, now))
    }

    /// A reconcile of a parent starts.
    pub(crate) fn begin(&mut self, due: Option<&Due>, now: Instant) {
        if let Some(Due { uid, namespace, sort, standing }) = due {
            let of = self.of_mut(*sort);
            of.breaker.begin(uid, *standing, now);
            of.trust.begin(uid, *standing, namespace);
        }
    }

    /// A reconcile of a parent ended. `others_answer` tells whether the status of another parent says that it had an answer.
    pub(crate) fn end(
        &mut self,
        due: Option<&Due>,
        called: Called,
        others_answer: impl FnOnce(&Trust<ParentUid>) -> bool,
        now: Instant,
    ) {
        if let Some(Due { uid, sort, standing, .. }) = due {
            let Of { breaker, trust } = self.of_mut(*sort);
            trust.end(uid, &called);
            let others_answer = || trust.has_answers() || (*sort == Sort::Serve && others_answer(trust));
            breaker.end(uid, *standing, called, others_answer, now);
        }
    }

    /// A parent is gone.
    pub(crate) fn forget(&mut self, parent: &ParentUid) {
        self.serve.trust.forget(parent);
        self.finalize.trust.forget(parent);
    }

    /// When one of them admits the next attempt, if that is later than now.
    pub(crate) fn next_try(&self, now: Instant) -> Option<Instant> {
        [&self.serve, &self.finalize].into_iter().filter_map(|of| of.breaker.next_try(now)).min()
    }

    /// Each sort of calls, and whether its breaker is open.
    pub(crate) fn open(&self) -> [(Sort, bool); 2] {
        [Sort::Serve, Sort::Finalize].map(|sort| (sort, self.of(sort).breaker.fault().is_some()))
    }

    /// The message for the condition; `None` if they are closed. It stays the same as long as the fault does.
    pub(crate) fn message(&self) -> Option<String> {
        let of = |fault: Option<&str>, what: &str| {
            fault.map(|fault| {
                format!(
                    "no answer for {FAULTS} parents in a row{what}; others wait until it answers for one, which is retried with \
                     backoff; last: {fault}"
                )
            })
        };
        let (serve, finalize) = (self.serve.breaker.fault(), self.finalize.breaker.fault());
        let messages = [of(serve, ""), of(finalize, " that are being deleted")];
        let messages: Vec<String> = messages.into_iter().flatten().collect();
        (!messages.is_empty()).then(|| messages.join(". "))
    }

    fn of(&self, sort: Sort) -> &Of {
        match sort {
            Sort::Serve => &self.serve,
            Sort::Finalize => &self.finalize,
        }
    }

    fn of_mut(&mut self, sort: Sort) -> &mut Of {
        match sort {
            Sort::Serve => &mut self.serve,
            Sort::Finalize => &mut self.finalize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_cannot_finish_parents_still_serves_others() {
        let (mut breakers, now) = (Breakers::default(), Instant::now());
        assert!(breakers.are_closed() && breakers.are_at_rest() && breakers.message().is_none());
        let due = |number: usize, sort: Sort| Due {
            uid: ParentUid::from(format!("p-{number}")),
            namespace: "n".to_owned(),
            sort,
            standing: Standing::Untried,
        };
        for number in 0..FAULTS {
            let due = due(number, Sort::Finalize);
            breakers.begin(Some(&due), now);
            breakers.end(Some(&due), Called::Faulted("it crashed".to_owned()), |_| true, now);
        }
        let rank = |sort| breakers.rank(sort, Standing::Untried, "n", now);
        assert_eq!((rank(Sort::Finalize), rank(Sort::Serve)), (None, Some(Rank::default())));
        assert_eq!(breakers.open(), [(Sort::Serve, false), (Sort::Finalize, true)]);
        let expected = "no answer for 5 parents in a row that are being deleted; others wait until it answers for one, which is \
                        retried with backoff; last: it crashed";
        assert_eq!(breakers.message().as_deref(), Some(expected));
        assert!(breakers.next_try(now).is_some_and(|at| breakers.next_try(at).is_none()));
    }
}
