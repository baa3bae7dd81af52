//! The state of the volume claims of one pod of a StatefulSet.

use super::metadata::ObservedMetadata;

/// What happens to a pod's claims when the pod is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Claims {
    /// There are none.
    #[default]
    None,
    /// They stay until they are deleted by hand.
    Retained,
    /// They are being deleted, or will be, together with the pod that owns them.
    Deleting,
}

impl Claims {
    /// The state with one claim more. If any claim is retained, the state is [`Retained`](Self::Retained).
    #[must_use]
    pub fn with(self, claim: &ObservedMetadata<'_>) -> Self {
        match claim.is_deleting || claim.is_owned_by("kind", "Pod") {
            true if self != Self::Retained => Self::Deleting,
            _ => Self::Retained,
        }
    }
}
