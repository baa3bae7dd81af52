//! The exports of a provider module, and its panic hook. Compiled for WebAssembly only.

pub use crate::bindings::export_component;
pub use crate::bindings::exports::bartizan::provider::provider::{Failure as GuestFailure, Guest};

use crate::log::{self, Level};
use crate::provider::{Provider, manifest, reconcile_bytes};

/// The manifest as JSON.
#[must_use]
pub fn describe<P: Provider>() -> Vec<u8> {
    report_panics();
    serde_json::to_vec(&manifest::<P>()).unwrap_or_default()
}

/// Answers one request.
///
/// # Errors
/// As [`reconcile_bytes`](crate::reconcile_bytes).
pub fn reconcile<P: Provider>(request: &[u8]) -> Result<Vec<u8>, GuestFailure> {
    report_panics();
    reconcile_bytes::<P>(request).map_err(|failure| GuestFailure {
        code: failure.code.as_str().to_owned(),
        message: failure.message,
        field: failure.field,
        retry_after_seconds: failure.retry_after_seconds,
    })
}

/// Logs the message and location of a panic, since the trap that it ends in carries neither.
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
