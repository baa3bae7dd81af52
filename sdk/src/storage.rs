//! Spec types that storage providers share. They accept what Rook's published examples contain.

mod annotations;
mod claims;
mod credentials;
mod environment;
mod network;
mod placement;
pub mod quantity;
mod resources;

pub use annotations::{Annotations, annotation_faults, merge_annotations};
pub use claims::{ClaimMetadata, ClaimTemplate, StorageScope, claim_faults, claims, same_claims, volume_names};
pub use credentials::{Credentials, CredentialsSource};
pub use environment::environment_faults;
pub use network::{Network, Port};
pub use placement::Placement;
pub use resources::{ComponentNetwork, ComponentResources, ResourceSpec, Resources};
