//! Percentiles of measured times.

use std::time::Duration;

/// A percentile of sorted times; zero if there are none.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

/// The 99th percentile of times in any order.
pub(crate) fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    percentile(times, 99)
}

/// A number rounded to so many decimals.
pub(crate) fn rounded(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}
