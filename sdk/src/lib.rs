//! The SDK for provider authors: define a spec type and one function, and [`export!`] them. The SDK generates the manifest and
//! the CRD from the type, parses requests, writes responses, and reports panics and unknown fields. It depends on the contract
//! only.
//!
//! A provider is a pure function of its request: it has no clock, no randomness and no I/O. Use `BTreeMap` rather than
//! `HashMap`, because the same request must give the same bytes.

#[cfg(target_arch = "wasm32")]
mod allocator;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
mod bytes;
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
mod retired;
pub mod schema;
mod settings;
pub mod storage;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod typing;
mod version;
pub mod view;

pub use bartizan_contract::{
    Condition, ConditionStatus, Failure, FailureCode, OnDelete, OnImmutableChange, ReconcileResponse,
};
pub use failure::Fault;
pub use hash::{config_hash, fingerprint};
pub use json::Object;
/// Typed Kubernetes objects.
pub use k8s_openapi;
pub use kind::{ChildKind, Column, NameRule, ParentKind, Scope};
pub use progress::Progress;
pub use provider::{Provider, answer, crd, is_token, manifest, reconcile_bytes, secret_data};
pub use request::{ParentMetadata, Request};
pub use response::{Response, Treatment};
pub use retired::RetiredField;
pub use settings::SettingsSchema;
pub use version::Version;

/// Exports a [`Provider`] as the functions of a component. Outside of WebAssembly it expands to nothing, so that the tests of a
/// provider run natively.
///
/// With `manifest: include_bytes!("../manifest.json")` the module embeds its manifest instead of the code that generates it,
/// which saves some 200 kB. [`testing::check_manifest`] writes that file and fails when it is out of date.
#[macro_export]
macro_rules! export {
    ($provider:ty) => {
        $crate::export!(@ $provider, $crate::guest::describe::<$provider>());
    };
    ($provider:ty, manifest: $manifest:expr) => {
        $crate::export!(@ $provider, $manifest.to_vec());
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
            $crate::guest::export_component!(Component with_types_in $crate::bindings);
        };
    };
}
