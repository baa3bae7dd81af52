//! Kinds that only an earlier version wrote: they stay watched, or its children would never be pruned.

use anyhow::Context as _;
use bartizan_contract::GroupKind;
use kube::Client;
use tracing::warn;

use crate::kubernetes::access_review;
use crate::kubernetes::deadline::in_time;
use crate::kubernetes::discovery;
use crate::kubernetes::served::Served;

/// Adds those of the kinds that may ever have been written that this version does not write, and that the cluster serves.
///
/// # Errors
/// If that cannot be found out.
pub(super) async fn add(client: &Client, written: &[GroupKind], served: &mut Served) -> anyhow::Result<()> {
    let known: Vec<GroupKind> = served.children.keys().map(GroupKind::from).collect();
    for former in written.iter().filter(|kind| !known.contains(kind)) {
        let found = in_time(discovery::preferred(client, former)).await;
        if let Some((kind, resource)) = found.with_context(|| format!("kind {former}, written before"))? {
            served.former.insert(kind, resource);
        }
    }
    Ok(())
}

/// Leaves those alone to which the account has no rights any more: the parents are served all the same.
///
/// # Errors
/// If the rights cannot be found out.
pub(super) async fn leave_without_rights(
    client: &Client,
    user: &str,
    served: &mut Served,
    namespaces: &[String],
) -> anyhow::Result<()> {
    let mut reasons = Vec::new();
    for (kind, resource) in std::mem::take(&mut served.former) {
        match access_review::missing_for_former(client, user, &resource, namespaces).await? {
            None => {
                served.former.insert(kind, resource);
            }
            Some(message) => {
                warn!(%kind, "what an earlier version wrote is left alone: {message}");
                reasons.push(format!("{}: {message}", GroupKind::from(&kind)));
            }
        }
    }
    served.left_alone = (!reasons.is_empty())
        .then(|| format!("children that an earlier version wrote are left alone ({})", reasons.join("; ")));
    Ok(())
}
