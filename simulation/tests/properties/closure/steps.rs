//! The steps of a run: what hosts, watches and others do, and what may happen between two requests.

use bartizan_simulation::schedule::Schedule;
use bartizan_simulation::{ApiServer, Fault};

/// The faults of a request.
pub(super) const FAULTS: [Fault; 8] = [
    Fault::Lost,
    Fault::Unanswered,
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::Busy,
    Fault::Conflict,
    Fault::Forbidden,
    Fault::Invalid,
];

/// What others do, each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    /// Somebody edits a child.
    Edit(usize),
    /// Somebody removes a child.
    Remove(usize),
    /// Somebody takes the name of a child.
    Take(usize),
    /// The parents are edited: the provider answers with its second answer for what it sees of that.
    ChangeAnswer,
    /// A host goes on with another version of the provider, which has the second answer.
    Upgrade(usize),
    /// A host learns that the parents are another provider's now, or its own.
    HandOver(usize),
    /// `kubectl delete --cascade=orphan`.
    Orphan,
    /// The same of the second parent, from its beginning to its end.
    OrphanSecond,
    /// The garbage collector removes the owner of one child of an orphaned parent.
    Collect(usize),
    /// `kubectl delete`.
    Delete,
    /// `kubectl delete --cascade=foreground`.
    DeleteForeground,
    /// The quota grows.
    LiftQuota,
}

/// One step of a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A watch of a host delivers its next event, of this kind.
    Deliver(usize, &'static str),
    /// A host restarts, with lists that are so many events old.
    Restart(usize, usize),
    /// A host reconciles a parent.
    Reconcile(usize, usize, Option<(usize, Meanwhile)>),
    /// Pending deletions complete, and the garbage collector works.
    Finish,
    /// Somebody does something.
    Do(Deed),
}

impl Step {
    /// Whether it is more than a reconcile, a watch or somebody at work: a request that goes wrong or meets another one, or a restart.
    pub(super) fn disturbs(&self) -> bool {
        matches!(self, Self::Restart(..) | Self::Reconcile(_, _, Some(_)))
    }
}

/// What happens to, or before, one effect of a reconcile.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meanwhile {
    Fault(Fault),
    /// Somebody does something.
    Do(Deed),
    /// Another host reconciles, from its beginning to its end.
    Other(usize),
}

/// One effect is faulty, or something precedes it.
pub(super) struct Disturbed<'a> {
    pub(super) meanwhile: Option<(usize, Meanwhile)>,
    pub(super) act: &'a mut dyn FnMut(&mut ApiServer, Meanwhile),
    pub(super) effect: usize,
}

impl Schedule for Disturbed<'_> {
    fn pick(&mut self, _count: usize) -> usize {
        0
    }

    fn before(&mut self, server: &mut ApiServer) {
        self.effect += 1;
        if let Some((at, meanwhile)) = self.meanwhile
            && at + 1 == self.effect
        {
            (self.act)(server, meanwhile);
        }
    }

    fn fault(&mut self) -> Option<Fault> {
        match self.meanwhile {
            Some((at, Meanwhile::Fault(fault))) if at + 1 == self.effect => Some(fault),
            _ => None,
        }
    }
}
