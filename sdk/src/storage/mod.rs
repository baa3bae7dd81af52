//! Types that storage providers share: what people write in specs, with the traps of published examples.

mod annotations;
mod claims;
mod credentials;
mod network;
mod placement;
pub mod quantity;
mod resources;

pub use annotations::{Annotations, merge_annotations};
pub use claims::{ClaimMetadata, ClaimTemplate, StorageScope, same_claims};
pub use credentials::{Credentials, CredentialsSource};
pub use network::{Network, Port};
pub use placement::Placement;
pub use resources::{ComponentNetwork, ComponentResources, ResourceSpec, Resources};
