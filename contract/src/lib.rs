//! The contract between the host and its providers as Rust types: manifest, request, response, failure, and the names that both
//! sides must agree on; and the contract with administrators, the [`provider::Provider`]. Depends on no other crate of the
//! workspace; the JSON schemas in `wit/` and the CRD in `deploy/crds` are generated from these types.

mod condition;
mod default;
pub mod digest;
pub mod field;
mod group_kind;
mod kind;
mod manifest;
pub mod names;
pub mod provider;
mod reason;
mod request;
mod response;
pub mod schema;
mod selector;

pub use condition::{Condition, ConditionStatus};
pub use group_kind::{GroupKind, ParseGroupKindError};
pub use kind::{Kind, ParseKindError};
pub use manifest::{KindRequest, ProviderManifest, RelatedAccess, RelatedKind};
pub use reason::{ParseReasonError, Reason};
pub use request::{ClusterInfo, ObjectsByKind, ProviderInfo, ReconcileRequest};
pub use response::{
    Child, EventType, Failure, FailureCode, Generate, GenerateAlphabet, KeepRef, OnDelete, OnImmutableChange,
    ProviderEvent, ReconcileResponse, RelatedSelector,
};
pub use selector::{LabelOperator, LabelRequirement, LabelSelector};
