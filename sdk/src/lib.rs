//! For provider authors: a spec type, one function, and [`export!`]. The SDK makes the manifest and the CRD from the
//! type, reads requests, writes answers, and reports panics and unknown fields. Knows the contract only.
//!
//! A provider is a pure function of what it is given: it has no clock, no randomness and no I/O. Use `BTreeMap`, never
//! `HashMap`: the same request must give the same bytes.

#[cfg(target_arch = "wasm32")]
mod allocator;
pub mod condition;
mod crd;
pub mod failure;
pub mod gates;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod hash;
pub mod json;
mod kind;
pub mod kubernetes;
pub mod log;
pub mod observed;
mod progress;
mod provider;
mod request;
mod response;
mod scan;
pub mod schema;
mod settings;
pub mod storage;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod typing;
mod version;

pub use bartizan_contract::{
    Condition, ConditionStatus, Failure, FailureCode, OnDelete, OnImmutableChange, ReconcileResponse,
};
pub use failure::Fault;
pub use hash::{config_hash, fingerprint};
/// Typed Kubernetes objects.
pub use k8s_openapi;
pub use kind::{ChildKind, Column, NameRule, ParentKind, Scope};
pub use progress::Progress;
pub use provider::{Provider, answer, crd, is_token, manifest, reconcile_bytes, secret_data};
pub use request::{ParentMetadata, Request};
pub use response::{Response, Treatment};
pub use settings::SettingsSchema;
pub use version::Version;

/// Fields of Kubernetes that are passed on as they are: the API server checks them where they are used.
pub type Object = serde_json::Map<String, serde_json::Value>;

/// Exports a [`Provider`] as the component's functions. Outside WebAssembly it is nothing, so that a provider's tests run
/// natively.
///
/// With `manifest: include_bytes!("../manifest.json")` the module carries its manifest as text, without its spaces, rather
/// than the code that makes it, which saves some 200 kB; [`testing::check_manifest`] keeps that file up to date.
#[macro_export]
macro_rules! export {
    ($provider:ty) => {
        $crate::export!(@ $provider, $crate::guest::describe::<$provider>());
    };
    ($provider:ty, manifest: $manifest:expr) => {
        $crate::export!(@ $provider, {
            const MANIFEST: &[u8] = $manifest;
            const COMPACT: [u8; $crate::json::compact::length(MANIFEST)] = $crate::json::compact::text(MANIFEST);
            COMPACT.to_vec()
        });
    };
    (@ $provider:ty, $manifest:expr) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;
            impl $crate::guest::Guest for Component {
                fn describe() -> Vec<u8> {
                    $manifest
                }
                fn reconcile(request: Vec<u8>) -> Result<Vec<u8>, $crate::guest::GuestFailure> {
                    $crate::guest::reconcile::<$provider>(&request)
                }
            }
            $crate::guest::export_component!(Component with_types_in $crate::guest::bindings);
        };
    };
}
