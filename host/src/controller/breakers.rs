//! The breakers of one provider: one for calls that serve parents and one for calls that finalize them, so that a provider that
//! fails at one still does the other.

use std::time::Instant;

use bartizan_engine::Observed;
use bartizan_engine::ParentUid;
use bartizan_engine::breaker::{Breaker, Called, FAULTS};
use bartizan_engine::phase::{self, Phase};

use bartizan_engine::snapshot::ProviderContext;

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
    pub(crate) fn of(parent: &Observed, context: &ProviderContext) -> Option<Self> {
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

/// The breakers of one provider.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    serve: Breaker<ParentUid>,
    finalize: Breaker<ParentUid>,
}

impl Breakers {
    /// Whether both are closed.
    pub(crate) fn are_closed(&self) -> bool {
        self.serve.fault().is_none() && self.finalize.fault().is_none()
    }

    /// Whether a parent that is due for this sort of call may start.
    pub(crate) fn admit(&self, sort: Option<Sort>, now: Instant) -> bool {
        sort.is_none_or(|sort| self.of(sort).admits(now))
    }

    /// A reconcile of a parent starts.
    pub(crate) fn begin(&mut self, sort: Option<Sort>, parent: &ParentUid, now: Instant) {
        if let Some(sort) = sort {
            self.of_mut(sort).begin(parent, now);
        }
    }

    /// A reconcile of a parent ended.
    pub(crate) fn end(&mut self, sort: Option<Sort>, parent: &ParentUid, called: Called, now: Instant) {
        if let Some(sort) = sort {
            self.of_mut(sort).end(parent, called, now);
        }
    }

    /// When one of them admits the next attempt, if that is later than now.
    pub(crate) fn next_try(&self, now: Instant) -> Option<Instant> {
        [&self.serve, &self.finalize].into_iter().filter_map(Breaker::until).filter(|until| *until > now).min()
    }

    /// Each sort of calls, and whether its breaker is open.
    pub(crate) fn open(&self) -> [(Sort, bool); 2] {
        [Sort::Serve, Sort::Finalize].map(|sort| (sort, self.of(sort).fault().is_some()))
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
        let messages = [of(self.serve.fault(), ""), of(self.finalize.fault(), " that are being deleted")];
        let messages: Vec<String> = messages.into_iter().flatten().collect();
        (!messages.is_empty()).then(|| messages.join(". "))
    }

    fn of(&self, sort: Sort) -> &Breaker<ParentUid> {
        match sort {
            Sort::Serve => &self.serve,
            Sort::Finalize => &self.finalize,
        }
    }

    fn of_mut(&mut self, sort: Sort) -> &mut Breaker<ParentUid> {
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
        assert!(breakers.are_closed() && breakers.message().is_none());
        for number in 0..FAULTS {
            let parent = ParentUid::from(format!("p-{number}"));
            breakers.begin(Some(Sort::Finalize), &parent, now);
            breakers.end(Some(Sort::Finalize), &parent, Called::Faulted("it crashed".to_owned()), now);
        }
        assert!(!breakers.admit(Some(Sort::Finalize), now));
        assert!(breakers.admit(Some(Sort::Serve), now) && breakers.admit(None, now));
        assert_eq!(breakers.open(), [(Sort::Serve, false), (Sort::Finalize, true)]);
        let expected = "no answer for 5 parents in a row that are being deleted; others wait until it answers for one, which is \
                        retried with backoff; last: it crashed";
        assert_eq!(breakers.message().as_deref(), Some(expected));
        assert!(breakers.next_try(now).is_some_and(|at| breakers.next_try(at).is_none()));
    }
}
