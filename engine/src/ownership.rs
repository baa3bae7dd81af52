//! Which objects belong to a parent.

use crate::object::Observed;

/// Whether a child belongs to the parent: its labels say so, it has no other controller, and our field manager has applied it
/// (forged labels come without that).
pub(crate) fn is_ours(child: &Observed, parent: &Observed, provider: &str) -> bool {
    child.is_child_of(&parent.uid, provider)
        && child.applied_by_host
        && child.controller_uid.as_deref().is_none_or(|uid| uid == parent.uid)
}

/// Whether a child may be deleted or released: it belongs to the parent, and the host itself set its labels. A child that was
/// moved to this parent by hand had another owner, who may want it back.
#[must_use]
pub fn may_prune(child: &Observed, parent: &Observed, provider: &str) -> bool {
    child.labelled_by_host && is_ours(child, parent, provider)
}
