//! The component's side of the sandbox. Compiled for WebAssembly only.

/// What wit-bindgen makes of the contract.
#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "plugin",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "scripting::guest::bindings",
    });
}

pub use bindings::export_component;
pub use bindings::exports::bartizan::provider::provider::{Failure as GuestFailure, Guest};

/// One request answered.
///
/// # Errors
/// As [`crate::reconcile()`].
pub fn reconcile(request: &[u8]) -> Result<Vec<u8>, GuestFailure> {
    crate::reconcile::reconcile(request).map_err(|failure| GuestFailure {
        code: failure.code,
        message: failure.message,
        field: failure.field,
        retry_after_seconds: failure.retry_after_seconds,
    })
}
