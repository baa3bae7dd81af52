//! Every reason that the host writes into conditions and events: one word for programs each, so that nothing is recovered from
//! a message. The troubleshooting page of the administrators' docs has a row for each.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why a condition is as it is, or why an event was sent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// As it stands in a condition: CamelCase.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

reasons! {
    // Of parents: Synced, Reconciling, Stalled, and the host's events.
    /// All children are as the provider wants them.
    Applied,
    /// The provider answered `hold`.
    Held,
    /// The parent carries the annotation `bartizan.dev/paused`.
    Paused,
    /// Something must happen first, which a watch will report.
    Waiting,
    /// The provider says that the spec is invalid.
    Invalid,
    /// The output gate refused the provider's answer.
    Refused,
    /// The name of a child belongs to an object of somebody else.
    NameTaken,
    /// A child could not be written; it is tried again.
    ApplyFailed,
    /// The API server, a policy or a webhook refused a child.
    ApplyRefused,
    /// The provider's account lacks a right.
    Forbidden,
    /// A change of a child meets a field that is immutable.
    ImmutableField,
    /// Another client keeps changing a child.
    Contested,
    /// The children are written again and again, though nobody edits the parent.
    Unsettled,
    /// The API server does not take the parent's status.
    StatusRefused,
    /// A status without certain fields is refused, so that nothing can be said before the provider gave one.
    StatusRequired,
    /// The parent left the claim of its provider, which released its children.
    Released,
    /// A step of the parent's deletion failed.
    DeletionBlocked,
    /// Objects around the parent that the provider needs to see cannot be read.
    ReadFailed,
    /// It is not known whether the parent's namespace is being deleted.
    NamespaceUnknown,
    /// The provider answered with a failure.
    ProviderFailed,
    /// The module trapped.
    ProviderCrashed,
    /// The call exceeded its time.
    ProviderTimedOut,
    /// The call exceeded its memory.
    ProviderOutOfMemory,
    /// The answer cannot be read.
    ProviderAnswerInvalid,
    /// The request exceeds its limit.
    RequestTooLarge,
    /// The answer exceeds its limit.
    ResponseTooLarge,
    /// The module's manifest is invalid.
    ManifestInvalid,
    /// There was no room for the call.
    HostBusy,
    /// The host could not make the call.
    HostError,

    // Of Providers: Ready, Accepted, Loaded, Serving, UpgradeHeld, RemovalBlocked.
    /// The spec can be honoured.
    Accepted,
    /// An older Provider serves the same parents.
    Conflict,
    /// The provider's account can read the Secrets of the host's namespace.
    CanReadHost,
    /// The source of the module, or the file that the Provider was made from, is gone.
    SourceMissing,
    /// The source of the module cannot be read now.
    SourceUnavailable,
    /// The module is being loaded.
    Loading,
    /// The module was loaded.
    Loaded,
    /// A CustomResourceDefinition in the cluster lacks fields that the module's has.
    CrdOutdated,
    /// The module cannot serve.
    ModuleInvalid,
    /// The module is not the one that the spec pins.
    DigestMismatch,
    /// Nobody whom the spec names has signed the module.
    NotVerified,
    /// The spec is not accepted, so that nothing is loaded.
    NotAccepted,
    /// The manifest asks for more than the spec grants.
    NotGranted,
    /// The spec asks for what this host cannot do.
    NotSupported,
    /// The version cannot start yet.
    NotReady,
    /// Nothing was started.
    NotStarted,
    /// Parents are served.
    Serving,
    /// `spec.suspend` is set.
    Suspended,
    /// The Provider was deleted.
    Removing,
    /// The module fails for every parent, and is called for one at a time.
    BreakerOpen,
    /// The first version waits for an approval.
    UpgradeHeld,
    /// Another version serves.
    Replaced,
    /// The version that was approved serves.
    Approved,
    /// A Provider that was deleted was let go of: the host's finalizer is off.
    Removed,
    /// No version waits.
    NoneWaits,
    /// The Provider serves as its spec wants it.
    Ready,
    /// The Provider starts.
    Starting,
    /// A candidate has no acceptable answer for some parents.
    Fails,
    /// A candidate could not be asked about some parents.
    Unknown,
    /// A candidate's CustomResourceDefinitions do not fit.
    CrdIncompatible,
    /// A candidate asks for more rights than the version before it.
    MoreRights,
    /// A candidate would change what cannot be changed.
    Refuses,
    /// A candidate would delete children.
    Deletes,
    /// A candidate would delete children and create them again.
    Recreates,
    /// `spec.upgrade.policy` is `Manual`.
    Manual,
    /// Parents exist, and `spec.onRemoval` is `Block`.
    ParentsExist,
    /// A step of the removal failed.
    RemovalFailed,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no reason of the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseReasonError(String);

impl fmt::Display for ParseReasonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a reason of this host", self.0)
    }
}

impl std::error::Error for ParseReasonError {}

impl FromStr for Reason {
    type Err = ParseReasonError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .find(|reason| reason.as_str() == text)
            .copied()
            .ok_or_else(|| ParseReasonError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_back_as_itself() {
        for reason in Reason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(*reason));
        }
        assert_eq!("Else".parse::<Reason>().unwrap_err().to_string(), "\"Else\" is not a reason of this host");
    }
}
