//! The contract between the host and its providers as Rust types: manifest, request, response, failure, and the names
//! that both sides must agree on. Knows nothing else; the JSON schemas in `wit/` are generated from here.

mod condition;
mod kind;
mod manifest;
pub mod names;
mod request;
mod response;
pub mod schema;

pub use condition::{Condition, ConditionStatus};
pub use kind::{Kind, ParseKindError};
pub use manifest::{KindRequest, ProviderManifest, RelatedAccess, RelatedKind};
pub use request::{ClusterInfo, ObjectsByKind, ProviderInfo, ReconcileRequest};
pub use response::{
    Child, EventType, Failure, FailureCode, Generate, GenerateAlphabet, KeepRef, OnDelete, OnImmutableChange,
    ProviderEvent, ReconcileResponse, RelatedSelector,
};
