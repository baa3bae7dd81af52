//! Which objects belong to a parent. Anybody may set labels, and call a field manager as the host does: only where the provider may write
//! does that make a child.

use std::sync::Arc;

use crate::grants::Grants;
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

/// What a live list of the objects with a parent's labels shows of its children.
#[must_use]
pub fn children_of(
    parent: &Observed,
    listed: Vec<Arc<Observed>>,
    provider: &str,
    grants: &Grants,
) -> Vec<Arc<Observed>> {
    let is_child = |object: &Arc<Observed>| is_ours(object, parent, provider) && grants.reach(&object.key, parent);
    listed.into_iter().filter(is_child).collect()
}
