//! Which objects are a parent's own.

use crate::object::Observed;

/// Ours: this parent's labels, no other controller, and an entry of our field manager (a forged label has none).
pub(crate) fn is_ours(child: &Observed, parent: &Observed, provider: &str) -> bool {
    child.is_child_of(&parent.uid, provider)
        && child.applied_by_host
        && child.controller_uid.as_deref().is_none_or(|uid| uid == parent.uid)
}

/// Ours, and made so by the host: what somebody gave to this parent by hand was another's, who may want it back. Only that is
/// deleted or released.
#[must_use]
pub fn is_ours_to_end(child: &Observed, parent: &Observed, provider: &str) -> bool {
    child.labelled_by_host && is_ours(child, parent, provider)
}
