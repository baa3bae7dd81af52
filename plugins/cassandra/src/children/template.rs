//! The pod template of a rack.

use bartizan_sdk::fingerprint;

/// A rack's pod template.
pub(crate) struct Template {
    /// As JSON.
    pub(super) text: Vec<u8>,
    /// Tells two templates apart.
    pub(crate) fingerprint: String,
}

impl Template {
    pub(super) fn new(text: Vec<u8>) -> Self {
        Self { fingerprint: fingerprint(&text), text }
    }
}
