//! What happens to one rack in this response.

use crate::racks::Rack;

/// The step of one rack.
pub(crate) struct Step<'a> {
    pub(crate) rack: &'a Rack<'a>,
    /// Whether the wanted template differs from the one that the StatefulSet was given.
    pub(crate) changed: bool,
    /// Whether a change has reached the whole rack while other racks still wait for it: a canary counts its members.
    pub(crate) through: bool,
    /// What happens to the StatefulSet.
    pub(crate) action: Action,
    /// The number of members.
    pub(crate) replicas: i32,
    /// The partition: the lowest ordinal that a changed template reaches.
    pub(crate) partition: i32,
    /// Whether the claims of members beyond `replicas` are deleted with their pods.
    pub(crate) delete_claims: bool,
    /// The member that this response asks to leave the ring.
    pub(crate) asked_to_leave: Option<i32>,
}

/// What happens to a StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is applied.
    Apply,
    /// It is neither applied nor pruned: its template has changed, but must not reach it yet.
    Keep,
    /// It is pruned.
    Remove,
}
