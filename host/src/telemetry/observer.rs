//! Counts and records the work of one provider.

use crate::telemetry::metrics::ProviderMetrics;
use crate::telemetry::recorder::Recorder;

/// Counts and records the work of one provider.
#[derive(Clone)]
pub(crate) struct Observer {
    /// Its metrics.
    pub(crate) metrics: ProviderMetrics,
    /// Its recordings.
    pub(crate) recorder: Recorder,
}
