//! The component's side of the sandbox: the exports of a provider module, and the panic hook. Compiled for WebAssembly only.

/// What wit-bindgen makes of `wit/`.
#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "plugin",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "bartizan_sdk::guest::bindings",
    });
}

pub use bindings::export_component;
pub use bindings::exports::bartizan::provider::provider::{Failure as GuestFailure, Guest};

use crate::log::{self, Level};
use crate::{Provider, manifest, reconcile_bytes};

/// The manifest as JSON.
#[must_use]
pub fn describe<P: Provider>() -> Vec<u8> {
    report_panics();
    serde_json::to_vec(&manifest::<P>()).unwrap_or_default()
}

/// One request answered.
///
/// # Errors
/// What the provider, or the reading of the request, says.
pub fn reconcile<P: Provider>(request: &[u8]) -> Result<Vec<u8>, GuestFailure> {
    report_panics();
    reconcile_bytes::<P>(request).map_err(|failure| GuestFailure {
        code: failure.code.as_str().to_owned(),
        message: failure.message,
        field: failure.field,
        retry_after_seconds: failure.retry_after_seconds,
    })
}

/// A panic ends in a trap that says nothing: its message and place go to the host's log first.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        match panic.location() {
            Some(place) => log::write(Level::Error, &format!("panic at {}:{}: {message}", place.file(), place.line())),
            None => log::write(Level::Error, &format!("panic: {message}")),
        }
    }));
}
