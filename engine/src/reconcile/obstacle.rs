//! What keeps the host from asking a provider about a parent.

use bartizan_contract::Reason;

use super::Reconcile;
use crate::reconcile::outcome::{Retry, read_again};
use crate::snapshot::{Snapshot, Unread};
use crate::weight;

impl Reconcile {
    /// Why there can be no request.
    pub(super) fn obstacle(&self) -> Option<(Reason, String, Retry)> {
        if let Some(unread) = &self.snapshot.unread {
            let Unread { what, error } = unread;
            return Some((Reason::ReadFailed, format!("{what} cannot be read: {error}"), read_again(unread)));
        }
        self.heaviest().map(|message| (Reason::RequestTooLarge, message, Retry::After(None)))
    }

    /// An object that is too heavy for a request, for people.
    fn heaviest(&self) -> Option<String> {
        let Snapshot { parent, children, descendants, supplied, .. } = &self.snapshot;
        let mut all = std::iter::once(parent).chain(children).chain(descendants).chain(&supplied.objects);
        let heavy = all.find(|object| object.is_too_heavy)?;
        Some(format!(
            "{} has so many values that it would take more than {} MiB of memory, the most that an object may take, or is nested too \
             deeply: give it fewer",
            heavy.key,
            weight::OBJECT >> 20
        ))
    }
}
