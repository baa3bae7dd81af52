//! Provider modules in OCI registries: fetch, push and verify. A reference is resolved once, to a manifest whose digest is
//! checked; the module that the manifest names is fetched by its digest and checked as well.

mod archive;
mod client;
mod credentials;
mod error;
mod explain;
mod key;
mod manifest;
mod referrers;
mod session;
mod signature;
mod signers;
mod signing;
mod store;
mod transfer;

pub use archive::{ArchiveReader, ArchiveWriter};
pub use client::{Authorities, Pushed, Registry, Resolved, parse_reference};
pub use credentials::{CredentialSource, Login};
pub use error::{
    AuthoritiesError, CredentialsError, KeyError, ReferenceError, RegistryError, TransferError, TrustedRootError,
};
pub use key::{PrivateKey, PublicKey};
pub use manifest::{Descriptor, Layer};
pub use oci_client::Reference;
pub use signers::{Keyless, Signers};
pub use store::{Store, StoreEntry};
pub use transfer::{Saved, load, save};
