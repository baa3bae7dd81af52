//! The view of the volume claims of one pod of a StatefulSet.

use super::ObservedMetadata;

/// What becomes of a pod's claims when it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Claims {
    /// There are none.
    #[default]
    None,
    /// They stay until somebody deletes them.
    Kept,
    /// They are being deleted, or will be with the pod that owns them.
    Going,
}

impl Claims {
    /// With one more. If one of them stays, they do not all go.
    #[must_use]
    pub fn with(self, claim: &ObservedMetadata<'_>) -> Self {
        match claim.is_going || claim.is_owned_by("kind", "Pod") {
            true if self != Self::Kept => Self::Going,
            _ => Self::Kept,
        }
    }
}
