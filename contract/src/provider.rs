//! The cluster-scoped object `Provider` of `bartizan.dev/v1alpha1`, with which an administrator declares a provider: its module, its
//! grants and its limits. The CRD is generated from these types ([`crd`]).
//!
//! Unknown fields of a spec are errors, even in responses of the API server: a host that ignored a restriction of a newer version
//! would grant more than intended.

mod check;
mod crd;
mod default_for;
mod grants;
mod limits;
mod schema;
mod spec;
mod status;

pub use crd::crd;
pub use grants::{ChildGrant, DescendantGrant, GrantedNamespaces, Grants, PodGrant, PodLevel, RelatedGrant};
pub use limits::{EffectiveLimits, ProviderLimits, parse_bytes, parse_duration};
pub use spec::{
    Approvers, ConfigMapSource, HoldOn, Keyless, ModuleSource, OciSource, OnRemoval, ParentClaim, Provider,
    ProviderMetadata, ProviderSpec, Source, TrustedRootKey, TrustedRootSource, Upgrade, UpgradePolicy, Verification,
};
pub use status::{ActiveModule, CandidateChanges, CandidateModule, ProviderStatus, condition_types};

#[cfg(test)]
mod tests;
