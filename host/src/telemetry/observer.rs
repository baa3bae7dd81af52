//! Who counts and records what one provider does.

use crate::telemetry::metrics::ProviderMetrics;
use crate::telemetry::recorder::Recorder;

/// Who counts and records what one provider does.
#[derive(Clone)]
pub(crate) struct Observer {
    /// Counts.
    pub(crate) metrics: ProviderMetrics,
    /// Records.
    pub(crate) recorder: Recorder,
}
