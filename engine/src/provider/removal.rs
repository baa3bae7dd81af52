//! A Provider that is deleted: a finalizer keeps it until its parents are gone (`onRemoval: Block`) or were released (`Release`).
//! Whether it may go is decided by live reads, so that a host that starts in the middle goes on where the last one ended.

use std::time::Instant;

use bartizan_contract::Reason;
use bartizan_contract::names::PROVIDER_FINALIZER;
use bartizan_contract::provider::{OnRemoval, Provider};

use super::event::RemovalResult;

/// How far the removal of a Provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// An attempt is under way; what the last one said still holds.
    UnderWay(Option<(Reason, String)>),
    /// It waits.
    Waits {
        /// Reason.
        reason: Reason,
        /// What it waits for, and what to do about it.
        message: String,
        /// When to try again.
        until: Instant,
    },
    /// Its finalizer is off.
    Done,
}

impl Removal {
    /// It waits for this many parents.
    #[must_use]
    pub fn blocked_by(parents: usize, until: Instant) -> Self {
        Self::Waits { reason: Reason::ParentsExist, message: blocked(parents), until }
    }

    /// How far it is after an attempt.
    #[must_use]
    pub fn after(result: RemovalResult, until: Instant) -> Self {
        match result {
            RemovalResult::Removed => Self::Done,
            RemovalResult::Parents(parents) => Self::blocked_by(parents, until),
            RemovalResult::Failed(message) => Self::Waits { reason: Reason::RemovalFailed, message, until },
        }
    }

    /// Why a Provider that was deleted still exists: reason and message.
    #[must_use]
    pub fn reason(&self, provider: &Provider, parents: Option<usize>) -> Option<(Reason, String)> {
        if let Some(parents) = parents.filter(|parents| *parents > 0 && blocks(provider)) {
            return Some((Reason::ParentsExist, blocked(parents)));
        }
        // Nobody waits for parents once they are to be released.
        self.said().filter(|(reason, _)| *reason != Reason::ParentsExist || blocks(provider))
    }

    /// What the last attempt said.
    #[must_use]
    pub fn said(&self) -> Option<(Reason, String)> {
        match self {
            Self::Waits { reason, message, .. } => Some((*reason, message.clone())),
            Self::UnderWay(said) => said.clone(),
            Self::Done => None,
        }
    }
}

/// Whether it has never served, as far as its status says: it has no parents then. Of one that an earlier host served, which did not say so,
/// the version is known.
#[must_use]
pub fn never_served(provider: &Provider) -> bool {
    !provider.status.has_served.unwrap_or(provider.status.active.is_some())
}

/// Whether the host's finalizer is on a Provider.
#[must_use]
pub fn has_finalizer(provider: &Provider) -> bool {
    provider.metadata.finalizers.iter().any(|name| name == PROVIDER_FINALIZER)
}

/// Whether a Provider was deleted, and waits for the host.
#[must_use]
pub fn awaits_removal(provider: &Provider) -> bool {
    provider.metadata.deletion_timestamp.is_some() && has_finalizer(provider)
}

/// Whether a Provider was deleted and serves no longer. With `Block` it serves on, or its parents could not go.
#[must_use]
pub fn has_ended(provider: &Provider) -> bool {
    provider.metadata.deletion_timestamp.is_some() && (!has_finalizer(provider) || !blocks(provider))
}

/// Whether a Provider stays until it has no parents.
#[must_use]
pub fn blocks(provider: &Provider) -> bool {
    provider.spec.on_removal == OnRemoval::Block
}

fn blocked(parents: usize) -> String {
    let (exist, them) =
        if parents == 1 { ("1 parent exists".to_owned(), "it") } else { (format!("{parents} parents exist"), "them") };
    format!("{exist}: delete {them} first, or set spec.onRemoval to Release, which leaves {them} without an operator")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_waits_for_is_said_with_what_to_do() {
        let advice = "first, or set spec.onRemoval to Release, which leaves";
        assert_eq!(blocked(1), format!("1 parent exists: delete it {advice} it without an operator"));
        assert_eq!(blocked(3), format!("3 parents exist: delete them {advice} them without an operator"));
    }
}
