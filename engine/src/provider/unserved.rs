//! What is said of the parents of a Provider that does not serve: their `Synced` was true when somebody looked last, and nobody looks any
//! more.

use std::time::{Duration, Instant};

use bartizan_contract::Reason;

/// Time until those that could not be told are tried again.
const RETRY: Duration = Duration::from_secs(60);

/// How far the parents were told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unserved {
    /// They are being told.
    Telling {
        /// Why nobody serves them.
        reason: Reason,
        /// Whether that is to end, since their Provider serves again.
        ends: bool,
    },
    /// They were told.
    Told(Reason),
    /// Some of them could not be told.
    Untold {
        /// How many, and one of them with the reason.
        parents: (usize, String),
        /// When they are tried again.
        until: Instant,
    },
}

impl Unserved {
    /// After an attempt.
    pub(super) fn after(reason: Reason, untold: Option<(usize, String)>, now: Instant) -> Self {
        match untold {
            None => Self::Told(reason),
            Some(parents) => Self::Untold { parents, until: now + RETRY },
        }
    }

    /// Whether they are to be told, or told again.
    pub(super) fn is_due(this: Option<&Self>, reason: Reason, now: Instant) -> bool {
        match this {
            None => true,
            Some(Self::Told(told)) => *told != reason,
            Some(Self::Untold { until, .. }) => *until <= now,
            Some(Self::Telling { .. }) => false,
        }
    }
}
